"""What texts share is encoded once, and their tokens are those of encoding each alone."""

from __future__ import annotations

import random

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from tests.support import long_passages
from tunebook.data import token_counts
from tunebook.data.token_counts import MARGIN, SHARED, count_tokens

PASSAGES = [article["paragraphs"][0] for article in long_passages.articles(30, 3, 6000)]
QUESTIONS = [f"{p['context']}\n\n{qa['question']}" for p in PASSAGES for qa in p["qas"]]


def trained(before: pre_tokenizers.PreTokenizer | None, special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if before is not None:
        tokenizer.pre_tokenizer = before
    tokenizer.train_from_iterator(
        [PASSAGES[0]["context"]],
        trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False),
    )
    return tokenizer


TOKENIZERS = {
    "bytes": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "a space before": pre_tokenizers.ByteLevel(add_prefix_space=True),
    "whole text": None,  # merges go over blanks
    "blanks": pre_tokenizers.Metaspace(),
    "two words": pre_tokenizers.Split(Regex(r"\w+ \w+"), "isolated"),  # a cut at a blank changes all after it
}


@pytest.mark.parametrize("before", TOKENIZERS.values(), ids=TOKENIZERS)
def test_counts_are_those_of_each_text_alone(before: pre_tokenizers.PreTokenizer | None) -> None:
    tokenizer = trained(before, ["<end>"])
    start = "<end>" + QUESTIONS[0][:4000]
    texts = [*QUESTIONS, "short", "", QUESTIONS[0], start + "a" * 3000, start + " b" * 3000, start + "<end>x"]
    texts += ["x" * (SHARED + MARGIN), "x" * (SHARED + MARGIN + 1), *(text[:-300] for text in QUESTIONS)]
    random.Random(0).shuffle(texts)
    alone = [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]
    assert count_tokens(tokenizer, texts) == alone


def test_a_passage_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    letters: list[int] = []
    encode = token_counts._Whole._encode

    def counted(self: token_counts._Whole, text: str) -> list[int]:
        letters.append(len(text))
        return encode(self, text)

    monkeypatch.setattr(token_counts._Whole, "_encode", counted)
    count_tokens(trained(TOKENIZERS["bytes"], []), QUESTIONS)
    assert sum(letters) < sum(len(p["context"]) for p in PASSAGES) + 1000 * len(QUESTIONS)
    assert sum(letters) < sum(map(len, QUESTIONS)) / 2
