"""Let Axolotl validate a config and tokenize rows, in a child process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunebook.core.errors import TunebookError
from tunebook.core.paths import cache_folder, child_environment
from tunebook.core.process import beginning


class Axolotl:
    """Axolotl in a child process (tunebook/check/axolotl_child.py). The child starts at once, and the caller
    continues in the meantime: importing Axolotl takes longer than reading most datasets."""

    def __init__(self, job: dict[str, Any], offline: bool = True) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.scratch = Path(self._folder.name)
        job_file = self.scratch / "job.json"
        job_file.write_text(json.dumps({**job, "scratch": str(self.scratch)}))
        cache_folder().mkdir(parents=True, exist_ok=True)  # Axolotl's libraries write to it
        self._said = (self.scratch / "stderr").open("w+")
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tunebook.check.axolotl_child", str(job_file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            text=True,
            preexec_fn=beginning(),
            env=child_environment()
            | ({"HF_HUB_OFFLINE": "1"} if offline else {})
            # it may be killed, which would leave temporary files of its libraries behind
            | {"TMPDIR": self._folder.name}
            # it runs no model, and bitsandbytes would import the compiler, for an eighth of all imports
            | {"TORCHDYNAMO_DISABLE": "1"},
        )

    def __enter__(self) -> Axolotl:
        return self

    def __exit__(self, *error: object) -> None:
        self._child.kill()
        self._child.communicate()
        self._said.close()
        self._folder.cleanup()

    def answer(self, rows: Path | None = None, step: Callable[[], None] | None = None) -> dict[str, Any]:
        """Return the child's answer to its job; `rows` is the file of rows if the job left it open. `step` is
        called every second.

        Raises:
            TunebookError: the child crashed; the message has its last lines.
        """
        words: str | None = f"{rows}\n" if rows else ""
        while True:
            try:
                self._child.communicate(words, timeout=1 if step else None)
                break
            except subprocess.TimeoutExpired:
                words = None  # the rows have been sent
                if step:
                    step()
        answer = self.scratch / "answer.json"
        if self._child.returncode or not answer.is_file():
            self._said.seek(0)
            last = "\n".join(self._said.read().strip().splitlines()[-5:])
            raise TunebookError(f"Axolotl could not check the config: {last}", code="check.axolotl_failed")
        return json.loads(answer.read_text())


def ask_axolotl(job: dict[str, Any], offline: bool = True) -> dict[str, Any]:
    """Return Axolotl's answer to `job`, which takes half a minute; raises what `Axolotl.answer` raises."""
    with Axolotl(job, offline) as axolotl:
        return axolotl.answer()
