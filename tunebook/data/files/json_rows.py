"""The rows of a JSON document or of JSON Lines, whatever the file's name.

In: a .json or .jsonl file. Out: (line, row) pairs. Supported forms: one object per line; a list of objects;
an object with one list of objects (`{"data": [...]}`); objects one after another; an object of objects
(`{"id": {...}}`, where the key becomes `id`); and rows that are lists of cells, whose columns are named
`column_1`, `column_2`, ... or by the first list.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from tunebook.core.errors import InputError, Problem
from tunebook.core.files import JsonLimitError, RepeatedKeyError, TooDeepError, from_json
from tunebook.core.paths import show
from tunebook.data.files.json_stream import JsonFault, beside, hint, stream
from tunebook.data.files.table_head import column_names
from tunebook.data.files.table_options import TableOptions
from tunebook.data.formats.encodings import JAPANESE_7_BIT
from tunebook.data.formats.open_file import broken_text, is_broken, kind_of, open_text
from tunebook.data.formats.place import Numbered, Spot, fault
from tunebook.data.formats.values import ROLE_KEYS, is_empty

TWICE = "Only one of the two values would be read. Remove or rename the other."
LOOKED_AT = 1 << 20  # characters of a line that decide whether it is a row


def read_json(path: Path, options: TableOptions, lists: list[str] | None = None) -> Iterator[Numbered]:
    """Yield (line, row); `lists` names the lists of the document's object to read, in this order.

    Raises:
        InputError: not JSON, or several lists that could be the rows.
    """
    lines = not lists and _is_jsonl(path, options)
    yield from _with_names(_lines(path, options) if lines else _document(path, options, lists), options, path)


def _is_jsonl(path: Path, options: TableOptions) -> bool:
    """Return whether a file has one JSON value per line, judging by the first two non-empty lines."""
    with open_text(path, encoding=options.encoding, longest=None) as file:
        some = (line for line in iter(lambda: file.readline(LOOKED_AT), "") if line.strip())
        first, second = next(some, ""), next(some, "")
    by_name = kind_of(path) != ".json"
    try:
        value = from_json(first)
    except ValueError:
        opens = first.strip() in ("[", "{") or (first.lstrip()[:1] == "[" and second.strip() != "")
        return by_name and not opens
    if second:
        return by_name or isinstance(value, dict) or (_is_cells(value) and second.lstrip()[:1] == "[")
    inside = value if isinstance(value, list) else [None]
    return by_name and not (inside and all(isinstance(item, (dict, list)) for item in inside))


def _lines(path: Path, options: TableOptions) -> Iterator[Numbered]:
    place, broken = show(path), ""
    with open_text(path, encoding=options.encoding) as file:
        for number, text in enumerate(file, 1):
            try:
                if is_broken(text) or JAPANESE_7_BIT.search(text):
                    broken = broken or broken_text(path)
                    yield number, fault(broken, place, number, None, "rows.not_utf8")
                elif text.strip():
                    value = from_json(text.rstrip())
                    if "\\u" in text:
                        json.dumps(value, ensure_ascii=False).encode()  # fails on an unpaired surrogate
                    yield number, value
            except JsonLimitError as error:
                yield number, _limit(error, place, number)
            except UnicodeEncodeError:
                text = "contains an unpaired surrogate (invalid Unicode)."
                yield number, fault(text, place, number, None, "rows.bad_surrogate")
            except json.JSONDecodeError as error:
                why = f"{error.msg}{hint(text, error.pos)}"
                text = f"invalid JSON at column {error.colno}: {why}. Each line must be one JSON object."
                yield number, fault(text, place, number, None, "rows.not_json")


def _document(path: Path, options: TableOptions, lists: list[str] | None) -> Iterator[Numbered]:
    place, broken = show(path), ""
    try:
        with open_text(path, encoding=options.encoding, longest=None) as file:
            for line, where, value in stream(file, lists):
                spot = Spot.of(line, where)
                try:
                    json.dumps(value, ensure_ascii=False).encode()
                    yield spot, value
                except UnicodeEncodeError:
                    if is_broken(json.dumps(value, ensure_ascii=False)):
                        broken = broken or broken_text(path)
                        yield spot, fault(broken, place, spot, None, "rows.not_utf8")
                        continue
                    text = "contains an unpaired surrogate (invalid Unicode)."
                    yield spot, fault(text, place, spot, None, "rows.bad_surrogate")
    except JsonFault as error:
        text = f"not a JSON list of rows: {error}."
        yield error.line, fault(text, place, error.line, None, "data.not_json_list")
    except JsonLimitError as error:
        raise InputError(_limit(error, place, error.line or 1)) from None


def _limit(error: JsonLimitError, place: str, line: int) -> Problem:
    if isinstance(error, RepeatedKeyError):
        return fault(f"{error}. {TWICE}", place, line, error.key, "rows.repeated_key")
    if isinstance(error, TooDeepError):
        return fault(f"{error}.", place, line, None, "rows.nested_too_deeply")
    return fault(f"{error}.", place, line, None, "rows.number_too_long")


def _with_names(rows: Iterator[Numbered], options: TableOptions, path: Path) -> Iterator[Numbered]:
    """Name the cells of rows that are lists of text and numbers: after the first list if it contains only
    usual names (or with `header: 1`), otherwise by number."""
    first = next(rows, None)
    if first is None:
        return
    number, cells = first
    if options.header not in ((None, "none", 1) if _is_cells(cells) else (None,)):
        text = f"has no effect on {show(path)} (got {options.header!r}): "
        text += "its names are in the first row." if _is_cells(cells) else "its rows name their own fields."
        key = "--header (HEADER=)"
        raise InputError(Problem(f"{text} Leave it out.", key=key, code="option.no_effect"))
    if not _is_cells(cells):
        yield from ((at, _as_turns(row)) for at, row in itertools.chain([first], rows))
        return
    named = options.header != "none" and (isinstance(options.header, int) or all(map(_is_name, cells)))
    columns = column_names(cells, show(path), int(number)) if named else []
    for at, row in rows if named else itertools.chain([first], rows):
        if isinstance(row, list) and _is_cells(row):
            names = columns or [f"column_{n}" for n in range(1, len(cells) + 1)]
            if len(row) != len(names):
                text = f"expected {len(names)} values (got {len(row)})."
                yield at, fault(text, show(path), at, None, "rows.column_count")
            else:
                yield at, dict(zip(names, row, strict=True))
        else:
            yield at, row


def _as_turns(row: Any) -> Any:
    """Return an object whose only field is the row, a list of turns."""
    turns = isinstance(row, list) and row and all(isinstance(turn, dict) for turn in row)
    return {"messages": row} if turns and all(any(k in turn for k in ROLE_KEYS) for turn in row) else row


def _is_cells(row: Any) -> bool:
    return isinstance(row, list) and len(row) > 1 and not any(isinstance(cell, (dict, list)) for cell in row)


def _is_name(cell: Any) -> bool:
    return isinstance(cell, str) and cell.strip().lower() in USUAL_NAMES


# If a table's first row contains only these usual names, it is a header.
USUAL_NAMES = frozenset(
    """id text body message utterance sentence content review tweet label labels category class intent topic
    sentiment target question context answer answers prompt completion instruction input output response
    chosen rejected""".split()
)


def lists_of(path: Path, options: TableOptions) -> dict[str, int]:
    """Return the lists of rows in the object of a JSON document, with their lengths; {} for a file of another
    form."""
    if kind_of(path) not in (".json", ".jsonl") or _is_jsonl(path, options):
        return {}
    with open_text(path, encoding=options.encoding, longest=None) as file:
        if _first_letter(file) != "{":
            return {}
    found: dict[str, int] = {}
    with open_text(path, encoding=options.encoding, longest=None) as file:
        try:
            for _, where, value in stream(file, every=True):
                if isinstance(value, (dict, list)):
                    name = where.rpartition("[")[0]
                    found[name] = found.get(name, 0) + 1
        except (JsonFault, JsonLimitError):
            return {}
    return found


def beside_rows(path: Path, options: TableOptions) -> dict[str, Any]:
    """Return the values of a JSON document that stand beside its list of rows, by their names; {} for a file
    of another form."""
    if kind_of(path) not in (".json", ".jsonl") or _is_jsonl(path, options):
        return {}
    with open_text(path, encoding=options.encoding, longest=None) as file:
        try:
            return {name: value for name, value in beside(file).items() if not is_empty(value)}
        except (JsonFault, JsonLimitError):
            return {}  # reported when the rows are read


def _first_letter(file: TextIO) -> str:
    while letter := file.read(1):
        if not letter.isspace():
            return letter
    return ""
