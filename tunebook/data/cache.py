"""The rendering cache: rendered rows of a dataset, ready for training.

In: a dataset and a config. Out: a folder with a JSONL file for each split. The key covers the data,
dataset.yaml, template, tokenizer, revision and the rendering code; changing any of them is a miss. Rows do
not depend on a model, so an entry for the same data, dataset.yaml and code serves any config (`find`): what
fork has read, split and compared is not read again by check, data, plan and recipe.
TUNEBOOK_CACHE/rendered/<dataset>/ keeps the newest entries.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunebook.core import words
from tunebook.core.errors import Problem
from tunebook.core.files import SEAL, damage, digest, file_sha256, read_json, seal, write_json
from tunebook.core.paths import cache_folder, show
from tunebook.data.dataset import Dataset
from tunebook.data.files.split_names import SPLITS, Split
from tunebook.data.formats.place import Spot
from tunebook.data.near_duplicates import NearPairs
from tunebook.data.render import Located, Rendered, accept, render_all, render_whole, split_from_train
from tunebook.data.sources import hub_revision, place_of, source_file
from tunebook.models.hub import cached
from tunebook.runs.rows import RenderedRow, read_rows, write_rows

KEEP = 5  # entries of a dataset
CAME = "came.json"  # of each row the line and the group it came in; the rows left out
NEAR = "near.json"  # the near-duplicates among the rows, where somebody has looked for them
CODE = Path(__file__).parent  # the code that renders
TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "chat_template*", "vocab*", "merges.txt")
PROMPT_KEYS = ("chat_template", "chat_template_jinja", "chat_template_kwargs", "special_tokens", "eot_tokens")


@dataclass(frozen=True)
class Entry:
    """One cache entry. `hit` is True if it already existed; `key` is None if the revision of the data is
    unknown, in which case the entry is never reused."""

    folder: Path
    key: str | None
    hit: bool

    @property
    def summary(self) -> str:
        """Return a short summary for the console."""
        if self.key is None:
            return "not cached: the revision of the data is not known"
        return f"cache {'HIT' if self.hit else 'MISS'} {self.key[:10]}"

    def path(self, split: Split) -> Path:
        return self.folder / f"{split}.jsonl"

    def located(self, dataset: Dataset, split: Split) -> Iterator[Located]:
        """Yield the rows of `split` with their source line and original group. The dropped rows come with
        train."""
        if split == "train":
            for problem in self.problems():
                yield Located(str(problem.file), problem.line or 0, problem)
        place = place_of(
            dataset.source, dataset.folder, "train" if split in split_from_train(dataset) else split
        )
        came = read_json(self.folder / CAME)["rows"][split]
        with self.path(split).open("rb") as file:
            for text, (spot, group) in zip(file, came, strict=True):
                row, at = json.loads(text), Spot(spot[0]).say(*spot[1:])
                yield Located(at.file or place, at, row | {"group": group}, row["group"])

    def near(self) -> NearPairs | None:
        """Return the near-duplicates among the rows of all splits, None where nobody has looked for them."""
        found = read_json(self.folder / NEAR, None)
        return None if found is None else [(one, other, count) for one, other, count in found]

    def keep_near(self, pairs: NearPairs) -> None:
        """Store the near-duplicates among the rows of all splits."""
        write_json(self.folder / NEAR, pairs)

    def problems(self) -> list[Problem]:
        """Return the rows that were dropped, as permitted by `allow_drop`."""
        found = read_json(self.folder / CAME)["problems"]
        return [Problem(**one | {"line": Spot(one["line"][0]).say(*one["line"][1:])}) for one in found]


def rows_parts(dataset: Dataset) -> dict[str, Any] | None:
    """Return everything that rendered rows depend on, or None if the revision of the data is unknown."""
    data: dict[str, str] = {}
    for split in dataset.source.splits or dataset.source.files:
        path = source_file(dataset.source, dataset.folder, split)
        if path is not None:
            data[split] = file_sha256(path) if path.is_file() else "missing"
    if not data:
        revision = hub_revision(dataset.source)
        if revision is None:
            return None
        data = {"hub": str(dataset.source.hub), "revision": revision}
    code = [*sorted(CODE.rglob("*.py")), Path(words.__file__)]
    return {
        "data": data,
        "dataset.yaml": dataset.model_dump(mode="json", exclude={"folder"}),
        "code": [file_sha256(path) for path in code],
    }


def parts(dataset: Dataset, config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the parts of the key, or None if the revision of the data is unknown."""
    made_of = rows_parts(dataset)
    if made_of is None:
        return None
    template = {key: config.get(key) for key in PROMPT_KEYS}
    return {**made_of, "template": template, "tokenizer": tokenizer(config)}


def tokenizer(config: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies a tokenizer: the hashes of its files in a folder, or its name and commit on the
    Hub."""
    base = str(config.get("tokenizer_config") or config["base_model"])
    revision = config.get("revision_of_model")
    if not Path(base).is_dir():
        here = cached(base, "tokenizer_config.json", revision)
        return {"name": base, "revision": revision, "commit": here.parent.name if here else None}
    files = {path for pattern in TOKENIZER_FILES for path in Path(base).glob(pattern) if path.is_file()}
    return {path.name: file_sha256(path) for path in sorted(files)}


def rendered(dataset: Dataset, config: dict[str, Any]) -> Entry:
    """Return the cache entry of `dataset` for `config`, rendering the rows if no entry has them.

    Raises:
        InputError, MachineError: as `render_all`; in that case nothing is stored.
    """
    made_of = parts(dataset, config)
    key = digest(made_of) if made_of else None
    if key and _whole(_home(dataset) / key):
        os.utime(_home(dataset) / key)
        return Entry(_home(dataset) / key, key, True)
    return _write(dataset, made_of, find(dataset) or render_whole(dataset))


def find(dataset: Dataset) -> Entry | None:
    """Return an entry with the rows of `dataset` for any config, or None."""
    made_of = rows_parts(dataset)
    if made_of is None or not _home(dataset).is_dir():
        return None
    for folder in _home(dataset).iterdir():
        there = read_json(folder / "complete", {}) if _whole(folder) else {}
        if there and all(there.get(key) == value for key, value in made_of.items()):
            os.utime(folder)
            return Entry(folder, folder.name, True)
    return None


def _whole(folder: Path) -> bool:
    """Return whether an entry is there with all its files as they were written; a damaged one is removed."""
    wrong = damage(folder)
    if wrong and (folder / "complete").is_file() and (folder / SEAL).exists():
        print(f"{show(folder)} is damaged ({wrong}); the rows are rendered again", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
    return wrong is None


def keep(dataset: Dataset, whole: Rendered) -> None:
    """Store the rendered rows of `dataset`, for use with any config."""
    if made_of := rows_parts(dataset):
        _write(dataset, made_of, whole)


def all_rows(dataset: Dataset) -> dict[Split, list[RenderedRow]]:
    """Return the rows of every split, from the cache if possible.

    Raises:
        InputError, MachineError: as `render_all`.
    """
    entry = find(dataset)
    if entry is None:
        return render_all(dataset)
    accept(dataset, entry.problems(), 0)
    return {split: read_rows(entry.path(split)) for split in SPLITS}


def _home(dataset: Dataset) -> Path:
    return cache_folder() / "rendered" / dataset.name


def _write(dataset: Dataset, made_of: dict[str, Any] | None, whole: Rendered | Entry) -> Entry:
    """Store rendered rows, or the rows of another entry, in a new entry."""
    home, key = _home(dataset), digest(made_of) if made_of else None
    # not a folder of tempfile, which other users of the cache could not read
    scratch = home / f"{os.getpid()}.partial"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        if isinstance(whole, Entry):
            for name in (CAME, NEAR, *(whole.path(split).name for split in SPLITS)):
                if (whole.folder / name).is_file():
                    shutil.copyfile(whole.folder / name, scratch / name)
        else:
            for split, rows in whole.rows.items():
                write_rows(scratch / f"{split}.jsonl", rows)
            problems = [
                asdict(problem)
                | {"file": problem.file and str(problem.file), "line": Spot.of(problem.line or 0).parts()}
                for problem in whole.problems
            ]
            came = {
                split: [(Spot.of(line).parts(), group) for line, group in some]
                for split, some in whole.came.items()
            }
            write_json(scratch / CAME, {"rows": came, "problems": problems})
            if whole.near is not None:
                write_json(scratch / NEAR, whole.near)
        target = home / (key or "unknown")
        (scratch / "complete").write_text(json.dumps(made_of, indent=1))
        seal(scratch)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for old in sorted(home.iterdir(), key=lambda path: -path.stat().st_mtime)[KEEP:]:
        shutil.rmtree(old, ignore_errors=True)
    return Entry(target, key, False)


def counts(entry: Entry) -> dict[Split, int]:
    """Return the number of rows of each split."""
    result: dict[Split, int] = {}
    for split in SPLITS:
        with entry.path(split).open("rb") as file:
            result[split] = sum(1 for _ in file)
    return result
