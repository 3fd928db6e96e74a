"""Let the Hub's clients in the tests' own process use the stand-in, with an empty cache."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.hub_server import Hub
from tunebook.models import hub

SECONDS = 5  # that a client waits for an answer
SETTINGS = (*hub.PROXIES, *map(str.lower, hub.PROXIES), *hub.CERTIFICATES, *hub.OFFLINE, "HF_TOKEN")


def use(standin: Hub, cache: Path, patch: pytest.MonkeyPatch) -> None:
    """Point huggingface_hub and datasets, which read the environment as they are imported, at `standin`."""
    import datasets.config  # type: ignore[import-untyped]
    import huggingface_hub.constants as constants
    from huggingface_hub import HfFileSystem

    for name in SETTINGS:
        patch.delenv(name, raising=False)
    patch.setenv("HF_ENDPOINT", standin.endpoint)
    patch.setenv("HF_HOME", str(cache))
    patch.setattr(constants, "ENDPOINT", standin.endpoint)
    patch.setattr("huggingface_hub.hf_api.api.endpoint", standin.endpoint)
    template = standin.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    patch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(cache / "hub"))
    patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", SECONDS)
    patch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", SECONDS)
    patch.setattr(datasets.config, "HF_ENDPOINT", standin.endpoint)
    patch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    patch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", cache / "datasets" / "downloads")
    patch.setattr(datasets.config, "USE_PARQUET_EXPORT", False)
    patch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: None))
    HfFileSystem.clear_instance_cache()  # each has the listings that it has read
    hub._probe.cache_clear()


def impatient(patch: pytest.MonkeyPatch) -> None:
    """Let the clients wait only a fifth of a second, for a stand-in that is told to be slow."""
    import huggingface_hub.constants as constants

    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        patch.setattr(constants, name, 0.2)


def switch_off(patch: pytest.MonkeyPatch) -> None:
    """Set HF_HUB_OFFLINE=1 for a process that has imported the clients already."""
    import datasets.config
    import huggingface_hub.constants as constants

    patch.setenv("HF_HUB_OFFLINE", "1")
    patch.setattr(constants, "HF_HUB_OFFLINE", True)
    patch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
