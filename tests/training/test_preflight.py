"""Several processes test each other before they train: two of them on gloo."""

from __future__ import annotations

import functools
import importlib
import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.lazy import lazy
from tunebook.core.console import Console
from tunebook.core.errors import MachineError, StoppedError
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import ROOT
from tunebook.core.process import ChildError
from tunebook.runs.run import Run
from tunebook.runs.versions import PACKAGES
from tunebook.training import preflight
from tunebook.training.preflight import check_collectives, differing, facts, late, sentence

torch = lazy("torch")
HOSTS = ["here", "here", "there"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 42\n")
    return Run(tmp_path / "run")


def as_rank(rank: int, port: int, module: str, words: list[str], odd: bool) -> None:
    """Be process `rank` of two; where `odd`, the second has another torch, and a clock that is ahead."""
    place = {
        "RANK": rank,
        "WORLD_SIZE": 2,
        "LOCAL_RANK": rank,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    os.environ |= {name: str(value) for name, value in place.items()}
    if odd and rank:
        own, now = facts, time.time
        preflight.facts = lambda config: own(config) | {"torch": "0.0.1"}
        time.time = lambda: now() + 100
    raise SystemExit(importlib.import_module(module).main(*map(Path, words)))


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Start two processes as forks: this one has imported torch, which new ones would take seconds for
    (through torchrun: tests/e2e/test_ranks.py)."""

    def start(odd: bool, module: str, words: list[str], *_: Any, **__: Any) -> None:
        assert torch.distributed.is_available()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = multiprocessing.get_context("fork").Process
        both = [process(target=as_rank, args=(rank, port, module, words, odd)) for rank in range(2)]
        for one in both:
            one.start()
        for one in both:
            one.join()
        if both[0].exitcode:
            raise ChildError(f"ended with exit code {both[0].exitcode}")

    return lambda odd: monkeypatch.setattr(preflight, "follow", functools.partial(start, odd))


def test_two_processes_find_each_other_equal(
    run: Run, forks: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    forks(False)
    found_equal(run, capsys)


def found_equal(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(run / preflight.RESULT, {"problems": ["of an earlier launch"]})
    check_collectives(run, 2, Console())
    found = read_json(run / preflight.RESULT)
    assert (found["world"], found["backend"], found["problems"]) == (2, "gloo", [])
    assert found["all_reduce_gb_per_second"] > 0
    assert len(set(found["hosts"])) == 1
    # Both clocks are this machine's; a busy one may let an answer wait.
    assert found["ahead_seconds"][0] == 0 and abs(found["ahead_seconds"][1]) < preflight.MOST_SKEW
    said = capsys.readouterr().out
    assert said.startswith("ranks") and "2 processes on one machine: all-reduce" in said
    assert said.count("\n") == 1


def test_the_rank_that_differs_is_named(run: Run, forks: Callable[[bool], None]) -> None:
    forks(True)
    with pytest.raises(MachineError) as caught:
        check_collectives(run, 2, Console())
    assert caught.value.exit_code == 4
    said = str(caught.value)
    host = read_json(run / preflight.RESULT)["hosts"][1]
    assert f"collectives: rank 1 on {host} has torch 0.0.1, but most ranks have " in said
    assert f"the clock of rank 1 on {host} is 100.0 s ahead of that of rank 0" in said
    assert "Nothing was trained" in said and str(run.log) in said


def test_processes_that_cannot_talk_are_the_machines_fault(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ChildError("process 1 was killed by SIGKILL")

    write_json(run / preflight.RESULT, {"problems": ["of an earlier launch"]})
    monkeypatch.setattr(preflight, "follow", fail)
    with pytest.raises(MachineError, match="^collectives: process 1 was killed by SIGKILL[.]\nEvery process"):
        check_collectives(run, 2, Console())


def test_a_stop_is_a_stop(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise StoppedError("stopped")

    monkeypatch.setattr(preflight, "follow", stop)
    with pytest.raises(StoppedError):
        check_collectives(run, 2, Console())


def test_facts_are_versions_and_the_config(run: Run) -> None:
    found = facts(run / "config.yaml")
    assert set(found) == {"python", "config.yaml", *PACKAGES}
    (run / "config.yaml").write_text("seed: 43\n")
    assert {key for key, value in facts(run / "config.yaml").items() if value != found[key]} == {
        "config.yaml"
    }
    assert facts(run / "elsewhere.yaml")["config.yaml"] == "(missing)"


@pytest.mark.parametrize(
    ("values", "named"),
    [(["1", "1", "1"], []), (["1", "1", "2"], [2]), (["2", "1", "1"], [0]), (["1", "2"], [1]), (["1"], [])],
)
def test_the_odd_one_is_who_differs_from_most(values: list[str], named: list[int]) -> None:
    lines = differing(HOSTS, [{"same": "x", "torch": value} for value in values])
    assert [int(line.split()[1]) for line in lines] == named
    assert all(f"on {HOSTS[rank]} has torch" in line for rank, line in zip(named, lines, strict=True))


def test_clocks_that_are_kept_are_near_enough() -> None:
    assert late(HOSTS, [0.0, 0.3, -1.9]) == []
    assert late(HOSTS, [0.0, 0.3, -5.0]) == ["the clock of rank 2 on there is 5.0 s behind that of rank 0"]


def test_several_machines_are_said() -> None:
    found = {"world": 3, "hosts": HOSTS, "backend": "nccl", "ahead_seconds": [0, 0.001, -0.0042]}
    said = sentence(found | {"all_reduce_gb_per_second": 12.34})
    assert said == (
        "3 processes on 2 machines: all-reduce 12.3 GB/s (nccl), clocks within 4.2 ms, "
        "same libraries and config"
    )
