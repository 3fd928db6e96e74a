"""The software versions that produced a run: packages, lock file, commit; and the form of secrets in command
lines."""

from __future__ import annotations

import re
import subprocess

from tunebook.core.environment import environment
from tunebook.core.files import file_sha256
from tunebook.core.paths import ROOT

PACKAGES = "axolotl torch transformers peft trl accelerate datasets bitsandbytes lm_eval tunebook".split()


SECRET = re.compile(r"(?i)(token|secret|password|api_?key)[^ =]*=\S+|\b(hf_|sk-|wandb_)\w{8,}")


def lock_hash() -> str:
    """Return the SHA-256 of requirements.lock."""
    return file_sha256(ROOT / "requirements.lock")


def commit() -> str | None:
    """Return the checkout's commit, with `+changes` if it has uncommitted changes. Outside git (the image),
    return TUNEBOOK_COMMIT, or None if that is not set."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        dirty = subprocess.run(
            ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True
        ).stdout
    except FileNotFoundError:
        return environment().commit
    if head.returncode:
        return environment().commit
    return head.stdout.strip() + ("+changes" if dirty.strip() else "")
