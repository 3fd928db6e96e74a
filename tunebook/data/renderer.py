"""Render one row with the templates of a dataset.yaml.

In: a row as returned by its reader. Out: a rendered row (messages, gold answer, id, group) or a RowFault.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from jinja2 import StrictUndefined, TemplateError

from tunebook.core.errors import InputError, Problem, RowFault
from tunebook.core.files import Row
from tunebook.core.paths import show
from tunebook.core.yaml_file import line_of, read_yaml
from tunebook.data.dataset import Dataset
from tunebook.data.files.split_names import SPLITS, Split
from tunebook.data.formats import thoughts, windows
from tunebook.data.formats.values import is_empty
from tunebook.data.markers import escaped
from tunebook.data.prompt import Messages
from tunebook.data.tool_calls import calls, follows, offered, written
from tunebook.models.sandbox import Sandbox, bounded, compiled
from tunebook.runs.rows import RenderedRow, Turn

LONGEST_NAME = 80
ENVIRONMENT = Sandbox(undefined=StrictUndefined, finalize=lambda value: "" if value is None else value)


def split_from_train(dataset: Dataset) -> list[Split]:
    """Return the splits that come from one source, or [] if each has its own."""
    shares = {"dev": dataset.source.dev_share, "test": dataset.source.test_share}
    found: list[Split] = [split for split in SPLITS if shares.get(split)]
    return ["train", *found] if found else []


class Renderer:
    """Renders source rows of one split with the templates of dataset.yaml."""

    def __init__(self, dataset: Dataset, split: Split = "test") -> None:
        self.dataset, self.split = dataset, split
        self.undecided = split in split_from_train(dataset)
        self.templates: dict[str, Callable[[Row], str]] = {}
        self.golds = None
        texts = {"system": dataset.system, "prompt": dataset.prompt, "answer": dataset.answer or ""}
        texts["rejected"] = dataset.rejected or ""
        try:
            for name, text in texts.items():
                self.templates[name] = compiled(ENVIRONMENT, text)
            name = "answers"
            if dataset.answers:
                self.golds = bounded(ENVIRONMENT.compile_expression, dataset.answers)
        except TemplateError as error:
            path = dataset.folder / "dataset.yaml"
            line = line_of(read_yaml(path)[1], (name,)) if path.is_file() else None
            text = f"not a Jinja template: {error.message}."
            raise InputError(Problem(text, show(path), line, name, "data.bad_template")) from None

    def row(self, value: Any, fallback_id: str) -> RenderedRow:
        if not isinstance(value, dict):
            raise RowFault("", f"expected an object (got {type(value).__name__}).", "rows.not_an_object")
        field = self.dataset.group
        # A reader's rows made from nested rows may repeat an id, which then names a group.
        own_id = not (self.dataset.source.reader and field == "id")
        name = fallback_id if not own_id or is_empty(value.get("id")) else str(value["id"])
        group = name if field is None else value.get(field)
        if group is None or group == "":
            raise RowFault(
                str(field),
                "missing. Rows with the same value stay in one split (`group` in dataset.yaml).",
                "rows.no_group",
            )
        golds = self._golds(value)
        turns = self._turns(self._windowed(value, golds), golds)
        gold: dict[str, Any] = {"answer": written(turns[-1])}
        if golds is not None:
            gold["answers"] = golds
        for field in self.dataset.fields:
            if field not in value:
                raise RowFault(field, "missing; dataset.yaml lists it under fields.", "rows.missing_field")
            gold[field] = value[field]
        if self.dataset.labels and gold["answer"] not in self.dataset.labels:
            text = f"{gold['answer']!r} is not one of the labels in dataset.yaml."
            raise RowFault("answer", text, "labels.unknown")
        row: RenderedRow = {
            "id": name,
            "group": _short(str(group)),
            "source": self.dataset.name,
            "messages": self._plain(self._with_system(value, turns)),
            "gold": self._plain(gold),
        }
        if self.dataset.rejected is not None:
            row["rejected"] = self._plain(self._rejected(value, gold["answer"]))
        if tools := self.tools(value):
            row["tools"] = tools
        if (size := self.dataset.source.window) and self.undecided:
            turns = self._turns(windows.cut(value, size), golds)
            row["held_out"] = self._plain(self._with_system(value, turns))
        return row

    def _plain(self, value: Any) -> Any:
        return escaped(value) if self.dataset.special_tokens == "escape" else value

    def _windowed(self, value: Row, golds: list[str] | None) -> Row:
        """Return a source row with its passage shortened: in train, to a window with the answer."""
        size = self.dataset.source.window
        return windows.cut(value, size, golds if self.split == "train" else None) if size else value

    def _rejected(self, value: Row, chosen: str) -> Messages:
        """Return the rejected answer in Axolotl's format."""
        text = self._filled("rejected", value)
        if text == chosen:
            raise RowFault("rejected", "is identical to the chosen answer.", "rows.same_answers")
        return [{"role": "assistant", "content": text}]

    def _golds(self, value: Row) -> list[str] | None:
        """Return the gold answers of a question, [] if it has none; None for other tasks."""
        if self.golds is None:
            return None
        try:
            answers = bounded(self.golds, value)
        except TemplateError as error:
            text = f"the expression in dataset.yaml fails: {error}."
            raise RowFault("answers", text, "rows.template_fails") from None
        if not isinstance(answers, list) or not all(
            isinstance(text, str) and text.strip() for text in answers
        ):
            text = f"expected a list of texts, empty for no answer (got {answers!r})."
            raise RowFault("answers", text, "rows.bad_answers")
        return list(dict.fromkeys(text.strip() for text in answers))

    def tools(self, value: Row) -> str | None:
        """Return the JSON text of the tools of a source row; None if it has none."""
        field = self.dataset.tools
        if not field or not value.get(field):
            return None
        return str(self._plain(json.dumps(offered(value[field], field), ensure_ascii=False)))

    def question(self, value: Any) -> Messages:
        """Return the prompt messages of a new row, which needs no gold fields."""
        if not isinstance(value, dict):
            raise RowFault("", f"expected an object (got {type(value).__name__}).", "rows.not_an_object")
        if self.dataset.turns is None:
            value = self._windowed(value, None)
            turns: Messages = [{"role": "user", "content": self._filled("prompt", value)}]
        else:
            turns = self._talk(value)
            if "assistant" not in follows(turns):
                text = "the last turn must be from the user, so that the model can answer."
                raise RowFault(self.dataset.turns, text, "rows.last_turn")
        messages: Messages = self._plain(self._with_system(value, turns))
        return messages

    def _with_system(self, value: Row, turns: Messages) -> Messages:
        system = self._text("system", value)
        return [{"role": "system", "content": system}, *turns] if system else turns

    def _turns(self, value: Row, golds: list[str] | None) -> Messages:
        if self.dataset.turns is None:
            prompt = self._filled("prompt", value)
            if golds is None:
                answer = self._filled("answer", value)
            elif not golds and self.dataset.no_answer is None:
                text = "empty, but dataset.yaml has no `no_answer` text."
                raise RowFault("answers", text, "rows.no_answer")
            else:
                answer = golds[0] if golds else str(self.dataset.no_answer)
            return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        turns = self._talk(value)
        if len(turns) < 2:
            raise RowFault(self.dataset.turns, "expected a list of at least two turns.", "rows.not_turns")
        if turns[-1]["role"] != "assistant":
            field = f"{self.dataset.turns}[{len(turns) - 1}].role"
            raise RowFault(field, "the last turn must be from the assistant.", "rows.last_turn")
        return turns

    def _talk(self, value: Row) -> Messages:
        """Return the turns of a conversation, which starts with a user turn."""
        field = str(self.dataset.turns)
        turns = value.get(field)
        if not isinstance(turns, list) or not turns:
            raise RowFault(field, "expected a list of turns.", "rows.not_turns")
        result: Messages = []
        for index, turn in enumerate(turns):
            expected = follows(result)
            if not isinstance(turn, dict) or turn.get("role") not in expected:
                roles = " or ".join(map(repr, expected))
                text = f"expected {roles}; turns must alternate."
                raise RowFault(f"{field}[{index}].role", text, "rows.turn_order")
            content = turn.get("content")
            kept = Turn(role=turn["role"], content="")
            if turn.get("weight") is not None:
                kept["weight"] = turn["weight"]
            if self.dataset.source.reasoning and turn["role"] == "assistant":
                key, at = thoughts.field_of(turn), f"{field}[{index}]"
                inside, content = thoughts.split(content or "", f"{at}.content")
                if thought := thoughts.joined(key, inside, turn, at):
                    kept["reasoning_content"] = thought
            if turn.get("tool_calls"):
                kept["tool_calls"] = calls(turn["tool_calls"], f"{field}[{index}].tool_calls")
            if not isinstance(content, str) or not (content.strip() or "tool_calls" in kept):
                text = "must not be empty."
                raise RowFault(f"{field}[{index}].content", text, "rows.empty_text")
            if index == 0:
                content = self._text("prompt", {**value, "content": content})
            kept["content"] = content.strip()
            result.append(kept)
        return result

    def _filled(self, name: str, value: Row) -> str:
        text = self._text(name, value)
        if not text:
            text = "renders to an empty string. Fill its field, or remove the row."
            raise RowFault(name, text, "rows.empty_render")
        return text

    def _text(self, name: str, value: Row) -> str:
        try:
            return self.templates[name](value).strip()
        except TemplateError as error:
            text = f"the template in dataset.yaml fails: {error}."
            raise RowFault(name, text, "rows.template_fails") from None


def _short(group: str) -> str:
    """Return a short name for a group: a long text (a passage) is replaced by its hash."""
    return group if len(group) <= LONGEST_NAME else hashlib.sha256(group.encode()).hexdigest()[:16]
