"""Test before training with several processes: can they communicate, how fast, and are they identical?

Processes with other libraries, another config or a different clock fail late and in strange ways, or silently
train something else. So each launch begins with a test of half a minute, started by torchrun like the
training.
"""

from __future__ import annotations

import importlib.metadata
import platform
import socket
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from tunebook.core.console import Console
from tunebook.core.errors import MachineError
from tunebook.core.files import file_sha256, read_json
from tunebook.core.paths import show
from tunebook.core.process import ChildError
from tunebook.core.ranks import Ranks
from tunebook.runs.run import Run
from tunebook.runs.session import Session
from tunebook.runs.versions import PACKAGES
from tunebook.training.child import follow

RESULT = "collectives.json"
BYTES = {"cuda": 2**28, "cpu": 2**24}  # size of the tensor that all processes add up
ROUNDS, QUESTIONS = 5, 10
MOST_SKEW = 2.0  # seconds; synchronized clocks differ by milliseconds
PATIENCE = timedelta(minutes=5)


def check_collectives(run: Run, world: int, console: Console, session: Session | None = None) -> None:
    """Start `world` processes that test each other, and print the result in one line.

    Raises:
        MachineError: the processes cannot communicate, or differ; the message names the rank that differs.
        StoppedError: SIGTERM arrived.
    """
    start, result = time.monotonic(), run / RESULT
    result.unlink(missing_ok=True)
    events = run / "events.jsonl"
    try:
        words = [str(run.folder)]
        follow("tunebook.training.preflight_worker", words, console, run.log, events, world, session=session)
    except ChildError as error:
        problems = read_json(result, {}).get("problems") or [str(error)]
        raise MachineError(
            "\n".join(f"collectives: {problem}." for problem in problems)
            + (
                "\nEvery process needs the same environment, the same run folder, a synchronized clock "
                "(NTP) and a network connection to the others. Nothing was trained. Full log: "
                f"{show(run.log)}."
            ),
            code="train.ranks_differ",
        ) from None
    console.stage("ranks", sentence(read_json(result)), time.monotonic() - start)


def sentence(result: dict[str, Any]) -> str:
    """Return the result of `measure` in one line."""
    machines = len(set(result["hosts"]))
    where = "one machine" if machines == 1 else f"{machines} machines"
    skew = max(map(abs, result["ahead_seconds"]))
    return (
        f"{result['world']} processes on {where}: all-reduce {result['all_reduce_gb_per_second']:.1f} GB/s "
        f"({result['backend']}), clocks within {skew * 1000:.1f} ms, same libraries and config"
    )


def facts(config: Path) -> dict[str, str]:
    """Return the versions and the config hash, which must be the same in every process."""
    values = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            values[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            values[name] = "(not installed)"
    values["config.yaml"] = file_sha256(config)[:12] if config.is_file() else "(missing)"
    return values


def differing(hosts: list[str], facts_of_all: list[dict[str, str]]) -> list[str]:
    """Return a line for each fact in which a rank differs from the majority; with two ranks, from rank 0."""
    lines = []
    for name in facts_of_all[0]:
        values = [one[name] for one in facts_of_all]
        usual = Counter(values).most_common(1)[0][0]
        for rank, value in enumerate(values):
            if value != usual:
                lines.append(f"rank {rank} on {hosts[rank]} has {name} {value}, but most ranks have {usual}")
    return lines


def late(hosts: list[str], ahead: list[float]) -> list[str]:
    """Return a line for each rank whose clock differs from that of rank 0."""
    return [
        f"the clock of rank {rank} on {hosts[rank]} is {abs(seconds):.1f} s "
        f"{'ahead of' if seconds > 0 else 'behind'} that of rank 0"
        for rank, seconds in enumerate(ahead)
        if abs(seconds) > MOST_SKEW
    ]


def measure(here: Ranks, config: Path) -> dict[str, Any]:
    """Run the test in each process of this launch; all return the same result, except the bandwidth.

    Returns:
        `{world, backend, hosts, ahead_seconds, all_reduce_gb_per_second, problems}`: for each rank its host
        and how far its clock is ahead of that of rank 0; the bandwidth as NCCL's tests report it ("bus": what
        each process sends), None if the processes differ and it was not measured.
    """
    import torch
    import torch.distributed as dist

    cuda = torch.cuda.is_available()
    device = torch.device(f"cuda:{here.local}" if cuda else "cpu")
    if cuda:
        torch.cuda.set_device(device)
    backend = "nccl" if cuda else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        talk = dist.new_group(backend="gloo", timeout=PATIENCE)  # for objects and CPU tensors
        facts_of_all: list[Any] = [None] * here.world
        dist.all_gather_object(facts_of_all, (socket.gethostname(), facts(config)), group=talk)
        hosts = [host for host, _ in facts_of_all]
        ahead = _ahead(here, talk)
        problems = differing(hosts, [one for _, one in facts_of_all]) + late(hosts, ahead)
        rate = None
        if not problems:  # NCCL of two different versions may hang
            rate, right = _all_reduce(here, device)
            sums: list[Any] = [None] * here.world
            dist.all_gather_object(sums, right, group=talk)
            problems = [f"rank {i} on {hosts[i]} gets wrong sums" for i, ok in enumerate(sums) if not ok]
        dist.barrier(group=talk)
    finally:
        dist.destroy_process_group()
    return {
        "world": here.world,
        "backend": backend,
        "hosts": hosts,
        "ahead_seconds": ahead,
        "all_reduce_gb_per_second": rate,
        "problems": problems,
    }


def _ahead(here: Ranks, group: Any) -> list[float]:
    """Return how many seconds each clock is ahead of that of rank 0. Each rank is asked several times; the
    fastest reply counts, and its timestamp is taken as the middle of the round trip (Cristian 1989)."""
    import torch
    import torch.distributed as dist

    ahead, stamp = torch.zeros(here.world, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for rank in range(1, here.world):
        fastest = float("inf")
        for _ in range(QUESTIONS):
            if here.first:
                sent = time.time()
                dist.send(stamp, rank, group=group)
                dist.recv(stamp, rank, group=group)
                took = time.time() - sent
                if took < fastest:
                    fastest, ahead[rank] = took, float(stamp) - sent - took / 2
            elif here.rank == rank:
                dist.recv(stamp, 0, group=group)
                stamp[0] = time.time()
                dist.send(stamp, 0, group=group)
    dist.broadcast(ahead, 0, group=group)
    return [float(seconds) for seconds in ahead.tolist()]


def _all_reduce(here: Ranks, device: Any) -> tuple[float, bool]:
    """Return the bandwidth of adding up tensors of all processes in GB/s, and whether the sum is correct."""
    import torch
    import torch.distributed as dist

    size = BYTES[device.type]
    values = torch.full((size // 4,), float(here.rank + 1), device=device)
    dist.all_reduce(values)  # also the first call, which opens the connections
    right = bool((values == here.world * (here.world + 1) / 2).all())
    values.zero_()
    dist.barrier()
    start = time.perf_counter()
    for _ in range(ROUNDS):
        dist.all_reduce(values)
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / ROUNDS
    return 2 * (here.world - 1) / here.world * size / seconds / 1e9, right
