"""The style rules of a dataset.

In: `rules` of dataset.yaml and an answer. Out: for each rule that applies, whether the answer follows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import regex
from jinja2 import StrictUndefined
from pydantic import BaseModel, ConfigDict

from tunebook.core.errors import InputError, Problem
from tunebook.core.words import pieces
from tunebook.models.sandbox import Sandbox, bounded

# For one pattern on one answer. Backtracking can take exponential time, `(a+)+$` on 40 letters for hours, and
# `re` cannot be stopped while it does; `regex` reads the same patterns and can.
SECONDS = 2.0


class Rule(BaseModel):
    """A rule of a style guide. Patterns are Python regular expressions over the answer and may contain Jinja
    fields of the row's gold; with `when`, the rule applies only to answers that match it. `max_words` counts
    parts separated by spaces, and each letter in scripts without spaces."""

    model_config = ConfigDict(extra="forbid")
    must: str | None = None
    must_not: str | None = None
    once: str | None = None
    when: str | None = None
    max_words: int | None = None


def rules_met(rules: dict[str, Rule], answer: str, gold: Mapping[str, object]) -> dict[str, bool]:
    """Return whether `answer` follows each rule that applies to it.

    Raises:
        re.error, jinja2.TemplateError: a pattern is invalid or uses a field that `gold` lacks.
        InputError: a pattern takes longer than SECONDS on this answer.
    """
    environment = Sandbox(undefined=StrictUndefined)
    fields = {key: re.escape(value) if isinstance(value, str) else value for key, value in gold.items()}
    met: dict[str, bool] = {}

    def count(name: str, pattern: str) -> int:
        written = bounded(lambda: environment.from_string(pattern).render(fields))
        re.compile(written)  # only Python's own syntax: `regex` accepts more
        try:
            return sum(1 for _ in regex.finditer(written, answer, timeout=SECONDS))
        except TimeoutError:
            text = (
                f"the pattern {pattern!r} took more than {SECONDS:g} seconds on an answer of {len(answer):,} "
                f"characters ({answer[:40]!r}...). Write it without nested repetition such as (a+)+. Answers "
                "are kept: the same command resumes from them."
            )
            raise InputError(
                Problem(text, "dataset.yaml", key=f"rules.{name}", code="data.slow_rule")
            ) from None

    for name, rule in rules.items():
        if rule.when is not None and not count(name, rule.when):
            continue
        met[name] = (
            (rule.must is None or count(name, rule.must) > 0)
            and (rule.must_not is None or count(name, rule.must_not) == 0)
            and (rule.once is None or count(name, rule.once) == 1)
            and (rule.max_words is None or len(pieces(answer)) <= rule.max_words)
        )
    return met
