"""Change keys of a YAML file as text, so that comments, order and quotes stay.

In: the text and the new lines of some keys. Out: the changed text.
"""

from __future__ import annotations

from typing import Any

import yaml


def entry(key: str, value: Any) -> str:
    """Return `key: value` on one line."""
    dumped = yaml.safe_dump(
        [value], default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6
    )
    return f"{key}: {dumped.strip()[1:-1]}"


def spans(text: str) -> dict[str, tuple[int, int]]:
    """Return the first line (from 0) of each top-level key and the line after its value."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        return {}
    lines = text.split("\n")
    starts = [key.start_mark.line for key, _ in node.value] + [len(lines)]
    result = {}
    for (key, _), start, after in zip(node.value, starts, starts[1:], strict=False):
        end = after
        while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
            end -= 1
        result[str(key.value)] = (start, end)
    return result


def change(text: str, changes: dict[str, str | None], after: str) -> str:
    """Replace the keys in `changes` by the given text and remove those with None; new keys go below the key
    `after`."""
    lines = text.rstrip("\n").split("\n")
    where = spans(text)
    added = []
    edits = []
    for key, new in changes.items():
        if key in where:
            edits.append((*where[key], [] if new is None else new.split("\n")))
        elif new is not None:
            added += new.split("\n")
    below = where[after][1] if after in where else len(lines)
    edits.append((below, below, added))
    for start, end, new_lines in sorted(edits, key=lambda edit: edit[:2], reverse=True):
        lines[start:end] = new_lines
    return "\n".join(lines) + "\n"


def head(text: str) -> tuple[list[str], str]:
    """Return the comment lines at the top of a file, and the rest without blank lines before it."""
    lines = text.split("\n")
    end = next((index for index, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[:end], "\n".join(lines[end:]).lstrip("\n")
