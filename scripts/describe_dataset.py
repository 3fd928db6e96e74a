"""Measure a dataset of our own and write the numbers into its card (datasets/NAME/README.md).

.venv/bin/python scripts/describe_dataset.py NAME [NAME ...]
"""

from __future__ import annotations

import argparse
from collections import Counter

from tunebook.data.dataset import load_dataset_config
from tunebook.data.render import render_all
from tunebook.data.sources import SPLITS
from tunebook.evaluation.engines.linear_svm import linear_svm
from tunebook.report.markdown_blocks import fill


def describe(name: str) -> str:
    """Return the measured block: rows, groups, lengths, and for labels the SVM and majority scores."""
    from statistics import mean, median

    dataset = load_dataset_config(name)
    rows = render_all(dataset)
    lines = [
        "| split | rows | groups | words of the prompt: mean, median, most | words of the answer: mean |",
        "|---|---|---|---|---|",
    ]
    for split in SPLITS:
        asked = [
            sum(len(m["content"].split()) for m in row["messages"] if m["role"] == "user")
            for row in rows[split]
        ]
        answered = mean(
            sum(len(m["content"].split()) for m in row["messages"] if m["role"] == "assistant")
            for row in rows[split]
        )
        groups = len({row["group"] for row in rows[split]})
        lengths = f"{mean(asked):.1f}, {median(asked):.0f}, {max(asked)}"
        lines.append(f"| {split} | {len(rows[split])} | {groups} | {lengths} | {answered:.1f} |")
    if dataset.labels:
        gold = [row["gold"]["answer"] for row in rows["test"]]
        most = Counter(row["gold"]["answer"] for row in rows["train"]).most_common(1)[0][0]
        predicted = linear_svm(rows["train"], rows["test"])
        right = sum(a == b for a, b in zip(gold, predicted, strict=True))
        lines += [
            "",
            f"On test: TF-IDF + linear SVM {right / len(gold) * 100:.1f} % accuracy; "
            f"the most frequent train label {gold.count(most) / len(gold) * 100:.1f} %.",
        ]
    if dataset.task == "qa":
        shares = [
            f"{split} {sum(not row['gold']['answers'] for row in rows[split]) / len(rows[split]) * 100:.1f} %"
            for split in SPLITS
        ]
        lines += ["", f"Questions without an answer: {', '.join(shares)}."]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    for name in parser.parse_args(argv).names:
        fill(load_dataset_config(name).folder / "README.md", "measured", describe(name))
        print(f"datasets/{name}/README.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
