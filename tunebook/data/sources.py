"""The raw rows of a dataset: files in its folder, or splits of a dataset on the Hub.

In: `source:` of dataset.yaml. Out: (line, row) pairs of a split, after `where` and `reader`. With
TUNEBOOK_SOURCES=DIR, files in DIR/<dataset>/ replace both; a Hub split is then a .jsonl, .csv or .parquet
file named after the split, with the Hub's columns.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from jinja2 import TemplateError
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tunebook.core.environment import environment
from tunebook.core.errors import InputError, Problem, RowFault
from tunebook.core.paths import show
from tunebook.data.files.hub_rows import cached_revision, read_hub
from tunebook.data.files.label_names import with_names
from tunebook.data.files.split_names import SPLITS, Split, split_in
from tunebook.data.files.table_options import AS_IT_IS, TableOptions
from tunebook.data.files.tables import KINDS, read_table
from tunebook.data.formats.leaves import refuse_ignored, without_fields, without_steps
from tunebook.data.formats.meaning.meaning_of import chosen_by
from tunebook.data.formats.open_file import kind_of
from tunebook.data.formats.place import Numbered, at_origins, fault, id_of, in_rows
from tunebook.data.formats.repairs import Repair
from tunebook.data.formats.rows.layouts import read_layout
from tunebook.data.formats.rows.picked import picked
from tunebook.data.formats.rows.votes import decided
from tunebook.data.formats.turn_forms import rename_roles
from tunebook.data.near_duplicates import Near
from tunebook.models.sandbox import Sandbox, bounded

OASST_MARKS = ("deleted", "review_result")  # of messages that are dropped
OASST_FIELDS = ("message_id", "parent_id", "message_tree_id", "role", "text", "rank")
ROW_KINDS = (".parquet", ".arrow", ".feather", ".xlsx")  # files that contain rows instead of lines


class Source(BaseModel):
    """`source:` of dataset.yaml: either `files`, a file for each split relative to the dataset folder, or
    `hub`, a dataset on the Hub with its `config`, `revision` and `splits` (our name: the Hub's name).

    A missing split `dev` or `test` is split from train: whole groups, about `dev_share` and `test_share` of
    the rows, either the newest by the column `by_time` or drawn with a fixed seed (tunebook/data/splits.py).
    `split_column` names the column that assigns rows to splits, for a file that has several. `where` is a
    Jinja expression that filters raw rows; `reader` converts raw rows, and `columns` maps its field names to
    those of the file (tunebook/data/formats). `drop` names fields of rows or turns that are ignored on
    purpose; `near` says which near-duplicates stay in one split. `roles` says who the speakers of
    conversations are, `repair` which changes to turns are permitted so that they alternate
    (tunebook/data/formats/repairs.py). `table` says how to read files that are ambiguous, `lists` which lists
    of a JSON object form a split, and `label_names` maps the labels in the files to names (null: drop their
    rows). `window` shortens the passages of questions to that many words (tunebook/data/formats/windows.py).
    `reasoning` reads the reasoning of answers (tunebook/data/formats/thoughts.py), for which recipe.yaml must
    say `thinking`.
    """

    model_config = ConfigDict(extra="forbid")
    files: dict[Split, str] = {}
    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    splits: dict[Split, str] = {}
    dev_share: float | None = Field(default=None, gt=0, le=0.5)
    test_share: float | None = Field(default=None, gt=0, le=0.5)
    by_time: str | None = None
    where: str | None = None
    reader: Literal["oasst_best_paths", "labels", "qa", "squad", "chat", "pairs", "preference"] | None = None
    columns: dict[str, str] = {}
    drop: list[str] = []
    near: Near = "bounded"
    roles: dict[str, Literal["system", "user", "assistant", "tool"]] = {}
    repair: list[Repair] = []
    reasoning: bool = False
    table: TableOptions = AS_IT_IS
    lists: dict[Split, list[str]] = {}
    label_names: dict[str, str | None] = {}
    window: int | None = Field(default=None, ge=20)
    split_column: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if bool(self.files) == bool(self.hub):
            raise ValueError("set either files or hub")
        given = self.splits if self.hub else self.files
        shares = {"dev": self.dev_share, "test": self.test_share}
        for split in SPLITS:
            share = shares.get(split)
            if split not in given and not share:
                extra = f", or set {split}_share to split it from train" if split in shares else ""
                raise ValueError(f"no {split} split. Add one{extra}")
            if split in given and share:
                raise ValueError(f"sets both a {split} split and {split}_share. Remove one")
        if self.repair and self.reader != "chat":
            raise ValueError("repair only applies to conversations (reader: chat). Remove it")
        if self.reasoning and self.reader not in (None, "chat", "pairs"):
            raise ValueError("reasoning only applies to the readers chat and pairs. Remove it")
        if self.by_time and not (self.dev_share or self.test_share):
            raise ValueError("by_time has no effect without dev_share or test_share. Remove it")
        if self.columns and self.reader in (None, "oasst_best_paths", "squad"):
            raise ValueError("columns only applies to the readers labels, qa, chat, pairs and preference")
        if self.label_names and self.reader != "labels":
            raise ValueError("label_names only applies to the reader labels. Remove it")
        if self.window and self.reader not in ("qa", "squad"):
            raise ValueError("window only applies to the readers qa and squad, whose rows have a passage")
        return self


def raw_rows(source: Source, folder: Path, split: Split) -> tuple[str, Iterator[Numbered]]:
    """Return the name of the file or Hub split for `split`, and its raw rows after `where` and `reader`.

    Args:
        folder: the dataset's folder, named like the dataset.

    Raises:
        InputError: a missing file, an invalid `where`, or a dataset that is not on the Hub.
        MachineError: the Hub cannot be reached.
    """
    name, rows = untouched_rows(source, folder, split)
    return name, kept_and_read(source, folder, rows, name)


def untouched_rows(source: Source, folder: Path, split: Split) -> tuple[str, Iterator[Numbered]]:
    """Return the name of the file or Hub split for `split`, and its unmodified rows; raises what `raw_rows`
    raises."""
    path = source_file(source, folder, split)
    if path is not None:
        if not path.is_file():
            text = f"no such file. {show(folder / 'dataset.yaml')} refers to it as "
            text += f"source.{'splits' if source.hub else 'files'}.{split}. Add the file or correct the path."
            raise InputError(Problem(text, show(path), code="data.no_rows_file"))
        rows = at_origins(read_table(path, source.table, source.lists.get(split)), path)
        rows = in_rows(rows) if kind_of(path) in ROW_KINDS else rows
        if source.where and source.split_column:  # a row that is not kept may name any split
            rows = _kept(rows, source.where, show(folder / "dataset.yaml"), show(path))
        return show(path), _of_split(rows, source.split_column, split, show(path))
    name = source.splits[split]
    return f"{source.hub}/{name}", read_hub(str(source.hub), source.config, source.revision, name)


def _of_split(rows: Iterator[Numbered], column: str | None, split: Split, place: str) -> Iterator[Numbered]:
    """Yield the rows whose `column` names `split`; rows without a value belong to train."""
    for number, row in rows:
        found = split_in(row.get(column)) if column and isinstance(row, dict) else "train"
        if column and found is None and split == "train":
            text = f"expected train, dev or test, by one of their usual names (got {row.get(column)!r})."
            yield number, fault(text, place, number, column, "rows.unknown_split", id_of(row))
        elif not column or found == split:
            yield number, row


def kept_and_read(source: Source, folder: Path, rows: Iterator[Numbered], name: str) -> Iterator[Numbered]:
    """Return the rows that `where` keeps, as converted by the reader."""
    if source.where:
        rows = _kept(rows, source.where, show(folder / "dataset.yaml"), name)
    return read_rows_of(source, rows, name)


def place_of(source: Source, folder: Path, split: Split) -> str:
    """Return the name of the source of `split`, for messages."""
    path = source_file(source, folder, split)
    return show(path) if path is not None else f"{source.hub}/{source.splits[split]}"


def read_rows_of(
    source: Source, rows: Iterator[Numbered], place: str, answered: bool = True
) -> Iterator[Numbered]:
    """Return raw rows as converted by the source's reader; `answered` is False for rows without an answer."""
    if source.drop:
        rows = ((number, without_fields(row, source.drop)) for number, row in rows)
    if source.reader is None or (source.reader == "oasst_best_paths" and not answered):
        return rows
    if source.reader == "oasst_best_paths":
        return oasst_best_paths(rows, place)
    if source.reader == "preference" or any("." in name or "+" in name for name in source.columns.values()):
        rows = _prepared(rows, source, place)
    if source.label_names and answered:
        rows = with_names(rows, source.columns.get("label", "label"), source.label_names, place)
    if source.where and (used := chosen_by(source.where, tuple(source.columns.values()))):
        rows = ((number, without_steps(row, used)) for number, row in rows)
    if source.roles:
        rows = ((number, rename_roles(row, dict(source.roles))) for number, row in rows)
    return read_layout(rows, source.reader, source.columns, place, answered, source.repair, source.reasoning)


def _prepared(rows: Iterator[Numbered], source: Source, place: str) -> Iterator[Numbered]:
    """Yield rows after turning votes into pairs, unnesting columns and joining columns."""
    for number, row in rows:
        try:
            if isinstance(row, dict):
                if source.reader == "preference":
                    row = decided(row, source.columns.get("better"))
                row = picked(row, source.columns.values())
        except RowFault as error:
            row = fault(str(error), place, number, error.field, error.code, id_of(row))
        yield number, row


def source_file(source: Source, folder: Path, split: Split) -> Path | None:
    """Return the path of the file for `split`, which may not exist; None if the split is on the Hub."""
    elsewhere = environment().sources
    if not source.hub:
        path = (elsewhere / folder.name if elsewhere else folder) / source.files[split]
        return Path(os.path.normpath(path))
    if not elsewhere:
        return None
    paths = [elsewhere / folder.name / f"{source.splits[split]}{kind}" for kind in KINDS]
    return next((path for path in paths if path.is_file()), paths[0])


def hub_revision(source: Source) -> str | None:
    """Return the commit of `source.hub` in the local cache, or None if its rows have never been read."""
    return cached_revision(str(source.hub), source.revision)


def _kept(rows: Iterator[Numbered], where: str, file: str, place: str) -> Iterator[Numbered]:
    try:
        keep = bounded(Sandbox().compile_expression, where)
    except TemplateError as error:
        raise InputError(
            Problem(f"{error.message}.", file, key="source.where", code="data.bad_where")
        ) from None
    return _each_kept(rows, keep, place)


def _each_kept(rows: Iterator[Numbered], keep: Any, place: str) -> Iterator[Numbered]:
    for number, row in rows:
        try:
            if not isinstance(row, dict) or bounded(keep, {"row": row, **row}):
                yield number, row
        except TemplateError as error:
            text = f"the expression (WHERE= at fork) fails on this row: {error}. "
            text += "Say what of rows without a value: `x and x > 1`."
            yield number, fault(text, place, number, "source.where", "rows.where_fails")


def oasst_best_paths(rows: Iterator[Numbered], place: str = "") -> Iterator[Numbered]:
    """Turn the flat messages of OpenAssistant (oasst1, oasst2) into one conversation per tree.

    A path starts at the root and follows the reply with the lowest rank (Köpf et al. 2023, arXiv 2304.07327:
    rank 0 is the best); unranked replies come last, in file order. Deleted and rejected messages are dropped
    with all their replies, and a path ends with an assistant turn.
    """
    replies: dict[str | None, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for number, row in rows:
        if not isinstance(row, dict):
            yield number, row
        elif problem := _message_fault(number, row, place):
            yield number, problem
        elif not row.get("deleted") and row.get("review_result") is not False:
            replies[row["parent_id"]].append((number, row))
    for number, root in replies.get(None, []):
        path = [root]
        while following := replies.get(path[-1]["message_id"]):
            path.append(min((row for _, row in following), key=_rank))
        if path[-1]["role"] != "assistant":
            path.pop()
        if path:
            role = {"prompter": "user", "assistant": "assistant"}
            turns = [{"role": role[row["role"]], "content": row["text"]} for row in path]
            tree = root["message_tree_id"]
            yield number, {"id": path[-1]["message_id"], "tree": tree, "system": "", "turns": turns}


def _message_fault(number: int, row: dict[str, Any], place: str) -> Problem | None:
    """Return what is wrong with a message of a tree: a field that is missing or unknown."""
    for name in OASST_FIELDS:
        if name not in row:
            return fault("missing.", place, number, name, "rows.missing_field", id_of(row))
    if row["role"] not in ("prompter", "assistant"):
        text = f"expected prompter or assistant (got {row['role']!r})."
        return fault(text, place, number, "role", "rows.unknown_role", id_of(row))
    try:
        refuse_ignored(row, lambda one: [one.get(name) for name in (*OASST_FIELDS, *OASST_MARKS)], top=True)
    except RowFault as error:
        return fault(str(error), place, number, error.field, error.code, id_of(row))
    return None


def _rank(row: dict[str, Any]) -> float:
    return float("inf") if row["rank"] is None else row["rank"]
