"""The console entry and make, run as a person runs them, and the console entry inside this process."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys

from tunebook.commands import cli
from tunebook.core.paths import ROOT

# A person's own settings must not reach the commands under test.
OWN = frozenset(
    """TUNEBOOK_RECIPES TUNEBOOK_SOURCES TUNEBOOK_RUNS TUNEBOOK_ENDPOINT TUNEBOOK_JUDGE DEBUG MAKEFLAGS
    NAME SET SEED SEEDS STEPS TIER HARDWARE GPUS MODEL EVAL NEW FROM_RUN ROWS OVER KEEP RUN RUNS TASK
    BASE DATA OUT GPU COUNT PRICE STORE ON MAX_COST HOST DRY IMAGE CPU IN JSON SHOW ARGS FROM FIELDS SMOKE
    WINDOW LENGTH GROUP TIME BESIDE REHEARSE TUNEBOOK_DATASETS""".split()
)


def _run(
    command: list[str], environment: dict[str, str], timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key not in OWN}
    kept |= {"COLUMNS": "200", **environment}
    return subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=timeout)


def tunebook(*words: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `tunebook WORDS` with variables added to the environment."""
    return _run([sys.executable, "-m", "tunebook.commands.cli", *words], environment, timeout)


def in_process(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `tunebook WORDS` inside this process, in the checkout, with variables added to the environment: for
    tests where the process is not the point."""
    out, err, before = io.StringIO(), io.StringIO(), dict(os.environ)
    try:
        for name in OWN & os.environ.keys():
            del os.environ[name]
        os.environ.update({"COLUMNS": "200", **environment})
        with contextlib.chdir(ROOT), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.run(list(words))
    finally:
        os.environ.clear()
        os.environ.update(before)
    return subprocess.CompletedProcess(list(words), code, out.getvalue(), err.getvalue())


def make(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `make WORDS` in the checkout, on the virtual environment that runs the tests.

    A target that needs one would install it where make does not know it is there: use `-n` for those.
    """
    return _run(["make", "-C", str(ROOT), f"VENV={sys.prefix}", *words], environment)
