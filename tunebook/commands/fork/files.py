"""Find the data files of a fork.

In: DATA: a file, a folder, files by split, or a dataset on the Hub. Out: `source:` of dataset.yaml.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tunebook.commands.fork.tables.gather import GATHERED, TEXT_KINDS, gather, holds_rows
from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import ROOT, show
from tunebook.data.files.hub_rows import split_names
from tunebook.data.files.json_rows import beside_rows, lists_of
from tunebook.data.files.split_names import SPLIT_OF, SPLITS, Split, split_of
from tunebook.data.files.table_options import AS_IT_IS, TableOptions
from tunebook.data.files.tables import KINDS
from tunebook.data.formats.open_file import COMPRESSED, kind_of
from tunebook.data.formats.place import origins_of

MOST_COPIED = 1_000_000_000  # bytes
PLAIN_TEXT = "plain text"  # the kind of a file that is one text, in a folder of such
ONE_FILE = "one file: dev and test are split from it"


@dataclass
class DataFiles:
    """Where the rows are: `source` for dataset.yaml, `place` for messages, `notes` for the user."""

    source: dict[str, Any]
    place: str
    notes: list[str] = field(default_factory=list)
    scratch: tempfile.TemporaryDirectory[str] | None = None  # of gathered files, until they are copied
    kinds: frozenset[str] = frozenset()  # of the person's own files: .csv
    beside: dict[str, Any] = field(default_factory=dict)  # values of JSON documents beside their rows

    @property
    def splits(self) -> dict[Split, str]:
        return self.source["splits"] if "hub" in self.source else self.source["files"]


def find(data: str, folder: Path, table: TableOptions = AS_IT_IS) -> DataFiles:
    """Return the files of `data`; paths inside the checkout are relative to the dataset's `folder`.

    Args:
        table: the options that say how to read the files.

    Raises:
        InputError: there is no such file, or the file of a split is ambiguous.
        MachineError: the data is on the Hub, which cannot be reached.
    """
    path, form = Path(data).expanduser(), form_of(data)
    lists: dict[Split, list[str]] = {}
    scratch = gathered = None
    if form == "file":
        files: dict[Split, Path] = {"train": path}
        notes = [ONE_FILE]
        if lists := _splits_inside(path, table):
            files = dict.fromkeys(lists, path)
            notes = _notes_on_lists(path, lists, table)
    elif form == "folder":
        path = _only_folder(path)
        scratch = tempfile.TemporaryDirectory(prefix=GATHERED)
        gathered = gather(path, Path(scratch.name), table)
        files, notes = gathered or _in_folder(path)
    elif form == "named":
        files, lists = _named(data)
        notes = []
    else:
        return _on_hub(data)
    if "train" not in files:
        text = f'{data}: no train file. Name the files: DATA="train=... test=...".'
        raise InputError(Problem(text, key="DATA", code="fork.no_train"))
    written: dict[str, str] = {}
    for split in SPLITS:
        if split in files:
            full = Path(os.path.abspath(files[split]))
            inside = full.is_relative_to(ROOT)
            written[split] = os.path.relpath(full, folder) if inside else str(full)
            if scratch and full.is_relative_to(scratch.name):
                continue
            if not inside and full.stat().st_size > MOST_COPIED:
                notes.append(
                    f"{full} is over {MOST_COPIED / 1e9:.0f} GB and outside the checkout, so it is read "
                    "from there. Keep it in place; `make launch` does not copy it"
                )
            elif not inside:
                notes.append(f"{full} is copied into {show(folder)}/source, so that it stays with the recipe")
    source: dict[str, Any] = {"files": written}
    if lists:
        source["lists"] = {split: lists[split] for split in SPLITS if split in lists}
    if (said := table.model_dump(exclude_defaults=True)) and not gathered:  # made here, of what was read so
        source["table"] = said
    place = show(path if gathered else Path(os.path.abspath(files["train"])))
    own = (
        [one for one in path.rglob("*") if one.is_file() and holds_rows(one)] if gathered else files.values()
    )
    kinds = {PLAIN_TEXT if gathered and kind_of(one) in TEXT_KINDS else kind_of(one) for one in own}
    beside: dict[str, Any] = {}
    for one in {} if gathered else dict.fromkeys(files.values()):
        beside |= beside_rows(one, table)
    return DataFiles(source, place, notes, scratch, frozenset(kinds), beside)


def form_of(data: str) -> Literal["file", "folder", "named", "hub"]:
    """Return what DATA is, without opening a file.

    Raises:
        InputError: there is no such file or folder.
    """
    path = Path(data).expanduser()
    if path.is_file():
        return "file"
    if path.is_dir():
        return "folder"
    if "=" in data:
        _named(data)
        return "named"
    if re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", data) and path.suffix[1:].lower() not in _endings():
        return "hub"
    text = f"{data}: no such file or folder. Give a file, a folder, a dataset on the Hub (owner/name), "
    text += 'or files by split (DATA="train=a.csv test=b.csv").'
    raise InputError(Problem(text, key="DATA", code="fork.no_such_file"))


def _only_folder(path: Path) -> Path:
    """Return the folder inside `path` that contains everything except a README, as in many downloads."""
    while len(inside := [one for one in path.iterdir() if holds_rows(one)]) == 1 and inside[0].is_dir():
        path = inside[0]
    return path


def _splits_inside(path: Path, table: TableOptions) -> dict[Split, list[str]]:
    """Return the lists that are splits in a JSON object of lists (`{"train": [...], "test": [...]}`)."""
    if kind_of(path) not in (".json", ".jsonl"):
        return {}
    names = list(lists_of(path, table))
    last = {name: name.rpartition(".")[2].lower() for name in names}
    exact = {SPLIT_OF[last[name]]: [name] for name in reversed(names) if last[name] in SPLIT_OF}
    if "train" not in exact or len(names) < 2:
        return {}
    return exact


def _notes_on_lists(path: Path, lists: dict[Split, list[str]], table: TableOptions) -> list[str]:
    """Return which list of a JSON object is which split, and which lists are not read and how to read
    them."""
    counts = lists_of(path, table)
    notes = [f"the list `{names[0]}` of {path.name} is {split}" for split, names in lists.items()]
    read = {name for names in lists.values() for name in names}
    more: dict[Split, list[str]] = {split: list(names) for split, names in lists.items()}
    for name in counts:
        if name not in read and (split := split_of(name.replace("_", "-"))):
            more.setdefault(split, []).append(name)
    if left := [f"`{name}` ({count} rows)" for name, count in counts.items() if name not in read]:
        words = " ".join(f"{split}={path}#{'+'.join(names)}" for split, names in more.items())
        notes.append(f'warning: lists not read: {", ".join(left)}. To read them as well: DATA="{words}"')
    return notes


def folder_of(data: str) -> Path | None:
    """Return the folder of DATA, or None for a dataset on the Hub."""
    path = Path(data.partition(" ")[0].partition("=")[2] if "=" in data else data).expanduser()
    path = path if path.exists() else Path(str(path).rpartition("#")[0] or ".")
    return path if path.is_dir() else path.parent if path.is_file() else None


def copies(source: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return `source` with copies in the dataset's folder for files outside the checkout, and the files to
    copy by their path there. A rented machine only has the checkout."""
    files, taken = dict(source.get("files", {})), dict[str, Path]()
    for split, name in files.items():
        full = Path(name)
        gathered = full.parent.name.startswith(GATHERED)
        if full.is_absolute() and (gathered or full.stat().st_size <= MOST_COPIED):
            target = f"source/{full.name}"
            if taken.get(target, full) != full:
                target = f"source/{split}-{full.name}"
            taken[target] = full
            if (origins := origins_of(full)).is_file():
                taken[str(origins_of(Path(target)))] = origins
            files[split] = target
    return ({**source, "files": files} if taken else source), taken


def _endings() -> set[str]:
    return {kind[1:] for kind in (*KINDS, *COMPRESSED)} | {"txt", "xls", "pdf"}


def _named(data: str) -> tuple[dict[Split, Path], dict[Split, list[str]]]:
    """Parse `train=a.csv dev=b.csv test=c.csv`, or `train=a.json#train+more test=a.json#test` for lists of a
    JSON object."""
    files: dict[Split, Path] = {}
    lists: dict[Split, list[str]] = {}
    try:
        words = shlex.split(data)
    except ValueError as error:
        raise InputError(Problem(f"{error} in {data!r}.", key="DATA", code="option.bad_data")) from None
    for word in words:
        name, _, value = word.partition("=")
        if name not in SPLIT_OF or not value:
            text = f"expected train=, dev= or test= and a file (got {word!r})."
            raise InputError(Problem(text, key="DATA", code="option.bad_data"))
        if SPLIT_OF[name] in files:
            text = f"names {SPLIT_OF[name]} twice (got {data!r}). Give each split one file."
            raise InputError(Problem(text, key="DATA", code="option.bad_data"))
        path = Path(value).expanduser()
        if not path.is_file() and "#" in value:
            value, _, inside = value.rpartition("#")
            path = Path(value).expanduser()
            lists[SPLIT_OF[name]] = inside.split("+")
        if not path.is_file():
            raise InputError(Problem(f"{value}: file not found.", key="DATA", code="fork.no_such_file"))
        files[SPLIT_OF[name]] = path
        same = [other for other in files if files[other].resolve() == path.resolve()]
        if len({tuple(lists.get(other, ())) for other in same}) < len(same):
            text = f"{' and '.join(same)} are the same rows of {value}, so that they would be trained on and "
            text += "tested. Give each split its own file."
            raise InputError(Problem(text, key="DATA", code="option.bad_data"))
    return files, lists


def _in_folder(folder: Path) -> tuple[dict[Split, Path], list[str]]:
    """Return the files named after splits: train.csv, validation.jsonl.gz, test-v1.1.json."""
    tables = [path for path in sorted(folder.iterdir()) if path.is_file() and kind_of(path) in KINDS]
    tables = [path for path in tables if holds_rows(path)]
    if len(tables) == 1:
        return {"train": tables[0]}, [
            f"the folder has one file, {tables[0].name}; dev and test are split from it"
        ]
    exact: dict[Split, list[Path]] = {}
    likely: dict[Split, list[Path]] = {}
    for path in tables:
        stem = path.name.partition(".")[0].lower()
        if stem in SPLIT_OF:
            exact.setdefault(SPLIT_OF[stem], []).append(path)
        if split := split_of(path.name.partition(".")[0]):
            likely.setdefault(split, []).append(path)
    files: dict[Split, Path] = {}
    for split in SPLITS:
        matches = exact.get(split) or likely.get(split, [])
        if len(matches) > 1:
            names = ", ".join(path.name for path in matches)
            text = f"{show(folder)}: more than one file could be {split} ({names}). Name the files: "
            text += 'DATA="train=... test=...".'
            raise InputError(Problem(text, key="DATA", code="fork.ambiguous_file"))
        if matches:
            files[split] = matches[0]
    if not files:
        names = ", ".join(path.name for path in tables) or "none in a supported format"
        text = f"{show(folder)}: no file is named after a split (found: {names}). Give one file, or "
        text += 'name them: DATA="train=... test=...".'
        raise InputError(Problem(text, key="DATA", code="fork.no_train"))
    notes = [f"{path.name} is used as {split}, by its name" for split, path in files.items()]
    left = [path for path in sorted(folder.iterdir()) if path not in files.values()]
    rows = [path.name for path in left if path in tables or (path.is_dir() and holds_rows(path))]
    others = [path.name for path in left if path.name not in rows]
    notes += [f"warning: not read: {', '.join(rows)}"] if rows else []
    return files, notes + ([f"not read: {', '.join(others)}"] if others else [])


def _on_hub(data: str) -> DataFiles:
    hub, _, config = data.partition(":")
    try:
        names = split_names(hub, config or None, "DATA")
    except InputError as error:
        if error.code != "data.not_on_hub":
            raise
        text = f"{error.problems[0].text} A config is named as owner/name:config."
        raise InputError(Problem(text, key="DATA", code="data.not_on_hub")) from None
    splits = {SPLIT_OF[name]: name for name in reversed(names) if name in SPLIT_OF}
    if "train" not in splits:
        text = f"{data}: no train split (it has {', '.join(names)})."
        raise InputError(Problem(text, key="DATA", code="fork.no_train"))
    source = {"hub": hub, **({"config": config} if config else {}), "splits": splits}
    notes = [f"splits of the Hub: {', '.join(names)}"]
    if left := [name for name in names if name not in splits.values()]:
        notes.append(f"warning: splits not read: {', '.join(left)}")
    return DataFiles(source, data, notes)
