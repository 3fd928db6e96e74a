"""The rank of this process, from torchrun's environment; and variables left by other launchers, notebooks and
shells that would silently change a run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

LONGEST_WAIT = timedelta(hours=6)  # one process may have many more long answers to generate
# Variables from which torchrun, MPI, accelerate and DeepSpeed learn their rank. A notebook or the shell of a
# job may have them set although nothing was launched; Tunebook starts torchrun itself.
LAUNCHERS = re.compile(
    r"(RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|NODE_RANK|GROUP_RANK|GROUP_WORLD_SIZE|MASTER_ADDR|MASTER_PORT"
    r"|CROSS_RANK|CROSS_SIZE|LOCAL_SIZE"
    r"|(ROLE|TORCHELASTIC|PET|OMPI|PMI|PMIX|MV2|MPI|ACCELERATE|FSDP|DEEPSPEED|PALS|HYDRA)_\w+)"
)
# Slurm's rank of this process; srun sets them again in a job with several nodes.
SLURM = re.compile(r"SLURM_(PROCID|LOCALID|NODEID|NTASKS\w*|NPROCS|TASKS_PER_NODE|STEP_\w+)")
# These would load other code, or set options of Axolotl and Python that the run does not record.
OTHERS = re.compile(
    r"AXOLOTL_(?!DO_NOT_TRACK$)\w+|PYTHON(HOME|SAFEPATH|STARTUP|INSPECT|OPTIMIZE|WARNINGS)|MPLBACKEND"
)
CHANGING = re.compile(r"(ACCELERATE|FSDP|DEEPSPEED)_\w+|AXOLOTL_(?!DO_NOT_TRACK$)\w+|PYTHONOPTIMIZE")


@dataclass(frozen=True)
class Ranks:
    """Process `rank` of `world`; `local` is its rank on this machine and the index of its GPU."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process that writes the shared files."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process has reached this point (inside `together`)."""
        if self.world > 1:
            import torch.distributed

            torch.distributed.barrier()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Keep a gloo process group open, which synchronizes on the CPU whatever device the model uses."""
        if self.world == 1:
            yield
            return
        import torch.distributed

        torch.distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
        try:
            yield
            # Leaving while another process still waits would look to it like a lost process.
            torch.distributed.barrier()
        finally:
            torch.distributed.destroy_process_group()


def ranks() -> Ranks:
    """Return the rank of this process, or rank 0 of 1 if torchrun did not start it."""
    return Ranks(
        *(
            int(os.environ.get(name, default))
            for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
    )


def without_launchers(variables: dict[str, str], nodes: int = 1) -> dict[str, str]:
    """Return `variables` without those set by launchers and without library settings that a run does not
    record. With several `nodes`, Slurm's are kept, because srun reads them."""
    return {
        name: value
        for name, value in variables.items()
        if not LAUNCHERS.fullmatch(name)
        and not OTHERS.fullmatch(name)
        and (nodes > 1 or not SLURM.fullmatch(name))
    }


def ignored() -> list[str]:
    """Return the environment variables that are set to influence a training but have no effect here."""
    return sorted(name for name, value in os.environ.items() if value and CHANGING.fullmatch(name))


def wanted_threads() -> int | None:
    """Return the number in OMP_NUM_THREADS, which torch obeys, or None if it is not set to a count."""
    count = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return (int(count) or None) if count.isdecimal() else None


def threads(cores: int) -> str | None:
    """Return a note if OMP_NUM_THREADS, which torch obeys, differs from the number of cores."""
    count = wanted_threads()
    if count in (None, cores):
        return None
    value, run = os.environ["OMP_NUM_THREADS"], "1 thread" if count == 1 else f"{count} threads"
    return f"OMP_NUM_THREADS={value} is respected: training and evaluation use {run} on {cores} cores"
