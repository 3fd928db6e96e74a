"""What a run needs of its machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunebook.core.paths import ROOT

SEEN = """
from tunebook.check.machine import _packages
from tunebook.core.errors import MachineError
try:
    _packages()
except MachineError as error:
    print(error.problems[0].code, error)
"""


@pytest.mark.parametrize("replaced", [True, False], ids=["other-trl", "clone"])
def test_a_package_of_pythonpath_is_refused_and_a_clone_is_not(tmp_path: Path, replaced: bool) -> None:
    """A clone on PYTHONPATH holds .venv and its packages, and replaces none of them."""
    (tmp_path / "trl").mkdir()
    (tmp_path / "trl" / "__init__.py").touch()
    below = Path(sys.prefix).parent  # of the environment's own packages
    folders = [str(ROOT), str(below), *([str(tmp_path)] if replaced else [])]
    result = subprocess.run(
        [sys.executable, "-c", SEEN],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith("machine.other_package PYTHONPATH: trl") == replaced, result.stdout
    assert bool(result.stdout) == replaced
