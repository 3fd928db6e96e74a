"""The hash that identifies the weights of a model folder."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


@functools.cache
def weights_hash(folder: Path) -> str:
    """Return the SHA-256 over the weight files and adapter config of a model folder."""
    total = hashlib.sha256()
    files = [*folder.glob("*.safetensors"), *folder.glob("adapter_config.json")]
    for path in sorted(files):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
