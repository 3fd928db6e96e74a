"""The rendering cache: rendered rows of a dataset, for the model that trains on them.

In: a dataset and a config. Out: a folder with a JSONL file for each split. The key covers the data,
dataset.yaml, template, tokenizer, revision and the rendering code; a change of any is a miss.
TUNEBOOK_CACHE/rendered/<dataset>/ keeps the newest entries.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunebook.core.files import digest, file_sha256, write_jsonl
from tunebook.core.paths import cache_folder
from tunebook.data.dataset import Dataset
from tunebook.data.render import render_all
from tunebook.data.sources import SPLITS, Split, hub_revision, source_file
from tunebook.models.hub import cached

KEEP = 5  # entries of a dataset
CODE = Path(__file__).parent  # the code that renders
TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "chat_template*", "vocab*", "merges.txt")
PROMPT_KEYS = ("chat_template", "chat_template_jinja", "chat_template_kwargs", "special_tokens", "eot_tokens")


@dataclass(frozen=True)
class Entry:
    """One cache entry. `hit` is True if it existed; `key` is None if the revision of the data is unknown, so
    that the entry is never reused."""

    folder: Path
    key: str | None
    hit: bool

    @property
    def summary(self) -> str:
        """Return a few words for the console."""
        if self.key is None:
            return "not cached: the revision of the data is not known"
        return f"cache {'HIT' if self.hit else 'MISS'} {self.key[:10]}"

    def path(self, split: Split) -> Path:
        return self.folder / f"{split}.jsonl"


def parts(dataset: Dataset, config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the contents of the key, or None if the revision of the data is unknown."""
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
    code = sorted(CODE.rglob("*.py"))
    return {
        "data": data,
        "dataset.yaml": dataset.model_dump(mode="json", exclude={"folder"}),
        "template": {key: config.get(key) for key in PROMPT_KEYS},
        "tokenizer": tokenizer(config),
        "code": [file_sha256(path) for path in code],
    }


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
    """Return the cache entry of `dataset` under `config`; render it if there is none.

    Raises:
        InputError, MachineError: as `render_all`; nothing is stored then.
    """
    made_of = parts(dataset, config)
    home = cache_folder() / "rendered" / dataset.name
    home.mkdir(parents=True, exist_ok=True)
    key = digest(made_of) if made_of else None
    if key and (home / key / "complete").is_file():
        os.utime(home / key)
        return Entry(home / key, key, True)
    scratch = Path(tempfile.mkdtemp(dir=home))
    try:
        for split, rows in render_all(dataset).items():
            write_jsonl(scratch / f"{split}.jsonl", rows)
        target = home / (key or "unknown")
        (scratch / "complete").write_text(json.dumps(made_of, indent=1))
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
