"""The rows of a dataset on the Hub, and what keeps it from being read.

In: an id, a config, a revision and a split of the Hub. Out: (number, row) pairs, from the Hub or its cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import child_environment
from tunebook.data.files.columnar import named_labels
from tunebook.data.formats.place import Numbered, in_rows
from tunebook.models.hub import cache_only, hub_error, patiently, unreachable

KEY = "source.hub"
OTHER_ROWS = "set TUNEBOOK_SOURCES=folder, or TIER=trial for the dataset's stand-in"
NO_SCRIPTS = "scripts are no longer supported"  # in the message of datasets, which has no class for it
T = TypeVar("T")


def read_hub(hub: str, config: str | None, revision: str | None, split: str) -> Iterator[Numbered]:
    """Return the rows of a split, numbered from 1, with the names of their labels.

    Raises:
        InputError: no such dataset, config or split, or a dataset that is a script.
        MachineError: the Hub refuses, cannot be reached, or breaks off.
    """
    table = _asked(hub, revision, f"{hub!r}, split {split!r}", KEY, OTHER_ROWS, _load(hub, config, split))
    features = getattr(table, "features", None) or {}
    inside = {name: getattr(feature, "feature", feature) for name, feature in features.items()}
    labels = {name: feature.names for name, feature in inside.items() if hasattr(feature, "names")}
    return in_rows(enumerate((named_labels(row, labels) for row in table), 1))


def split_names(hub: str, config: str | None, key: str) -> list[str]:
    """Return the names of the splits of a dataset; raises what `read_hub` raises, with `key` as its place."""

    def work(revision: str | None) -> list[str]:
        from datasets import get_dataset_split_names  # type: ignore[attr-defined]

        return list(get_dataset_split_names(hub, config, revision=revision))

    return _asked(hub, None, hub, key, "give a file or folder", work)


def cached_revision(hub: str, revision: str | None) -> str | None:
    """Return the commit of `hub` in the local cache, or None if its rows have never been read."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    os.environ.setdefault("HF_HOME", child_environment()["HF_HOME"])
    if revision and len(revision) == 40:
        return revision
    try:
        repos = [repo for repo in scan_cache_dir().repos if repo.repo_id == hub]
    except CacheNotFound:
        return None
    wanted = revision or "main"
    return next(
        (version.commit_hash for repo in repos for version in repo.revisions if wanted in version.refs), None
    )


def _load(hub: str, config: str | None, split: str) -> Callable[[str | None], Any]:
    def work(revision: str | None) -> Any:
        from datasets import load_dataset  # type: ignore[attr-defined]

        return load_dataset(hub, config, revision=revision, split=split)

    return work


def _asked(
    hub: str, revision: str | None, what: str, key: str, instead: str, work: Callable[[str | None], T]
) -> T:
    """Return what `work` returns for `revision`, or explain why the Hub's dataset cannot be read."""
    os.environ.setdefault("HF_HOME", child_environment()["HF_HOME"])
    from datasets.exceptions import DatasetGenerationError, FileNotFoundDatasetsError

    cache_only()

    def attempt() -> T:
        try:
            return work(revision)
        except Exception as error:
            # datasets hides the Hub's answer behind errors of its own: ask for it
            if not unreachable() and NO_SCRIPTS not in str(error):
                _ask_plainly(hub, revision)
            raise

    try:
        return patiently(attempt)
    except Exception as error:  # the Hub client lets through many kinds of connection errors
        if NO_SCRIPTS in str(error):
            text = (
                f"{hub!r} is a Python script, which datasets no longer runs. Name a copy of it in Parquet "
                "files, or download its rows and name the files (source.files)."
            )
            raise InputError(Problem(text, key=key, code="data.is_script")) from None
        wrong = isinstance(error, ValueError) and not isinstance(error, OSError)
        if (wrong or isinstance(error, FileNotFoundDatasetsError)) and not unreachable():
            text = f"{what}: {error}"
            raise InputError(Problem(text, key=key, code="data.not_on_hub")) from None
        if isinstance(error, DatasetGenerationError) and not isinstance(error.__cause__, OSError):
            text = f"{what}: a file of it cannot be read: {error.__cause__ or error}"
            raise InputError(Problem(text, key=key, code="data.not_readable_on_hub")) from None
        raise hub_error(key, repr(hub), unreachable() or error, instead) from None


def _ask_plainly(hub: str, revision: str | None) -> None:
    """Ask the Hub for a dataset and one of its files; raises its answer if that is an error other than that
    there is no such dataset."""
    from huggingface_hub import dataset_info, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

    try:
        info = dataset_info(hub, revision=revision, timeout=15)
        hf_hub_download(hub, "README.md", repo_type="dataset", revision=info.sha)
    except GatedRepoError:
        raise
    except (EntryNotFoundError, RepositoryNotFoundError):
        return
