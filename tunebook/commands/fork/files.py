"""Find the data files of a fork.

In: DATA: a file, a folder, files by split, or a dataset on the Hub. Out: `source:` of dataset.yaml.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import ROOT, child_environment, show
from tunebook.data.formats.open_file import COMPRESSED, kind_of
from tunebook.data.sources import SPLITS, Split
from tunebook.data.tables import KINDS
from tunebook.models.hub import hub_error

SPLIT_OF: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "eval": "dev",
    "test": "test",
}


MOST_COPIED = 1_000_000_000  # bytes


@dataclass
class DataFiles:
    """Where the rows are: `source` for dataset.yaml, `place` for messages, `notes` for the person."""

    source: dict[str, Any]
    place: str
    notes: list[str] = field(default_factory=list)

    @property
    def splits(self) -> dict[Split, str]:
        return self.source["splits"] if "hub" in self.source else self.source["files"]


def find(data: str, folder: Path) -> DataFiles:
    """Return the files of `data`; paths inside the checkout are relative to the dataset's `folder`.

    Raises:
        InputError: there is no such file, or the file of a split is not clear.
        MachineError: the data is on the Hub, which cannot be reached.
    """
    path = Path(data).expanduser()
    if path.is_file():
        files: dict[Split, Path] = {"train": path}
        notes = ["one file: dev and test are split from it"]
    elif path.is_dir():
        files, notes = _in_folder(path)
    elif "=" in data:
        files, notes = _named(data), []
    elif re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", data) and path.suffix[1:].lower() not in _endings():
        return _on_hub(data)
    else:
        text = f"{data}: no such file or folder. Give a file, a folder, a dataset on the Hub (owner/name), "
        text += 'or files by split (DATA="train=a.csv test=b.csv").'
        raise InputError(Problem(text, key="DATA", code="fork.no_such_file"))
    if "train" not in files:
        text = f'{data}: no train file. Name the files: DATA="train=... test=...".'
        raise InputError(Problem(text, key="DATA", code="fork.no_train"))
    written: dict[str, str] = {}
    for split in SPLITS:
        if split in files:
            full = Path(os.path.abspath(files[split]))
            inside = full.is_relative_to(ROOT)
            written[split] = os.path.relpath(full, folder) if inside else str(full)
            if not inside and full.stat().st_size > MOST_COPIED:
                notes.append(
                    f"{full} is over {MOST_COPIED / 1e9:.0f} GB and outside the checkout, so it is read from "
                    "there: keep it in place; `make launch` does not take it along"
                )
            elif not inside:
                notes.append(
                    f"{full} is copied into {show(folder)}/source, so that it goes wherever the recipe does"
                )
    return DataFiles({"files": written}, show(Path(os.path.abspath(files["train"]))), notes)


def copies(source: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return `source` with the files outside the checkout as copies in the dataset's folder, and the files to
    copy by their path there. A rented machine has the checkout only."""
    files, taken = dict(source.get("files", {})), dict[str, Path]()
    for split, name in files.items():
        full = Path(name)
        if full.is_absolute() and full.stat().st_size <= MOST_COPIED:
            target = f"source/{full.name}"
            if target in taken:
                target = f"source/{split}-{full.name}"
            taken[target] = full
            files[split] = target
    return ({**source, "files": files} if taken else source), taken


def _endings() -> set[str]:
    return {kind[1:] for kind in (*KINDS, *COMPRESSED)} | {"txt", "xls", "pdf"}


def _named(data: str) -> dict[Split, Path]:
    """Read `train=a.csv dev=b.csv test=c.csv`."""
    files: dict[Split, Path] = {}
    try:
        words = shlex.split(data)
    except ValueError as error:
        raise InputError(Problem(f"{error} in {data!r}.", key="DATA", code="option.bad_data")) from None
    for word in words:
        name, _, value = word.partition("=")
        if name not in SPLIT_OF or not value:
            text = f"expected train=, dev= or test= and a file (got {word!r})."
            raise InputError(Problem(text, key="DATA", code="option.bad_data"))
        path = Path(value).expanduser()
        if not path.is_file():
            raise InputError(Problem(f"{value}: no such file.", key="DATA", code="fork.no_such_file"))
        files[SPLIT_OF[name]] = path
    return files


def _in_folder(folder: Path) -> tuple[dict[Split, Path], list[str]]:
    """Return the files named after splits: train.csv, validation.jsonl.gz, test-v1.1.json."""
    tables = [path for path in sorted(folder.iterdir()) if path.is_file() and kind_of(path) in KINDS]
    if len(tables) == 1:
        return {"train": tables[0]}, [
            f"one file in the folder, {tables[0].name}: dev and test are split from it"
        ]
    exact: dict[Split, list[Path]] = {}
    likely: dict[Split, list[Path]] = {}
    for path in tables:
        stem = path.name.partition(".")[0].lower()
        words = set(re.split(r"[^a-z0-9]+", path.name.lower()))
        if stem in SPLIT_OF:
            exact.setdefault(SPLIT_OF[stem], []).append(path)
        for split in {SPLIT_OF[word] for word in words if word in SPLIT_OF}:
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
    notes = [f"{path.name} is {split}, by its name" for split, path in files.items()]
    left = [path.name for path in sorted(folder.iterdir()) if path not in files.values()]
    return files, notes + ([f"not read: {', '.join(left)}"] if left else [])


def _on_hub(data: str) -> DataFiles:
    hub, _, config = data.partition(":")
    os.environ.setdefault("HF_HOME", child_environment()["HF_HOME"])
    from datasets.exceptions import DatasetNotFoundError

    from datasets import get_dataset_split_names  # type: ignore[attr-defined]

    try:
        names = get_dataset_split_names(hub, config or None)
    except (DatasetNotFoundError, ValueError) as error:
        text = f"{data}: {error} A config is named as owner/name:config."
        raise InputError(Problem(text, key="DATA", code="data.not_on_hub")) from None
    except (OSError, RuntimeError) as error:
        raise hub_error("DATA", data, error, "give a file or folder") from None
    splits = {SPLIT_OF[name]: name for name in reversed(names) if name in SPLIT_OF}
    if "train" not in splits:
        text = f"{data}: no train split (it has {', '.join(names)})."
        raise InputError(Problem(text, key="DATA", code="fork.no_train"))
    source = {"hub": hub, **({"config": config} if config else {}), "splits": splits}
    return DataFiles(source, data, [f"splits of the Hub: {', '.join(names)}"])
