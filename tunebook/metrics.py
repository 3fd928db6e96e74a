"""Per-row scores of an answer. Aggregation and intervals are in tunebook/compare.py."""

from __future__ import annotations

import math
import re
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from tunebook.dataset import Rule

HIGHER_IS_BETTER = {
    "accuracy": True,
    "macro_f1": True,
    "invalid_rate": False,
    "loss": False,
    "chrf": True,
    "rules": True,
    "stop_rate": True,
    "length_ratio": None,
}


def read_label(text: str, labels: list[str]) -> str | None:
    """Return the label that `text` names: all of it, or the only one it mentions; else None.

    The same rule for every contender: a base that chats around its label still gets its point.
    """
    plain = text.strip().strip("\"'`.,:;!*()[]").lower()
    for label in labels:
        if plain == label.lower():
            return label
    # Longest first, so that "card lost" is no mention of "card".
    names = sorted(map(str.lower, labels), key=len, reverse=True)
    pattern = rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)"
    found = set(re.findall(pattern, text.lower()))
    mentioned = [label for label in labels if label.lower() in found]
    return mentioned[0] if len(mentioned) == 1 else None


def bits_per_byte(logprob: float, text: str) -> float:
    """Return bits per UTF-8 byte from a summed log probability in nats (Gao et al. 2020, The Pile)."""
    return -logprob / math.log(2) / len(text.encode("utf-8"))


def chrf(answer: str, reference: str) -> float:
    """Return sentence chrF (Popović 2015; sacrebleu, its defaults) as a share, 0 to 1."""
    from sacrebleu.metrics import CHRF

    return CHRF().sentence_score(answer, [reference]).score / 100


def rules_met(rules: dict[str, Rule], answer: str, gold: dict[str, Any]) -> dict[str, bool]:
    """Return for each rule that applies to `answer` whether it is met.

    Raises:
        re.error, jinja2.TemplateError: a pattern is broken or names a field that `gold` lacks.
    """
    environment = SandboxedEnvironment(undefined=StrictUndefined)
    fields = {key: re.escape(value) if isinstance(value, str) else value for key, value in gold.items()}
    met: dict[str, bool] = {}

    def found(pattern: str) -> int:
        return sum(1 for _ in re.finditer(environment.from_string(pattern).render(fields), answer))

    for name, rule in rules.items():
        if rule.when is not None and not found(rule.when):
            continue
        met[name] = (
            (rule.must is None or found(rule.must) > 0)
            and (rule.must_not is None or found(rule.must_not) == 0)
            and (rule.once is None or found(rule.once) == 1)
            and (rule.max_words is None or len(answer.split()) <= rule.max_words)
        )
    return met
