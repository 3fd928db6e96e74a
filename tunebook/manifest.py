"""What a run was made of: versions, commit, hashes, seeds, hardware, command. Never a secret."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import subprocess
import time
from typing import Any

from tunebook import hardware
from tunebook.dataset import Dataset
from tunebook.paths import ROOT, show
from tunebook.resolve import Resolved
from tunebook.sources import hub_revision, source_file

PACKAGES = "axolotl torch transformers peft trl accelerate datasets bitsandbytes lm_eval tunebook".split()
SECRET = re.compile(r"(?i)(token|secret|password|api_?key)[^ =]*=\S+|\b(hf_|sk-|wandb_)\w{8,}")


def lock_hash() -> str:
    """Return the SHA-256 of requirements.lock."""
    return hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()


def _commit() -> str | None:
    """Return the checkout's commit, with `+changes` when files differ from it. Outside git (the image) it is
    what TUNEBOOK_COMMIT says, or None."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        dirty = subprocess.run(
            ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True
        ).stdout
    except FileNotFoundError:
        return os.environ.get("TUNEBOOK_COMMIT")
    if head.returncode:
        return os.environ.get("TUNEBOOK_COMMIT")
    return head.stdout.strip() + ("+changes" if dirty.strip() else "")


def build(resolved: Resolved, dataset: Dataset, command: str) -> dict[str, Any]:
    """Return the manifest of a run that starts now."""
    return {
        "schema": 1,
        "recipe": resolved.recipe.name,
        "tier": resolved.tier,
        "command": SECRET.sub("[secret]", command),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _commit(),
        "lock": lock_hash(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "base_model": resolved.identity["base_model"],
        "revision": resolved.config.get("revision_of_model"),
        "from_adapter": resolved.identity.get("from_run"),
        "seed": resolved.config.get("seed"),
        "hardware_overlay": resolved.hardware,
        "hardware": hardware.facts(),
        "changed_from_recipe": resolved.changed,
        "data": _data(dataset),
    }


def _data(dataset: Dataset) -> dict[str, Any]:
    """Return where the rows came from: files with their hashes, or the Hub with its commit."""
    source = dataset.source
    found: dict[str, Any] = {"dataset": dataset.name}
    for split in source.splits if source.hub else source.files:
        path = source_file(source, dataset.folder, split)
        if path is None:
            found |= {"hub": source.hub, "revision": hub_revision(source)}
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[split] = {"file": show(path), "sha256": digest}
    return found
