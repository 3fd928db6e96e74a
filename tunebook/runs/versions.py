"""The software versions that produced a run: packages, lock file, commit."""

from __future__ import annotations

from tunebook.core.environment import environment
from tunebook.core.files import file_sha256
from tunebook.core.paths import ROOT
from tunebook.core.process import run_command

PACKAGES = "axolotl torch transformers peft trl accelerate datasets bitsandbytes lm_eval tunebook".split()


def lock_hash() -> str:
    """Return the SHA-256 of requirements.lock."""
    return file_sha256(ROOT / "requirements.lock")


def commit() -> str | None:
    """Return the checkout's commit, with `+changes` if it has uncommitted changes. Outside git (the image),
    return TUNEBOOK_COMMIT, or None if that is not set."""
    try:
        head = run_command(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        dirty = run_command(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return environment().commit
    if head.returncode:
        return environment().commit
    return f"{head.stdout.strip()}{'+changes' if dirty.strip() else ''}"
