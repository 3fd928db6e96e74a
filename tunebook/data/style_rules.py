"""The style rules of a dataset.

In: `rules` of dataset.yaml and an answer. Out: for each rule that applies, whether the answer follows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from jinja2 import StrictUndefined
from pydantic import BaseModel, ConfigDict

from tunebook.core.words import pieces
from tunebook.models.sandbox import Sandbox, bounded


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
    """
    environment = Sandbox(undefined=StrictUndefined)
    fields = {key: re.escape(value) if isinstance(value, str) else value for key, value in gold.items()}
    met: dict[str, bool] = {}

    def count(pattern: str) -> int:
        written = bounded(lambda: environment.from_string(pattern).render(fields))
        return sum(1 for _ in re.finditer(written, answer))

    for name, rule in rules.items():
        if rule.when is not None and not count(rule.when):
            continue
        met[name] = (
            (rule.must is None or count(rule.must) > 0)
            and (rule.must_not is None or count(rule.must_not) == 0)
            and (rule.once is None or count(rule.once) == 1)
            and (rule.max_words is None or len(pieces(answer)) <= rule.max_words)
        )
    return met
