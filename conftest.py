"""Fixtures that several tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_randomly

from tests.support.helpers import make_run
from tunebook.report.report import write_report
from tunebook.report.verdict import compare
from tunebook.runs.run import Run

# Workers share the cores: torch with a thread for every core would make each wait for the others.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))

# DeepSpeed offers pytest-randomly a seeder, which would import torch into every worker: half a minute each.
pytest_randomly.entrypoint_reseeds = []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the files with slow tests first, after the shuffle, so that no worker is left alone with one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def real() -> Path:
    """The folder of real public data, which a checkout need not have."""
    folder = os.environ.get("TUNEBOOK_TEST_DATA")
    if not folder:
        pytest.skip("TUNEBOOK_TEST_DATA is not set: no real data here")
    return Path(folder)


@pytest.fixture
def handmade(tmp_path: Path) -> Callable[..., Run]:
    """Make a hand-made run, compared; takes what `tests.support.helpers.make_run` takes."""

    def make(*args: object, **options: object) -> Run:
        run = make_run(tmp_path / "run", *args, **options)  # type: ignore[arg-type]
        compare(run)
        return run

    return make


@pytest.fixture(scope="session", params=["classification", "qa", "chat", "preference"])
def reported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A hand-made run with its report, one a task; made once, so not to be changed."""
    run = make_run(tmp_path_factory.mktemp(request.param), request.param)
    compare(run)
    write_report(run)
    return run
