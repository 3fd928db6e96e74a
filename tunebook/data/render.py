"""Render the rows of a dataset with the templates of its dataset.yaml.

In: raw rows. Out: rendered rows (tunebook/data/dataset.py) by split, or every problem with file, line and
field.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from tunebook.core.errors import InputError, Problem, RowFault
from tunebook.core.files import Row
from tunebook.core.paths import show
from tunebook.data.dataset import Dataset
from tunebook.data.formats import windows
from tunebook.data.formats.bad_rows import bad_rows, is_fatal
from tunebook.data.formats.leaves import refuse_ignored
from tunebook.data.formats.place import Spot, fault, id_of
from tunebook.data.markers import escaped
from tunebook.data.prompt import Messages
from tunebook.data.sources import SPLITS, Split, raw_rows, source_file
from tunebook.data.splits import split_rows, time_of
from tunebook.data.tool_calls import calls, follows, offered, written
from tunebook.runs.rows import RenderedRow, Turn

LONGEST_NAME = 80


@dataclass(frozen=True)
class Located:
    """A rendered row or its Problem, and the place of its source. The row names the group that it came in;
    `family`, where it is known, is the group that it is split and counted with."""

    place: str
    line: int
    value: RenderedRow | Problem
    family: str | None = None


def render(dataset: Dataset, split: Split) -> list[RenderedRow]:
    """Read and render every row of `split`.

    Raises:
        InputError: a missing file; or more problems than `allow_drop` takes, the first three of each kind
            (`file:line: field: text`) and their counts.
        MachineError: the rows are on the Hub, which cannot be reached.
    """
    problems: list[Problem] = []
    shared = split in split_from_train(dataset)
    rows = _render(dataset, "train" if shared else split, problems)
    accept(dataset, problems, len(rows))
    return held_out(dataset, rows)[split] if shared else rows


@dataclass(frozen=True)
class Rendered:
    """The rows of each split; the line of its source and the group that each row came in, in the same order;
    and the rows that `allow_drop` leaves out."""

    rows: dict[Split, list[RenderedRow]]
    came: dict[Split, list[tuple[int, str]]]
    problems: list[Problem]


def render_all(dataset: Dataset, notes: list[str] | None = None) -> dict[Split, list[RenderedRow]]:
    """Return the rows of `render_whole`."""
    return render_whole(dataset, notes).rows


def render_whole(
    dataset: Dataset,
    notes: list[str] | None = None,
    step: Callable[[], None] | None = None,
    left_out: list[Problem] | None = None,
) -> Rendered:
    """Read and render every split, each source once; raises what `render` raises. `notes` takes what a person
    should know of the split, `left_out` the bad rows that `allow_drop` accepts; `step` is called for each
    row."""
    problems: list[Problem] = []
    shared = split_from_train(dataset)
    own = [split for split in SPLITS if split == "train" or split not in shared]
    lines: dict[Split, dict[str, tuple[int, str]]] = {split: {} for split in own}
    rows = {split: _render(dataset, split, problems, lines[split], step) for split in own}
    accept(dataset, problems, sum(map(len, rows.values())), left_out)
    rows |= held_out(dataset, rows["train"], notes) if shared else {}
    came = {
        split: [lines["train" if split in shared else split][row["id"]] for row in rows[split]]
        for split in SPLITS
    }
    return Rendered(rows, came, problems)


def split_from_train(dataset: Dataset) -> list[Split]:
    """Return the splits that share one source, [] where each has its own."""
    shares = {"dev": dataset.source.dev_share, "test": dataset.source.test_share}
    found: list[Split] = [split for split in SPLITS if shares.get(split)]
    return ["train", *found] if found else []


def held_out(
    dataset: Dataset, rows: list[RenderedRow], notes: list[str] | None = None
) -> dict[Split, list[RenderedRow]]:
    """Split dev and test from the rows of train, as `source` says. Of a row only its id, group, time, gold
    answer and prompt are looked at."""
    found = split_rows(
        rows, dataset.source, bool(dataset.labels), show(dataset.folder / "dataset.yaml"), notes
    )
    return {split: [of_split(row, split) for row in some] for split, some in found.items()}


def of_split(row: RenderedRow, split: Split) -> RenderedRow:
    """Return a row of train's source as a row of the split that it is cut into: with its own window of the
    passage (tunebook/data/formats/windows.py)."""
    if "held_out" not in row:
        return row
    made = row.copy()
    messages = made.pop("held_out")
    if split != "train":
        made["messages"] = messages
    return made


def each_row(dataset: Dataset, split: Split) -> Iterator[Located]:
    """Yield every row of a split's own source, one at a time; a problem in place of each bad one."""
    renderer = Renderer(dataset, split)
    place, raw = raw_rows(dataset.source, dataset.folder, split)
    by_time = dataset.source.by_time if split == "train" else None
    seen: dict[str, int] = {}
    for number, value in raw:
        if not isinstance(value, Problem):
            fallback = f"{split}-{int(number)}"
            if fallback in seen:  # several rows of a JSON document may begin on one line
                fallback += f".{len(seen)}"
            try:
                if dataset.source.reader is None and isinstance(value, dict):
                    refuse_ignored(value, partial(renderer.row, fallback_id=fallback), top=True)
                row = renderer.row(value, fallback)
                if by_time:
                    row["time"] = time_of(value, by_time)
            except RowFault as error:
                value = fault(str(error), place, number, error.field, error.code, id_of(value))
            else:
                value = row
                if row["id"] in seen:
                    text = f"repeats the id of line {seen[row['id']]}."
                    value = fault(text, place, number, "id", "rows.repeated_id", row["id"])
                seen.setdefault(row["id"], int(number))
        own = (
            value["id"] if not isinstance(value, Problem) and not value["id"].startswith(f"{split}-") else ""
        )
        yield Located(place, Spot.of(number, row=own), value)


def _render(
    dataset: Dataset,
    split: Split,
    problems: list[Problem],
    lines: dict[str, tuple[int, str]] | None = None,
    step: Callable[[], None] | None = None,
) -> list[RenderedRow]:
    rows: list[RenderedRow] = []
    for located in each_row(dataset, split):
        if step:
            step()
        if isinstance(located.value, Problem):
            problems.append(located.value)
        else:
            rows.append(located.value)
            if lines is not None:
                lines[located.value["id"]] = located.line, located.value["group"]
    if not rows:
        accept(dataset, problems, 0)
        path = source_file(dataset.source, dataset.folder, split)
        raise InputError(
            Problem("has no rows.", show(path) if path else dataset.source.hub, code="data.no_rows")
        )
    return rows


def accept(
    dataset: Dataset, problems: list[Problem], good: int, left_out: list[Problem] | None = None
) -> None:
    """Leave up to `allow_drop` bad rows out, in `left_out` or said on standard error; raise for more.

    Args:
        good: how many rows can be read.
    """
    count = len(problems)
    if count > dataset.allow_drop or any(is_fatal(problem) for problem in problems):
        raise bad_rows(problems, dataset.name, good, dataset.allow_drop)
    if left_out is not None:
        left_out += problems
    elif problems:
        print(
            f"datasets/{dataset.name}: {count} bad rows left out (allow_drop: {dataset.allow_drop}); "
            f"the first: {problems[0]}",
            file=sys.stderr,
        )


class Renderer:
    """Renders source rows of one split with the templates of dataset.yaml."""

    def __init__(self, dataset: Dataset, split: Split = "test") -> None:
        self.dataset, self.split = dataset, split
        self.undecided = split in split_from_train(dataset)
        environment = SandboxedEnvironment(
            undefined=StrictUndefined, finalize=lambda value: "" if value is None else value
        )
        self.templates = {}
        self.golds = None
        texts = {"system": dataset.system, "prompt": dataset.prompt, "answer": dataset.answer or ""}
        texts["rejected"] = dataset.rejected or ""
        try:
            for name, text in texts.items():
                self.templates[name] = environment.from_string(text)
            name = "answers"
            if dataset.answers:
                self.golds = environment.compile_expression(dataset.answers)
        except TemplateError as error:
            path = show(dataset.folder / "dataset.yaml")
            text = f"not a Jinja template: {error.message}."
            raise InputError(Problem(text, path, key=name, code="data.bad_template")) from None

    def row(self, value: Any, fallback_id: str) -> RenderedRow:
        if not isinstance(value, dict):
            raise RowFault("", f"expected an object (got {type(value).__name__}).", "rows.not_an_object")
        field = self.dataset.group
        # What a reader made of a person's rows may repeat an id that names a group.
        own_id = not (self.dataset.source.reader and field == "id")
        name = str(value.get("id", fallback_id)) if own_id else fallback_id
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
        """Return a source row with its passage cut: in train to a window with the answer."""
        size = self.dataset.source.window
        return windows.cut(value, size, golds if self.split == "train" else None) if size else value

    def _rejected(self, value: Row, chosen: str) -> Messages:
        """Return the rejected answer in Axolotl's form."""
        text = self._filled("rejected", value)
        if text == chosen:
            raise RowFault("rejected", "is identical to the chosen answer.", "rows.same_answers")
        return [{"role": "assistant", "content": text}]

    def _golds(self, value: Row) -> list[str] | None:
        """Return the gold answers of a question, [] if it has none; None for other tasks."""
        if self.golds is None:
            return None
        try:
            answers = self.golds(value)
        except (TemplateError, TypeError, ValueError) as error:
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
                text = "the last turn must be from the user, for the model to answer."
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
            return self.templates[name].render(value).strip()
        except (TemplateError, TypeError, ValueError) as error:
            text = f"the template in dataset.yaml fails: {error}."
            raise RowFault(name, text, "rows.template_fails") from None


def _short(group: str) -> str:
    """Return the name of a group; a long text (a passage) is replaced by its hash."""
    return group if len(group) <= LONGEST_NAME else hashlib.sha256(group.encode()).hexdigest()[:16]
