"""Folders with one split in many files: a folder or file per label, shards, a dataset saved by `datasets`.

In: a folder. Out: one JSONL file per split, which fork moves into the dataset's folder, and notes on what was
combined. Files named after splits are handled in tunebook/commands/fork/files.py.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunebook.core.errors import InputError, Problem, raise_all
from tunebook.core.files import read_json
from tunebook.core.paths import show
from tunebook.data.files.split_names import Split, split_of
from tunebook.data.files.table_options import TableOptions
from tunebook.data.files.tables import KINDS, read_table
from tunebook.data.formats.open_file import broken_text, is_broken, kind_of, open_text
from tunebook.data.formats.place import fault, origins_of

GATHERED = "tunebook-gathered"  # folder for the combined files
TEXT_KINDS = (".txt", ".text", ".md", ".eml", "")
USERS_SAY = re.compile(r"(.+)_usersays_[A-Za-z-]+")  # Dialogflow: the texts of an intent
SHARD = re.compile(r"(.*?)[-_.]?(\d+)[-_]of[-_](\d+)$")
NOT_ROWS = frozenset("readme license licence changelog notice authors copying makefile".split())
# Files that `datasets` and LLaMA-Factory write to describe the others.
ABOUT = frozenset("dataset_info.json dataset_infos.json dataset_dict.json state.json".split())
MOST_SHOWN = 20
Rows = Iterator[tuple[Path, int, dict[str, Any]]]  # a row with its file and line


def gather(folder: Path, scratch: Path, options: TableOptions) -> tuple[dict[Split, Path], list[str]] | None:
    """Return the files made from `folder` and notes, or None for a folder of another kind.

    Args:
        scratch: an existing folder for the files.

    Raises:
        InputError: a shard is missing, or a file cannot be read.
    """
    parts = (
        _saved(folder, options)
        or _shards(folder, options)
        or _class_folders(folder, options)
        or _class_tables(folder, options)
    )
    if parts is None:
        return None
    made: dict[Split, Path] = {}
    notes = []
    for split, (what, rows) in parts.items():
        made[split] = scratch / f"{split}.jsonl"
        count = 0
        with (
            made[split].open("w", encoding="utf-8") as file,
            origins_of(made[split]).open("w", encoding="utf-8") as origins,
        ):
            for path, line, row in rows:
                file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
                origins.write(f"{int(line)} {show(path)}\n")
                count += 1
        notes.append(f"{split}: {what}, written as {count} rows of source/{split}.jsonl")
    return made, notes


def holds_rows(path: Path) -> bool:
    """Return whether a file or folder may contain rows: it is not hidden, and does not describe other
    files."""
    about = path.name in ABOUT or (path.is_file() and path.stem.lower() in NOT_ROWS)
    return path.name[:1] not in "._" and not about


Parts = dict[Split, tuple[str, Rows]]


def _saved(folder: Path, options: TableOptions) -> Parts | None:
    """Read a dataset written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`."""
    if (folder / "dataset_dict.json").is_file():
        names = read_json(folder / "dataset_dict.json")["splits"]
        homes = {name: folder / name for name in names}
    elif (folder / "state.json").is_file() and any(folder.glob("*.arrow")):
        homes = {"train": folder}
    else:
        return None
    return {
        split: (f"{home.name}/*.arrow", _tables(sorted(home.glob("*.arrow")), options))
        for name, home in homes.items()
        if (split := split_of(name))
    }


def _shards(folder: Path, options: TableOptions) -> Parts | None:
    """Read tables split into numbered files: train-00000-of-00002.parquet."""
    shards: dict[Split, dict[int, Path]] = defaultdict(dict)
    parts: dict[Split, int] = {}
    for path in sorted(folder.iterdir()):
        match = SHARD.fullmatch(path.name.partition(".")[0])
        if not match or kind_of(path) not in KINDS:
            continue
        split = split_of(match[1]) or "train"
        shards[split][int(match[2])] = path
        parts[split] = int(match[3])
    for split, paths in shards.items():
        if len(paths) < parts[split]:
            text = (
                f"{show(folder)}: only {len(paths)} of {parts[split]} parts of {split} are present. Copy "
                "all of them."
            )
            raise InputError(Problem(text, key="DATA", code="data.shard_missing"))
    return {
        split: (f"{len(paths)} numbered files", _tables([paths[n] for n in sorted(paths)], options))
        for split, paths in shards.items()
    } or None


def _class_folders(folder: Path, options: TableOptions) -> Parts | None:
    """Read a folder per label with a text file per example; the folders above them may be splits."""
    homes: dict[Split, Path] = {}
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[:1] not in "._"]
    for path in inside:
        split = split_of(path.name)
        if split and _labelled(path):
            homes[split] = path
    if not homes and _labelled(folder) and not any(kind_of(path) in KINDS for path in folder.iterdir()):
        homes["train"] = folder
    return {
        split: (
            f"{len(_labelled(home))} folders of text files, named after their labels",
            _texts(home, options),
        )
        for split, home in homes.items()
    } or None


def _labelled(folder: Path) -> list[Path]:
    """Return the folders of text files in `folder`, or [] if there are fewer than two."""
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.name[:1] not in "._" and next(_text_files(path), None)
    ]
    return found if len(found) > 1 else []


def _text_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        named = path.name[:1] != "." and path.stem.lower() not in NOT_ROWS
        # 20 newsgroups uses numbers as file names, and Enron's mails end in numbers.
        if named and path.is_file() and (path.suffix.lower() in TEXT_KINDS or path.suffix[1:].isdigit()):
            yield path


def _texts(folder: Path, options: TableOptions) -> Rows:
    problems: list[Problem] = []
    for label in _labelled(folder):
        for path in _text_files(label):
            with open_text(path, encoding=options.encoding) as file:
                content = file.read()
            if is_broken(content):
                problems.append(Problem(broken_text(path), show(path), code="rows.not_utf8"))
            elif not content.strip():
                problems.append(Problem("must not be empty.", show(path), code="rows.empty_text"))
            else:
                where = path.relative_to(folder).as_posix()
                yield path, 1, {"text": content.strip(), "label": label.name, "id": where}
            if len(problems) >= MOST_SHOWN:
                raise_all(problems)
    raise_all(problems)


def _class_tables(folder: Path, options: TableOptions) -> Parts | None:
    """Read a file per label whose rows have no label (SNIPS), in one folder or in a folder per label."""
    tables = [path for path in sorted(folder.rglob("*")) if path.is_file() and kind_of(path) in KINDS]
    tables = [path for path in tables if holds_rows(path)]
    depths = {len(path.relative_to(folder).parts) for path in tables}
    if len(tables) < 2 or len(depths) != 1 or depths == {1} and any(split_of(path.stem) for path in tables):
        return None
    texts = [path for path in tables if USERS_SAY.fullmatch(path.stem)]
    tables = texts or tables  # Dialogflow has another file with the answers of each intent
    by_split: dict[Split, list[tuple[str, Path]]] = defaultdict(list)
    for path in tables:
        split = split_of(path.stem) if depths == {2} else "train"
        intent = USERS_SAY.fullmatch(path.stem)
        label = path.parent.name if depths == {2} else path.name.partition(".")[0]
        label = intent[1] if intent else label
        by_split[split or "train"].append((label, path))
    for split, found in by_split.items():
        labels = [label for label, _ in found]
        if twice := next((label for label in labels if labels.count(label) > 1), None):
            names = ", ".join(path.name for label, path in found if label == twice)
            text = f"{show(folder)}: more than one file could be the {split} rows of {twice} ({names}). Keep "
            text += "one of them in the folder."
            raise InputError(Problem(text, key="DATA", code="fork.ambiguous_file"))
    first = next((row for _, row in read_table(tables[0], options) if not isinstance(row, Problem)), None)
    if depths == {1} and (not isinstance(first, dict) or {"label", "intent", "category"} & {*first}):
        return None
    return {
        split: (f"{len(found)} files, named after their labels", _labelled_tables(found, options))
        for split, found in by_split.items()
    }


def _labelled_tables(tables: list[tuple[str, Path]], options: TableOptions) -> Rows:
    for label, path in tables:
        for _, line, row in _tables([path], options):
            pieces = row.get("data")
            if isinstance(pieces, list) and all(isinstance(one, dict) and "text" in one for one in pieces):
                row = {"text": "".join(str(one["text"]) for one in pieces)}  # SNIPS: a text in pieces
            yield path, line, {**row, "label": label}


def _tables(paths: list[Path], options: TableOptions) -> Rows:
    problems: list[Problem] = []
    for path in paths:
        for line, row in read_table(path, options):
            if isinstance(row, Problem):
                problems.append(row)
                if len(problems) >= MOST_SHOWN:
                    raise_all(problems)
            elif isinstance(row, dict):
                yield path, line, row
            else:
                text = f"expected an object (got {type(row).__name__})."
                problems.append(fault(text, show(path), line, None, "rows.not_an_object"))
    raise_all(problems)
