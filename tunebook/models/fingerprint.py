"""The hash that identifies the weights of a model folder."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of the weight files and adapter config of a model folder."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("adapter_config.json")])
    stamps = [path.stat() for path in files]
    return _hash(tuple((path, one.st_size, one.st_mtime_ns) for path, one in zip(files, stamps, strict=True)))


@functools.cache
def _hash(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Return the SHA-256 of `files`; their paths, sizes and modification times are the cache key."""
    total = hashlib.sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
