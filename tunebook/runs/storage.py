"""Files in object storage or in a folder, through fsspec, with retries and helpful errors.

s3:// needs the package s3fs, gs:// gcsfs, az:// adlfs; a path is a folder. Credentials come from the
environment, as those packages read them.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tunebook.core.errors import InputError, MachineError
from tunebook.core.secrets import find_keys

T = TypeVar("T")
# Disk errors that waiting does not fix.
LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
PAUSES = (1.0, 3.0, 9.0)  # pauses in seconds before the second, third and last attempt


# az://container@account: the part before the @ is not a user name.
CONTAINERS = ("az", "abfs", "abfss", "adl")


def refuse_key(url: str) -> None:
    """Raise InputError if an address contains a key, because addresses are written into files and shown."""
    try:
        parts = urlsplit(url)
        key = parts.password or (parts.username and parts.scheme not in CONTAINERS) or parts.query
    except ValueError:
        key = "?"
    if not url.isprintable() or ("://" in url and (key or "::" in url)) or find_keys(url):
        raise InputError(
            "STORE: the address contains a control character or a key, and it would be written into files. "
            "Give s3://bucket/... and put the keys into the environment: docs/rented-gpus.md.",
            code="store.holds_key",
        )


class Storage:
    """The files below `url`; names are relative to it.

    Every method raises MachineError if the storage cannot be reached, refuses or is full, and
    FileNotFoundError if there is no such file.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        refuse_key(url)
        self.url, self.pauses = url, PAUSES
        self.fs: Any
        try:
            self.fs, self.root = fsspec.core.url_to_fs(url)
            self.fs.auto_mkdir = True  # on a disk; in buckets there are no folders to create
        except ImportError as error:
            text = f"STORE: {error}. Install it into the virtual environment."
            raise MachineError(text, code="store.missing_package") from None
        except ValueError as error:
            text = f"STORE: {error} (got {url!r}). Give s3://, gs://, az:// or a folder."
            raise InputError(text, code="store.bad_url") from None

    def names(self, folder: str) -> list[str]:
        """Return the names of the files directly in `folder`; [] where there is none."""

        def listed() -> list[str]:
            self.fs.invalidate_cache()
            try:
                paths = self.fs.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return []
            return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in paths)

        return self._try("list", listed)

    def read(self, name: str) -> bytes:
        return self._try("read", lambda: bytes(self.fs.cat_file(self._path(name))))

    def write(self, name: str, content: bytes) -> None:
        self._put(lambda: self.fs.pipe_file(self._path(name), content))

    def upload(self, path: Path, name: str) -> None:
        path.stat()  # a missing file must not be reported as a missing bucket
        self._put(lambda: self.fs.put_file(str(path), self._path(name)))

    def download(self, name: str, path: Path) -> None:
        self._try("read", lambda: self.fs.get_file(self._path(name), str(path)))

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""

        def current() -> int:
            self.fs.invalidate_cache()
            return int(self.fs.info(self._path(name))["size"])

        return self._try("read", current)

    def remove(self, name: str) -> None:
        self._try("remove", lambda: self.fs.rm_file(self._path(name)))

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _put(self, action: Callable[[], None]) -> None:
        try:
            self._try("write", action)
        except FileNotFoundError as error:
            raise MachineError(
                f"STORE: {self.url} does not exist ({error}). Create the bucket first.",
                code="store.no_bucket",
            ) from None

    def _try(self, word: str, action: Callable[[], T]) -> T:
        for pause in (*self.pauses, None):
            try:
                return action()
            except FileNotFoundError:
                raise
            except PermissionError as error:
                raise MachineError(
                    f"STORE: {self.url}: no permission to {word} ({error}). Check the keys in the "
                    "environment and this machine's clock: a signed request is only valid for a few "
                    "minutes.",
                    code="store.no_permission",
                ) from None
            except Exception as error:  # each storage package raises errors of different types
                if isinstance(error, OSError) and error.errno in LASTING:
                    raise MachineError(
                        f"STORE: {self.url}: cannot {word}: {error}.", code="store.disk_error"
                    ) from None
                if pause is None:
                    raise MachineError(
                        f"STORE: {self.url}: cannot {word}, tried {len(self.pauses) + 1} times "
                        f"({type(error).__name__}: {error}). Check that this machine can reach the storage.",
                        code="store.unreachable",
                    ) from None
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")
