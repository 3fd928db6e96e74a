"""Set-up finds a Python that the lock has packages for, and says what it brings and what another would."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tunebook.core.paths import ROOT
from tunebook.models import lanes

TOOLS = "awk cat chmod cp df grep mkdir mktemp paste rm sed sh tail touch".split()
PYTHON = """\
#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
    printf '#!/bin/sh\\nexit 0\\n' >"$3/bin/uv" && chmod +x "$3/bin/uv"
elif [ "$1 $2" != "-m pip" ]; then
    exec {real} -IS -c "import sys; sys.version_info = (3, {minor}, 0, 'final', 0)
$2"
fi
"""
LOCK = """\
axolotl==0.19.0 ; python_full_version < '3.12' \\
    --hash=sha256:00
axolotl==0.21.0 ; python_full_version >= '3.12'
transformers==5.16.1 ; python_full_version < '3.12'
transformers==5.20.1 ; python_full_version >= '3.12'
"""


class Machine:
    """A machine with nothing but the given Pythons, on PATH and in pyenv."""

    def __init__(self, folder: Path, path: dict[str, int], pyenv: list[int]) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        for name, minor in path.items():
            self.add(self.bin / name, minor)
        for minor in pyenv:
            self.add(folder / "pyenv" / "versions" / f"3.{minor}.4" / "bin" / "python", minor)
        (folder / "requirements.lock").write_text(LOCK)

    def add(self, file: Path, minor: int) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(PYTHON.format(real=sys.executable, minor=minor))
        file.chmod(0o755)

    def set_up(self, python: str, venv: str = ".venv", *packages: str) -> tuple[int, str]:
        result = subprocess.run(
            [str(self.bin / "sh"), str(ROOT / "scripts" / "set_up.sh"), python, venv, *packages],
            cwd=self.folder,
            env={"PATH": str(self.bin), "PYENV_ROOT": str(self.folder / "pyenv"), "HOME": str(self.folder)},
            capture_output=True,
            text=True,
        )
        return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("asked", "path", "pyenv", "taken"),
    [
        ("python3", {"python3": 11, "python3.12": 12}, [], 11),  # what python3 is stays what it is
        ("python3", {"python3": 10, "python3.12": 12, "python3.11": 11}, [], 12),
        ("python3", {"python3": 14}, [11, 13], 13),
        ("python3", {"python3": 9}, [11], 11),
        ("python3", {}, [12], 12),
        ("python3.12", {"python3": 11}, [12, 13], 12),
        ("python3.12", {"python3": 11, "python3.12": 10}, [12], 12),  # pyenv's shim of a version not in use
        ("newest", {"python3": 11, "python3.13": 13}, [], 13),
        ("newest", {"python3": 11, "python3.13": 13}, [12], 12),
        ("newest", {"python3": 11, "python3.11": 11}, [], 11),
    ],
)
def test_the_python_that_is_taken(
    asked: str, path: dict[str, int], pyenv: list[int], taken: int, tmp_path: Path
) -> None:
    code, said = Machine(tmp_path, path, pyenv).set_up(asked)
    assert code == 0, said
    has, other = ("0.19.0", "0.21.0") if taken == 11 else ("0.21.0", "0.19.0")
    assert f"Python 3.{taken}: Axolotl {has}, transformers" in said
    assert re.search(rf"would bring Axolotl {re.escape(other)}, transformers .*: make \.\.\. PYTHON=", said)


@pytest.mark.parametrize(
    ("asked", "path", "pyenv"),
    [
        ("python3", {"python3": 10}, [9]),
        ("python3", {}, []),
        ("python3.12", {"python3": 11, "python3.13": 13}, []),  # another than the one named is not taken
        ("python3.10", {"python3": 11, "python3.10": 10}, []),
        ("newest", {"python3": 10}, []),
    ],
)
def test_no_python_that_fits(asked: str, path: dict[str, int], pyenv: list[int], tmp_path: Path) -> None:
    code, said = Machine(tmp_path, path, pyenv).set_up(asked)
    assert code == 4 and asked in said and "PYTHON=/path/to/python3.12" in said
    assert not (tmp_path / ".venv").exists()


def test_the_other_python_is_named_where_it_is(tmp_path: Path) -> None:
    _, said = Machine(tmp_path, {"python3": 11}, [13]).set_up("python3")
    assert f"PYTHON={tmp_path}/pyenv/versions/3.13.4/bin/python VENV=" in said


def test_a_folder_with_another_python_is_not_used_for_the_named_one(tmp_path: Path) -> None:
    for name in ("python", "python3.11"):
        (tmp_path / ".venv" / "bin" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ".venv" / "bin" / name).touch()

    def make(python: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "-n", "setup", f"PYTHON={python}", f"VENV={tmp_path / '.venv'}"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    other = make("python3.12")
    assert other.returncode == 2 and "VENV=.venv312" in other.stderr
    for python in ("python3.11", "python3", "newest"):
        assert make(python).returncode == 0


def test_what_is_rented_takes_the_newest_lane() -> None:
    pinned = re.findall(r'"axolotl==([\d.]+)', (ROOT / "pyproject.toml").read_text())
    newest = max(pinned, key=lambda version: [int(part) for part in version.split(".")])
    base = re.search(r"^ARG BASE_IMAGE=\S+:(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert base and base[1] == newest
    for file in ("tunebook/commands/launch/__init__.py", "launch/ssh/machine.sh.j2"):
        text = (ROOT / file).read_text()
        assert "make setup PYTHON=newest" in text and not re.search(r"make setup(?! PYTHON=newest|')", text)


@pytest.mark.parametrize("on", ["skypilot", "slurm", "kubernetes", "ssh"])
def test_a_launch_says_which_axolotl_will_train(on: str, lane: str) -> None:
    said = lanes.of_launch(on)
    assert (lane if on == "slurm" else "0.21") in said
    assert ("docs/lanes.md" in said) == (lane == "0.19.0")


def test_an_environment_of_given_packages_gets_a_python_in_the_same_way(tmp_path: Path) -> None:
    """Those of the guide's builder: also where PYTHON is no command on PATH, as with pyenv."""
    machine = Machine(tmp_path, {}, [12])
    code, said = machine.set_up("python3.12", ".venv-docs", "docs.txt")
    assert code == 0, said
    assert (tmp_path / ".venv-docs" / "bin" / "python").is_file() and "requirements.lock" not in said
