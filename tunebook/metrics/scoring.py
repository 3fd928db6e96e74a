"""Scores of single answers. Aggregation and intervals are in tunebook/metrics/aggregate.py."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tunebook.core.words import UNSPACED, words
from tunebook.metrics.answers import Margins, Scored

HIGHER_IS_BETTER = {
    "accuracy": True,
    "balanced_accuracy": True,
    "macro_f1": True,
    "invalid_rate": False,
    "ece_10": False,
    "ece_15": False,
    "f1": True,
    "em": True,
    "has_answer_f1": True,
    "has_answer_em": True,
    "no_answer_em": True,
    "preference": True,
    "preference_per_byte": True,
    "reward_accuracy": True,
    "reward": True,
    "loss": False,
    "byte_perplexity": False,
    "chrf": True,
    "rouge_l": True,
    "rules": True,
    "calls": True,
    "stop_rate": True,
    "unfinished_rate": False,
    "length_ratio": None,
}
UNBOUNDED = {"reward", "loss", "byte_perplexity", "length_ratio"}  # the other metrics are shares
# Shares of preference pairs: those whose margin in this field of the record is above 0.
MARGINS = {"preference": "margin", "preference_per_byte": "margin_per_byte", "reward_accuracy": "reward"}

NOT_LATIN = re.compile(r"(?=\w)[\u0370-\u1dff\u2c00-\ua71f\ua800-\ufaff\U00010000-\U0003ffff]")


def squad(golds: list[str], text: str, no_answer: str | None) -> Scored:
    """Return exact match and token F1 of an answer as shares, by the rules of SQuAD 2.0.

    The best score over the gold answers counts. `no_answer`, however written, counts as the empty answer,
    which is the only right one if `golds` is empty. Rajpurkar et al. 2018, arXiv 1806.03822, computed as in
    their evaluate-v2.0.py. In scripts without spaces between words, each letter is a token, as in MLQA's
    evaluation (Lewis et al. 2020, arXiv 1910.07475).
    """
    if no_answer is not None and _squad_words(text) == _squad_words(no_answer):
        text = ""
    said = _squad_words(_apart(text))
    rights = [right for gold in golds if (right := _squad_words(_apart(gold)))] or [[]]
    shared = [sum((Counter(said) & Counter(right)).values()) for right in rights]
    f1 = [
        2 * same / (len(said) + len(right)) if said and right else float(said == right)
        for same, right in zip(shared, rights, strict=True)
    ]
    return {"golds": golds, "em": float(said in rights), "f1": max(f1)}


def _squad_words(text: str) -> list[str]:
    """Return the words that SQuAD compares: in lower case, without ASCII punctuation and articles."""
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def _apart(text: str) -> str:
    """Return a text in a script without spaces as its letters, and any other text unchanged."""
    return " ".join(words(text)) if re.search(UNSPACED, text) else text


def per_row(records: Sequence[Mapping[str, Any]], name: str) -> list[float | None]:
    """Return the metric `name` of each record, or None if it was not measured."""
    return [None if "error" in record else _value(record, name) for record in records]


def _value(record: Mapping[str, Any], name: str) -> float | None:
    if name == "accuracy":
        return float(record["label"] == record["gold"])
    if name == "invalid_rate":
        return float(record["label"] is None) if "stopped" in record else None
    if name == "stop_rate":
        return float(record["stopped"]) if "stopped" in record else None
    if name == "unfinished_rate":
        return float(record["unfinished"]) if "unfinished" in record else None
    if name == "rouge_l":
        return rouge_l(record["answer"], record["gold"]) if "answer" in record else None
    if name in MARGINS:
        return above(record[MARGINS[name]]) if MARGINS[name] in record else None
    if name.startswith("has_answer_"):
        return record.get(name.removeprefix("has_answer_")) if record["golds"] else None
    if name == "no_answer_em":
        return None if record["golds"] else record.get("em")
    return record.get(name)


def above(margin: float) -> float:
    """Return 1 for a margin above 0, 0 for one below, and 0.5 for 0, as if by coin toss."""
    return 0.5 if margin == 0 else float(margin > 0)


def margins(chosen: float, rejected: float, *texts: str) -> Margins:
    """Return how much the chosen answer is preferred, from both summed log probabilities in nats: for the
    whole answers, and per UTF-8 byte."""
    each = [value / len(text.encode()) for value, text in zip((chosen, rejected), texts, strict=True)]
    return {"margin": chosen - rejected, "margin_per_byte": each[0] - each[1]}


def bits_per_byte(logprob: float, text: str) -> float:
    """Return bits per UTF-8 byte from a summed log probability in nats (Gao et al. 2020, The Pile)."""
    return -logprob / math.log(2) / len(text.encode("utf-8"))


def chrf(answer: str, reference: str) -> float:
    """Return sentence chrF (Popović 2015; sacrebleu, its defaults) as a share, 0 to 1."""
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().sentence_score(answer, [reference]).score) / 100


def rouge_l(answer: str, reference: str) -> float:
    """Return ROUGE-L F1 (Lin 2004) as a share: the longest common subsequence of words, lower-cased and
    limited to a-z and 0-9, as in Google's rouge_score without stemming. Because that drops every word of
    another alphabet, a reference with non-Latin letters is compared by the words of its own script."""
    from rapidfuzz.distance import LCSseq

    split = words if re.search(NOT_LATIN, reference) else _latin
    said, wanted = split(answer), split(reference)
    if not said or not wanted:
        return 0.0
    return 2 * LCSseq.similarity(said, wanted) / (len(said) + len(wanted))


def _latin(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())
