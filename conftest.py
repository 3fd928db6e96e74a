"""Fixtures that several tests share."""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_randomly
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:  # fixtures import what they make: the process that starts the workers makes nothing
    from tunebook.runs.run import Run

# Where clean folders are wanted, bytecode goes to the cache, as that of child processes does (core/paths.py):
# to compile torch, transformers and the tests anew takes every process half a minute.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    from tunebook.core.paths import cache_folder

    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(cache_folder() / "bytecode"))
    sys.pycache_prefix, sys.dont_write_bytecode = os.environ["PYTHONPYCACHEPREFIX"], False

from tunebook.core.process import collect_rarely  # after its bytecode has a place

collect_rarely()
# The files of tests/e2e/ that take minutes, the longest first.
LONGEST = ("test_recipe.py", "test_trial_path.py", "test_ranks.py", "test_adapters.py", "test_interrupt.py")
TORCH_WHILE_COLLECTING = pytest.StashKey[bool]()

# DeepSpeed offers pytest-randomly a seeder, which would import torch into every worker: half a minute each.
pytest_randomly.entrypoint_reseeds = []


# Without a GPU, the kernels of flash-linear-attention only fail (tunebook/models/kernels.py): no test may
# import transformers' models with them.
if not os.path.exists("/dev/nvidia0"):
    sys.modules.setdefault("fla", None)  # type: ignore[arg-type]


def pytest_configure(config: pytest.Config) -> None:
    """Let workers share the cores: numpy or torch with a thread for every core would make each wait for the
    others. They inherit it, because numpy, which a plugin imports before this file, reads it as it loads."""
    if workers := len(config.getoption("tx", None) or []):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def pytest_xdist_auto_num_workers() -> int:
    """One more than the cores where memory allows: a worker waits a fifth of its time, for a program, a
    server or a disk."""
    cores, gib = os.cpu_count() or 1, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return cores + 1 if gib >= 6 * (cores + 1) else cores


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Give a worker whole files, and one worker all fast tests that import torch, so that it is paid once."""
    return OneForTorch(config, log) if config.getvalue("dist") == "loadfile" else None


class OneForTorch(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "torch" if _needs_torch(file) else file


@functools.cache
def _needs_torch(file: str) -> bool:
    if "/e2e/" in file:  # they take minutes each
        return False
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")
    return any(word in text for word in ("lazy(", "tiny.", "in_memory("))  # transformers imports torch, too


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start what one worker has to do alone, then the longest files, then the others with slow tests, after
    the shuffle, so that no worker is left alone with one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> tuple[bool, int, bool]:
        name, file = item.path.name, item.nodeid.partition("::")[0]
        longest = LONGEST.index(name) if name in LONGEST else len(LONGEST)
        return not _needs_torch(file), longest, item.path not in slow

    items.sort(key=place)


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.stash[TORCH_WHILE_COLLECTING] = "torch" in sys.modules
    gc.freeze()  # what was imported and collected stays: no collection looks at it again


@pytest.fixture(params=["0.19.0", "0.21.0"])
def lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each lane of the lock, as if it were installed (tunebook/models/lanes.py)."""
    monkeypatch.setattr("tunebook.models.lanes.axolotl", lambda: request.param)
    return request.param


@pytest.fixture
def torch_while_collecting(pytestconfig: pytest.Config) -> bool:
    """Whether a test file imported torch when it was collected, which every worker would pay for."""
    return pytestconfig.stash[TORCH_WHILE_COLLECTING]


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
    from tests.support.helpers import make_run
    from tunebook.report.verdict import compare

    def make(*args: object, **options: object) -> Run:
        run = make_run(tmp_path / "run", *args, **options)  # type: ignore[arg-type]
        compare(run)
        return run

    return make


@pytest.fixture(scope="session", params=["classification", "qa", "chat", "preference"])
def reported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A hand-made run with its report, one a task; made once, so not to be changed."""
    from tests.support.helpers import make_run
    from tunebook.report.report import write_report
    from tunebook.report.verdict import compare

    run = make_run(tmp_path_factory.mktemp(request.param), request.param)
    compare(run)
    write_report(run)
    return run
