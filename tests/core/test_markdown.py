"""Text for Markdown: placeholders that a browser would take for tags."""

from __future__ import annotations

import pytest

from tunebook.core.markdown import with_placeholders


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<recipe>/latest, <recipe>/<id> or a folder", "`<recipe>/latest`, `<recipe>/<id>` or a folder"),
        ("go to datasets/<name>/rows/.", "go to `datasets/<name>/rows/`."),
        ("already `runs/<id>` in code, 1 < 2 > 0", "already `runs/<id>` in code, 1 < 2 > 0"),
    ],
)
def test_placeholders_are_code(text: str, shown: str) -> None:
    assert with_placeholders(text) == shown
