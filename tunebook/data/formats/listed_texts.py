"""Texts that are given as lists: the paragraphs of a passage, and the answers to choose from.

In: the value of a field. Out: one text, or None if the value has another form.

| form                                                   | of                                   |
|--------------------------------------------------------|--------------------------------------|
| a list of texts, or of lists of sentences              | PubMedQA, DROP, RAG data             |
| a list of [title, sentences]                           | HotpotQA, 2WikiMultihop              |
| `{title: [...], sentences: [[...]]}`                   | HotpotQA on the Hub                  |
| a list of objects with a text, and perhaps a title     | MuSiQue                              |
| `{passage_text: [...]}`                                | MS MARCO                             |
| `{text: [...], label: [...]}`, `{A: ..., B: ...}`      | choices: ARC, CommonsenseQA, MedQA   |
"""

from __future__ import annotations

from collections.abc import Iterable
from string import ascii_uppercase
from typing import Any

TEXT = ("paragraph_text", "passage_text", "text", "content", "contents", "body", "passage")
LISTS = ("passage_text", "contexts", "texts", "passages", "paragraphs")  # of texts, in an object


def passage(value: Any) -> str | None:
    """Return the paragraphs of a passage as one text, separated by empty lines, each after its title if it
    has one; None for anything else."""
    if isinstance(value, dict):
        if _are_lists(value, "title", "sentences"):
            value = [list(pair) for pair in zip(value["title"], value["sentences"], strict=False)]
        else:
            value = next((value[name] for name in LISTS if isinstance(value.get(name), list)), None)
    if not isinstance(value, list) or not value:
        return None
    parts = [_paragraph(part) for part in value]
    return None if None in parts else "\n\n".join(part.strip() for part in parts if part)


def _paragraph(part: Any) -> str | None:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        name = next((name for name in TEXT if isinstance(part.get(name), str)), None)
        title = part.get("title")
        return None if name is None else _titled(title if isinstance(title, str) else "", part[name])
    if not isinstance(part, list) or not part:
        return None
    if len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], list):
        return _titled(part[0], joined(part[1])) if all(isinstance(one, str) for one in part[1]) else None
    return joined(part) if all(isinstance(one, str) for one in part) else None


def _titled(title: str, text: str) -> str:
    return f"{title.strip()}\n{text.strip()}" if title.strip() else text


def joined(sentences: list[str]) -> str:
    """Return sentences as one text; some files keep the blank before each."""
    spaced = any(sentence[:1].isspace() for sentence in sentences[1:])
    return ("" if spaced else " ").join(sentences)


def choices(value: Any) -> str | None:
    """Return the answers to choose from as lines, each with its letter; None for anything else."""
    marked = marks_and_texts(value)
    return "\n".join(f"{mark}. {text}" for mark, text in marked) if marked else None


def marks_and_texts(value: Any) -> list[tuple[str, str]]:
    """Return the mark and the text of each answer to choose from; [] for anything else. Answers without marks
    are lettered."""
    found: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        if _are_lists(value, "text", "label"):
            found = zip(value["label"], value["text"], strict=False)
        elif value and all(len(str(key)) == 1 for key in value):
            found = value.items()
    elif isinstance(value, list) and len(value) <= len(ascii_uppercase):
        if value and all(isinstance(one, dict) and {"label", "text"} <= one.keys() for one in value):
            found = [(one["label"], one["text"]) for one in value]
        else:
            found = zip(ascii_uppercase, value, strict=False)
    pairs = list(found)
    plain = all(isinstance(text, (str, int, float)) for _, text in pairs)
    return [(str(mark), str(text).strip()) for mark, text in pairs] if plain and len(pairs) > 1 else []


def _are_lists(value: dict[str, Any], *names: str) -> bool:
    lists = [value.get(name) for name in names]
    return all(isinstance(one, list) for one in lists) and len({len(one or []) for one in lists}) == 1
