"""The rendering cache: a dataset rendered once, for the model that is to see it.

Its key is data bytes, dataset.yaml, template, tokenizer, revision, and the code that renders; a change of
any is a miss. Entries lie below TUNEBOOK_CACHE/rendered/<dataset>/, the newest few of each dataset.
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

KEEP = 5
CODE = Path(__file__).parent  # the code that renders
TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "chat_template*", "vocab*", "merges.txt")
PROMPT_KEYS = ("chat_template", "chat_template_jinja", "chat_template_kwargs", "special_tokens", "eot_tokens")


@dataclass(frozen=True)
class Entry:
    """One entry of the cache. `hit` says whether it was there; without `key` nothing is kept, because the
    data's revision is not known."""

    folder: Path
    key: str | None
    hit: bool

    @property
    def said(self) -> str:
        if self.key is None:
            return "not cached: the revision of the data is not known"
        return f"cache {'HIT' if self.hit else 'MISS'} {self.key[:10]}"

    def path(self, split: Split) -> Path:
        return self.folder / f"{split}.jsonl"


def parts(dataset: Dataset, config: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the key is made of; None where the data has no revision that is known here."""
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
    """Return what tells one tokenizer from another: its files where it is a folder, name and commit on the
    Hub."""
    base = str(config.get("tokenizer_config") or config["base_model"])
    revision = config.get("revision_of_model")
    if not Path(base).is_dir():
        here = cached(base, "tokenizer_config.json", revision)
        return {"name": base, "revision": revision, "commit": here.parent.name if here else None}
    found = {path for pattern in TOKENIZER_FILES for path in Path(base).glob(pattern) if path.is_file()}
    return {path.name: file_sha256(path) for path in sorted(found)}


def rendered(dataset: Dataset, config: dict[str, Any]) -> Entry:
    """Return the entry of `dataset` as `config` sees it, rendering it first where it is not there.

    Raises:
        InputError, MachineError: what `render_all` raises; nothing is kept then.
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
    found: dict[Split, int] = {}
    for split in SPLITS:
        with entry.path(split).open("rb") as file:
            found[split] = sum(1 for _ in file)
    return found
