"""Stream the objects of one JSON document.

In: the text of a list of objects, of an object that contains one (`{"data": [...]}`, as in SQuAD), of objects
in an object, or of objects one after another. Out: each object with its path and the line on which it begins.
Only one element is in memory at a time, decoded by `json`; for objects in an object, all are.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any, TextIO

from tunebook.core.files import JsonLimitError, checked, unique_keys

CHUNK = 1 << 20
MOST_BESIDE = 50  # values of a list that is no list of rows
LONGEST_VALUE = 1 << 26  # characters of a row
LONGEST_WORD = 16  # maximum length of a JSON token such as `-Infinity` or an escaped pair
BLANK = re.compile(r"[ \t\r\n]*")
ANOTHER = re.compile(r"[ \t\r\n]*,?[ \t\r\n]*\{")
DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)
BY_COLUMNS = (
    'the file is column-oriented, as pandas writes it. Convert it: .venv/bin/python -c "import pandas; '
    "pandas.read_json('FILE'{orient}).to_json('FILE.jsonl', orient='records', lines=True)\""
)
BY_LABELS = (
    "the file has a list of texts for each label. Write a row for each text: .venv/bin/python -c "
    '"import json; '
    "[print(json.dumps(dict(text=text, label=label))) for label, texts in "
    "json.load(open('FILE')).items() for text "
    'in texts]" > FILE.jsonl'
)
HINTS = {  # what stands at the position of the error, and what to do
    r"//|/\*|#": "a comment, which JSON does not allow. Remove it",
    r"'": "a single quote, but JSON uses double quotes. If Python wrote the file, use json.dump",
    r"(None|True|False)\b": "a Python literal; JSON has null, true and false. Write the file with json.dump",
    r",": "a comma after the object. Remove it: JSON Lines has no commas between lines",
    r"[}\]]": "there is an extra comma before it. Remove the comma",
    r'[\[{"\d]': "a comma is missing before it",
}


class JsonFault(Exception):
    """The document is not JSON or not a list of objects; `line` is where the error is."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.line = line


def hint(text: str, at: int) -> str:
    """Return a description of what stands at `at`, as the end of a message; "" for anything unknown."""
    found = next((say for pattern, say in HINTS.items() if re.match(pattern, text[at:].lstrip())), "")
    return f" ({found})" if found else ""


class _Scanner:
    """A window on the text that grows until it contains the complete value at its start."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.at, self.line, self.ended = file, "", 0, 1, False

    def more(self) -> bool:
        """Read more text and return whether there was any. The window doubles, so that a long value is not
        decoded too often."""
        self.text = self.text[self.at :]
        self.at = 0
        if len(self.text) > LONGEST_VALUE:
            raise JsonFault(f"a value of more than {LONGEST_VALUE >> 20} MiB", self.line)
        piece = self.file.read(max(CHUNK, len(self.text)))
        self.text += piece
        self.ended = not piece
        return not self.ended

    def peek(self) -> str:
        """Skip whitespace and return the next character, "" at the end."""
        while True:
            self.advance(BLANK.match(self.text, self.at).end())  # type: ignore[union-attr]
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def advance(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def take(self, letters: str) -> str:
        """Consume and return one of `letters`.

        Raises:
            JsonFault: the next character is a different one.
        """
        letter = self.peek()
        if not letter or letter not in letters:
            wanted = " or ".join(repr(letter) for letter in letters)
            raise JsonFault(
                f"expected {wanted} (got {letter!r})" if letter else f"the file ends before {wanted}",
                self.line,
            )
        self.at += 1
        return letter

    def value(self) -> Any:
        """Decode and return the next value.

        Raises:
            JsonFault: the value is not JSON, or the file ends inside it.
            JsonLimitError: as `from_json`, with the line.
        """
        self.peek()
        while True:
            try:
                value, end = checked(lambda: DECODER.raw_decode(self.text, self.at))
                # A number at the end of the window may continue after it.
                if end == len(self.text) and self.more():
                    continue
            except json.JSONDecodeError as error:
                at, open_string = error.pos - self.at, error.msg.startswith("Unterminated string")
                if (open_string or error.pos > len(self.text) - LONGEST_WORD) and self.more():
                    continue
                if open_string or at >= len(self.text[self.at :].rstrip()):
                    raise JsonFault("the file ends inside a value", self.line) from None
                line = self.line + self.text.count("\n", self.at, self.at + at)
                raise JsonFault(f"{error.msg}{hint(self.text, self.at + at)}", line) from None
            except JsonLimitError as error:
                error.line = self.line
                raise
            self.advance(end)
            return value

    def one_of_several(self) -> bool:
        """Return whether another object follows the one that begins here, within the current window."""
        while True:
            try:
                _, end = DECODER.raw_decode(self.text, self.at)
            except (ValueError, RecursionError):
                if len(self.text) - self.at < CHUNK and self.more():
                    continue
                return False
            if not ANOTHER.match(self.text, end) and len(self.text) - end < LONGEST_WORD and self.more():
                continue
            return ANOTHER.match(self.text, end) is not None


def stream(
    file: TextIO, lists: list[str] | None = None, every: bool = False
) -> Iterator[tuple[int, str, Any]]:
    """Yield (line, path, value) of each element of the document's list; `path` is `[3]` or `data[3]`.

    Args:
        lists: the lists of the document's object to read; None for the only list of objects.
        every: read every list of the object.

    Raises:
        JsonFault: not JSON, or not a list of rows in one of the forms above.
    """
    scanner = _Scanner(file)
    if scanner.peek() == "[":
        yield from _elements(scanner, "")
        _ended(scanner)
        return
    if scanner.peek() != "{":
        raise JsonFault(f"expected a list of objects{hint(scanner.text, scanner.at)}", scanner.line)
    if not lists and not every and scanner.one_of_several():
        index = 0
        while scanner.peek():
            line = scanner.line
            yield line, f"[{index}]", scanner.value()
            index += 1
            if scanner.peek() == ",":
                scanner.take(",")
        return
    scanner.take("{")
    list_key, wanted, inner = "", set(lists or ()), list[tuple[int, str, list[Any]]]()
    flat, sizes = list[set[Any]](), set[int]()  # lists that contain no objects, and their lengths
    objects: list[tuple[int, str, Any]] | None = []
    while scanner.peek() != "}":
        key = str(scanner.value())
        scanner.take(":")
        line = scanner.line
        if scanner.peek() != "[":
            value = scanner.value()
            inner += [(line, path, rows) for path, rows in _lists_in(value, key)]
            if objects is not None and isinstance(value, dict):
                objects.append((line, key, value))
        else:
            objects = None
            flat.append(set())
            size = 0
            for index, item in enumerate(_elements(scanner, key)):
                flat[-1].add(type(item[2]))
                size += 1
                if lists or every:
                    if every or key in wanted:
                        list_key = key
                        yield item
                    continue
                if not index and isinstance(item[2], dict):
                    if list_key:
                        raise JsonFault(_several([list_key, key]), line)
                    list_key = key
                if list_key == key:
                    yield item
            sizes.add(size)
        if scanner.peek() == ",":
            scanner.take(",")
        elif scanner.peek() != "}":
            scanner.take(",}")
    scanner.take("}")
    _ended(scanner)
    if list_key:
        return
    if objects and not lists and _alike([value for _, _, value in objects]):
        if all(key.isdigit() for _, _, value in objects for key in value):
            raise JsonFault(BY_COLUMNS.format(orient=""), 1)
        for line, key, value in objects:
            yield line, key, {**({} if "id" in value else {"id": key}), **value}
        return
    chosen = [one for one in inner if not lists or one[1] in wanted]
    if len(chosen) > 1 and not (lists or every):
        raise JsonFault(_several([path for _, path, _ in chosen]), 1)
    for line, path, rows in chosen:
        for index, row in enumerate(rows):
            yield line, f"{path}[{index}]", row
    if not chosen and not every:
        if len(sizes) > 1 and all(kinds == {str} for kinds in flat):
            raise JsonFault(BY_LABELS, 1)
        if sum(map(len, flat)) and len(flat) > 1:
            orient = ", orient='split'" if any(list in kinds for kinds in flat) else ""
            raise JsonFault(BY_COLUMNS.format(orient=orient), 1)
        raise JsonFault("expected a list of objects, or an object that contains one", 1)


def _several(names: list[str]) -> str:
    """Return the message about a document with several lists of objects."""
    first, second, last = (shlex.quote(name) for name in (*names[:2], names[-1]))
    return (
        f"contains {len(names)} lists of objects ({', '.join(names)}). Name the one with the rows, as in "
        f'DATA="train=FILE#{last}", or those of several splits: DATA="train=FILE#{first} test=FILE#{second}"'
    )


def _lists_in(value: Any, path: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the lists of objects inside objects, with their dotted paths."""
    for key, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, list) and item and all(isinstance(one, dict) for one in item):
            yield f"{path}.{key}", item
        else:
            yield from _lists_in(item, f"{path}.{key}")


def _alike(values: list[dict[str, Any]]) -> bool:
    """Return whether objects are rows: two or more, with common fields."""
    return len(values) > 1 and bool(set.intersection(*map(set, values)))


def _ended(scanner: _Scanner) -> None:
    if scanner.peek():
        raise JsonFault("text after the end of the document", scanner.line)


def _elements(scanner: _Scanner, key: str) -> Iterator[tuple[int, str, Any]]:
    scanner.take("[")
    index = 0
    while scanner.peek() != "]":
        line = scanner.line
        yield line, f"{key}[{index}]", scanner.value()
        index += 1
        if scanner.peek() == ",":
            scanner.take(",")
        elif scanner.peek() != "]":
            scanner.take(",]")
    scanner.take("]")


def beside(file: TextIO) -> dict[str, Any]:
    """Return the values of a document's object that are no rows, by their dotted names: a version, a system
    prompt for all rows, the address of the next page. {} for a document of another form.

    Raises:
        JsonFault, JsonLimitError: the document is not JSON.
    """
    scanner = _Scanner(file)
    if scanner.peek() != "{" or scanner.one_of_several():
        return {}
    scanner.take("{")
    found: dict[str, Any] = {}
    has_rows = False
    while scanner.peek() != "}":
        key = str(scanner.value())
        scanner.take(":")
        if scanner.peek() == "[":
            values = list[Any]()
            for _, _, item in _elements(scanner, key):
                has_rows = has_rows or isinstance(item, (dict, list))
                if not isinstance(item, (dict, list)) and len(values) < MOST_BESIDE:
                    values.append(item)
            found[key] = values
        else:
            value = scanner.value()
            has_rows = has_rows or next(_lists_in(value, key), None) is not None
            found |= dict(_plain_in(value, key))
        if scanner.peek() == ",":
            scanner.take(",")
    return found if has_rows else {}


def _plain_in(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the values inside objects that are neither objects nor lists of objects, with their paths."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _plain_in(item, f"{path}.{key}")
    elif not (isinstance(value, list) and any(isinstance(one, (dict, list)) for one in value)):
        yield path, value[:MOST_BESIDE] if isinstance(value, list) else value
