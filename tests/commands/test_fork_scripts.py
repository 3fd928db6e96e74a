"""Tables in scripts without blanks are recognised like others."""

from __future__ import annotations

import pytest

from tests.core.test_words import UNSPACED_TEXTS
from tunebook.commands.fork.recognise import recognise


@pytest.mark.parametrize("text", UNSPACED_TEXTS.values(), ids=UNSPACED_TEXTS)
@pytest.mark.parametrize("place", ["a.csv", "a.jsonl"])
def test_a_text_without_blanks_is_a_text(text: str, place: str) -> None:
    kinds = ("\u9000\u6b3e", "\u767b\u5f55")
    rows = [{"body": f"{text}{text[:n]}", "kind": kinds[n % 2]} for n in range(12)]
    reading = recognise(rows, place, "classification", {})
    assert reading.columns == {"text": "body", "label": "kind"}
