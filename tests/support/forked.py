"""Functions in processes of their own that need not import again what another one has imported.

A new process would take ten seconds to import Axolotl.
"""

from __future__ import annotations

import functools
import gc
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from typing import ParamSpec, TypeVar

import pytest

from tunebook.core.paths import child_environment

P, Found = ParamSpec("P"), TypeVar("Found")
# What forks of the server need not import again: Axolotl, and where their functions are.
SHARED = [
    "tests.support.collector",
    "axolotl.cli.preprocess",
    "axolotl.cli.train",
    "axolotl.common.datasets",
    "axolotl.core.builders",
]
SHARED += ["tunebook.pipeline.worker", "tests.support.axolotl_rows", "tests.support.trainings"]


def forked(work: Callable[P, Found], *args: P.args, **kwargs: P.kwargs) -> Found:
    """Return what `work`, a function of a module, returns in a fork of this process."""
    return _result("fork", work, *args, **kwargs)


def with_axolotl(work: Callable[P, Found], *args: P.args, **kwargs: P.kwargs) -> Found:
    """Return what `work`, a function of a module, returns in a process that has imported Axolotl and done
    nothing with it: a fork of one that the tests of a worker share."""
    _start_server()
    return _result("forkserver", work, *args, **kwargs)


@functools.cache
def _start_server() -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload(SHARED)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _variables().items():
            patch.setenv(name, value)
        forkserver.ensure_running()


def _result(how: str, work: Callable[P, Found], *args: P.args, **kwargs: P.kwargs) -> Found:
    context = multiprocessing.get_context(how)
    with ProcessPoolExecutor(1, context, initializer=_begin, initargs=(_variables(),)) as pool:
        return pool.submit(work, *args, **kwargs).result()


def _variables() -> dict[str, str]:
    """Axolotl's imports touch a GPU, which a fork cannot use then."""
    own = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return child_environment() | own | {"AXOLOTL_DATASET_NUM_PROC": "0"}


def _begin(variables: dict[str, str]) -> None:
    gc.freeze()  # Axolotl looks for garbage often, which the imports are not
    os.environ.clear()
    os.environ.update(variables)
    tempfile.tempdir = None  # read anew
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # a test's, which Axolotl may hold, are closed
    if "torch" in sys.modules:  # a fork has none of the threads that computed before it
        sys.modules["torch"].set_num_threads(1)
