"""Render the source rows of a dataset by the templates of its dataset.yaml."""

from __future__ import annotations

from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from tunebook.dataset import Dataset, Row
from tunebook.errors import InputError, Problem, raise_all
from tunebook.paths import show
from tunebook.prompt import Messages
from tunebook.sampling import sample_groups
from tunebook.sources import SPLITS, Split, raw_rows

MAX_SHOWN = 20
CUT_SEED = 42


def render(dataset: Dataset, split: Split) -> list[Row]:
    """Read and render every row of `split`.

    Raises:
        InputError: a missing file, or the first 20 problems (`file:line: field: text`) and their count.
        MachineError: the rows are on the Hub, which cannot be reached.
    """
    if not dataset.source.dev_share or split == "test":
        return _render(dataset, split)
    return _cut(dataset, _render(dataset, "train"))[split]


def render_all(dataset: Dataset) -> dict[Split, list[Row]]:
    """Read and render every split, each source once; raises what `render` raises."""
    if not dataset.source.dev_share:
        return {split: _render(dataset, split) for split in SPLITS}
    return {**_cut(dataset, _render(dataset, "train")), "test": _render(dataset, "test")}


def _cut(dataset: Dataset, rows: list[Row]) -> dict[Split, list[Row]]:
    """Cut dev off the rows of train, as `source.dev_share` says."""
    count = max(1, round((dataset.source.dev_share or 0) * len(rows)))
    dev = sample_groups(rows, count, CUT_SEED, stratify=bool(dataset.labels))
    taken = {row["id"] for row in dev}
    return {"train": [row for row in rows if row["id"] not in taken], "dev": dev}


def _render(dataset: Dataset, split: Split) -> list[Row]:
    renderer = Renderer(dataset)
    place, raw = raw_rows(dataset.source, dataset.folder, split)
    rows: list[Row] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for number, value in raw:
        if isinstance(value, Problem):
            problems.append(value)
            continue
        try:
            row = renderer.row(value, fallback_id=f"{split}-{number}")
        except RowFault as fault:
            problems.append(Problem(str(fault), place, number, fault.field))
            continue
        if row["id"] in seen:
            problems.append(Problem(f"repeats the id of line {seen[row['id']]}.", place, number, "id"))
        seen[row["id"]] = number
        rows.append(row)
    if len(problems) > MAX_SHOWN:
        problems = [*problems[:MAX_SHOWN], Problem(f"... {len(problems)} problems in all.", place)]
    raise_all(problems)
    if not rows:
        raise InputError(f"{place}: has no rows.")
    return rows


class RowFault(Exception):
    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class Renderer:
    """Turns one source object into one row, by the templates of dataset.yaml."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        environment = SandboxedEnvironment(
            undefined=StrictUndefined, finalize=lambda value: "" if value is None else value
        )
        self.templates = {}
        self.golds = None
        texts = {"system": dataset.system, "prompt": dataset.prompt, "answer": dataset.answer or ""}
        try:
            for name, text in texts.items():
                self.templates[name] = environment.from_string(text)
            name = "answers"
            if dataset.answers:
                self.golds = environment.compile_expression(dataset.answers)
        except TemplateError as error:
            path = show(dataset.folder / "dataset.yaml")
            raise InputError(f"{path}: {name}: not a Jinja template: {error.message}.") from None

    def row(self, value: Any, fallback_id: str) -> Row:
        if not isinstance(value, dict):
            raise RowFault("", f"expected an object (got {type(value).__name__}).")
        name = str(value.get("id", fallback_id))
        field = self.dataset.group
        group = name if field is None else value.get(field)
        if group is None or group == "":
            raise RowFault(str(field), "missing; it is the group that rows are split by.")
        golds = self._golds(value)
        turns = self._turns(value, golds)
        gold: dict[str, Any] = {"answer": turns[-1]["content"]}
        if golds is not None:
            gold["answers"] = golds
        for field in self.dataset.fields:
            if field not in value:
                raise RowFault(field, "missing; dataset.yaml lists it under fields.")
            gold[field] = value[field]
        if self.dataset.labels and gold["answer"] not in self.dataset.labels:
            raise RowFault("answer", f"{gold['answer']!r} is not one of the labels of dataset.yaml.")
        return {
            "id": name,
            "group": str(group),
            "source": self.dataset.name,
            "messages": self._with_system(value, turns),
            "gold": gold,
        }

    def _golds(self, value: Row) -> list[str] | None:
        """Return the gold answers of a question, [] where it has none; None for other tasks."""
        if self.golds is None:
            return None
        try:
            found = self.golds(value)
        except (TemplateError, TypeError, ValueError) as error:
            raise RowFault("answers", f"the expression of dataset.yaml fails: {error}.") from None
        if not isinstance(found, list) or not all(isinstance(text, str) and text.strip() for text in found):
            raise RowFault("answers", f"expected a list of texts, empty for no answer (got {found!r}).")
        return list(dict.fromkeys(text.strip() for text in found))

    def question(self, value: Any) -> Messages:
        """Return the messages that ask for an answer to a new row, which needs no gold fields."""
        if not isinstance(value, dict):
            raise RowFault("", f"expected an object (got {type(value).__name__}).")
        if self.dataset.turns is None:
            turns = [{"role": "user", "content": self._filled("prompt", value)}]
        else:
            turns = self._talk(value)
            if turns[-1]["role"] != "user":
                raise RowFault(
                    self.dataset.turns, "the last turn must be the user's, for the model to answer."
                )
        return self._with_system(value, turns)

    def _with_system(self, value: Row, turns: Messages) -> Messages:
        system = self._text("system", value)
        return [{"role": "system", "content": system}, *turns] if system else turns

    def _turns(self, value: Row, golds: list[str] | None) -> Messages:
        if self.dataset.turns is None:
            asked = self._filled("prompt", value)
            if golds is None:
                answer = self._filled("answer", value)
            elif not golds and self.dataset.no_answer is None:
                raise RowFault("answers", "empty, and dataset.yaml says no text for that under no_answer.")
            else:
                answer = golds[0] if golds else str(self.dataset.no_answer)
            return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        turns = self._talk(value)
        if len(turns) < 2:
            raise RowFault(self.dataset.turns, "expected a list of at least two turns.")
        if turns[-1]["role"] != "assistant":
            raise RowFault(
                f"{self.dataset.turns}[{len(turns) - 1}].role", "the last turn must be the assistant's."
            )
        return turns

    def _talk(self, value: Row) -> Messages:
        """Return the turns of a conversation, which starts with the user's."""
        field = str(self.dataset.turns)
        turns = value.get(field)
        if not isinstance(turns, list) or not turns:
            raise RowFault(field, "expected a list of turns.")
        result = []
        for index, turn in enumerate(turns):
            role = ("user", "assistant")[index % 2]
            if not isinstance(turn, dict) or turn.get("role") != role:
                raise RowFault(f"{field}[{index}].role", f"expected {role!r}; turns alternate.")
            content = turn.get("content")
            if not isinstance(content, str) or not content.strip():
                raise RowFault(f"{field}[{index}].content", "empty; nothing could be learned from it.")
            if index == 0:
                content = self._text("prompt", {**value, "content": content})
            result.append({"role": role, "content": content.strip()})
        return result

    def _filled(self, name: str, value: Row) -> str:
        text = self._text(name, value)
        if not text:
            raise RowFault(name, "renders to nothing; there would be nothing to learn from.")
        return text

    def _text(self, name: str, value: Row) -> str:
        try:
            return self.templates[name].render(value).strip()
        except (TemplateError, TypeError, ValueError) as error:
            raise RowFault(name, f"the template of dataset.yaml fails: {error}.") from None
