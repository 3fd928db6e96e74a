"""What Axolotl makes of configs: `axolotl preprocess` for each, in forks of one process.

The import takes half a minute, so it is paid once: `python -m tests.support.axolotl_rows FOLDER...`, each
with a config.yaml; writes FOLDER/rows.json, a list of (input ids, labels), or fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import yaml

from tunebook.core.paths import ROOT, child_environment
from tunebook.data.tokenize import cut_pair, load_tokenizer

Rows = list[tuple[list[int], list[int]]]


def prepare(config: dict[str, Any], folder: Path) -> Path:
    """Write config.yaml of a job into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**config, "dataset_prepared_path": str(folder / "prepared"), "dataset_num_proc": 1}
    config.pop("test_datasets", None)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def run(folders: list[Path]) -> list[Rows]:
    """Preprocess every prepared folder and return the training rows of each."""
    with tempfile.TemporaryDirectory() as scratch:  # forks leave the files of `datasets` behind
        variables = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TMPDIR": scratch}
        result = subprocess.run(
            [sys.executable, "-m", "tests.support.axolotl_rows", *map(str, folders)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=child_environment() | variables,
        )
    assert result.returncode == 0, result.stderr[-3000:]
    return [[tuple(row) for row in json.loads((folder / "rows.json").read_text())] for folder in folders]


def _preprocess(folder: Path) -> None:
    from axolotl.cli.preprocess import do_cli

    from datasets import load_from_disk  # type: ignore[attr-defined]

    sys.argv = ["axolotl"]
    do_cli(str(folder / "config.yaml"))
    found = sorted(path.parent for path in (folder / "prepared").rglob("dataset_info.json"))
    whole = [row for path in found for row in load_from_disk(str(path))]
    if whole and "chosen" in whole[0]:  # a preference pair stays text until trl's trainer cuts it
        config = yaml.safe_load((folder / "config.yaml").read_text())
        tokenizer = load_tokenizer(config)
        rows = [cut_pair(tokenizer, row, "chosen") for row in whole]
    else:
        rows = [(row["input_ids"], row["labels"]) for row in whole]
    (folder / "rows.json").write_text(json.dumps(rows))


def main() -> int:
    import axolotl.cli.preprocess  # noqa: F401 (before the forks, so that all share it)

    for folder in map(Path, sys.argv[1:]):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _preprocess(folder)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            print(f"failed: {folder}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
