"""The record of everything that determines a run: versions, commit, hashes, seeds, hardware, command. Never a
secret."""

from __future__ import annotations

import importlib.metadata
import os
import time
from pathlib import Path
from typing import Any

from tunebook.config.resolved import Resolved
from tunebook.core.files import file_sha256
from tunebook.core.paths import show
from tunebook.core.secrets import mask
from tunebook.data.dataset import Dataset
from tunebook.data.sources import hub_revision, source_file
from tunebook.hardware import machine
from tunebook.models.fingerprint import weights_hash
from tunebook.runs.versions import PACKAGES, commit, lock_hash


def build(resolved: Resolved, dataset: Dataset, command: str) -> dict[str, Any]:
    """Return the manifest of a run that is starting."""
    base = Path(resolved.config["base_model"])
    return {
        "schema": 1,
        "recipe": resolved.recipe.name,
        "tier": resolved.tier,
        "command": mask(command),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "lock": lock_hash(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "base_model": resolved.identity["base_model"],
        "base_weights": weights_hash(base) if base.is_dir() else None,
        "revision": resolved.config.get("revision_of_model"),
        "from_adapter": resolved.identity.get("from_run"),
        "seed": resolved.config.get("seed"),
        "hardware_overlay": resolved.hardware,
        "hardware": machine.facts(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "changed_from_recipe": resolved.changed,
        "data": _data(dataset),
    }


def _data(dataset: Dataset) -> dict[str, Any]:
    """Return where the rows come from: files with their hashes, or the Hub with its commit."""
    source = dataset.source
    found: dict[str, Any] = {"dataset": dataset.name}
    for split in source.splits if source.hub else source.files:
        path = source_file(source, dataset.folder, split)
        if path is None:
            found |= {"hub": source.hub, "revision": hub_revision(source)}
        else:
            digest = file_sha256(path)
            found[split] = {"file": show(path), "sha256": digest}
    return found
