"""What Axolotl makes of configs: `axolotl preprocess` for each, in a process of its own."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.forked import forked, with_axolotl
from tunebook.data.tokenize import cut_pair, load_tokenizer

Rows = list[tuple[list[int], list[int]]]


def prepare(config: dict[str, Any], folder: Path) -> Path:
    """Write config.yaml of a job into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**config, "dataset_prepared_path": str(folder / "prepared"), "dataset_num_proc": 0}
    config.pop("test_datasets", None)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def run(folders: list[Path]) -> list[Rows]:
    """Preprocess every prepared folder and return the training rows of each."""
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", scratch)  # forks leave the files of `datasets` behind
        return with_axolotl(_preprocess_each, folders)


def _preprocess_each(folders: list[Path]) -> list[Rows]:
    return [forked(_preprocess, folder) for folder in folders]


def _preprocess(folder: Path) -> Rows:
    from axolotl.cli.preprocess import do_cli

    from datasets import load_from_disk  # type: ignore[attr-defined]

    sys.argv = ["axolotl", "--download", "false"]  # the base model is loaded otherwise, to have it here
    do_cli(str(folder / "config.yaml"))
    found = sorted(path.parent for path in (folder / "prepared").rglob("dataset_info.json"))
    whole = [row for path in found for row in load_from_disk(str(path))]
    if whole and "chosen" in whole[0]:  # a preference pair stays text until trl's trainer cuts it
        config = yaml.safe_load((folder / "config.yaml").read_text())
        tokenizer = load_tokenizer(config)
        return [cut_pair(tokenizer, row, "chosen") for row in whole]
    return [(row["input_ids"], row["labels"]) for row in whole]
