"""A linear SVM on TF-IDF features: a cheap classifier to compare a fine-tuned one with."""

from __future__ import annotations

from tunebook.runs.rows import RenderedRow


def linear_svm(train: list[RenderedRow], test: list[RenderedRow]) -> list[str]:
    """Predict labels with TF-IDF (words 1-2, characters 2-5) and a linear SVM with scikit-learn's
    defaults."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    features = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    model = make_pipeline(features, LinearSVC(random_state=0))

    def text(row: RenderedRow) -> str:
        return "\n".join(turn["content"] for turn in row["messages"] if turn["role"] == "user")

    model.fit([text(row) for row in train], [row["gold"]["answer"] for row in train])
    return [str(label) for label in model.predict([text(row) for row in test])]
