"""Fixtures that several tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import make_run
from tunebook.compare import compare
from tunebook.report import write_report
from tunebook.run import Run


@pytest.fixture
def handmade(tmp_path: Path) -> Callable[..., Run]:
    """Make a hand-made run, compared; takes what `tests.helpers.make_run` takes."""

    def make(*args: object, **options: object) -> Run:
        run = make_run(tmp_path / "run", *args, **options)  # type: ignore[arg-type]
        compare(run)
        return run

    return make


@pytest.fixture(scope="session", params=["classification", "chat"])
def reported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A hand-made run with its report, one a task; made once, so not to be changed."""
    run = make_run(tmp_path_factory.mktemp(request.param), request.param)
    compare(run)
    write_report(run)
    return run
