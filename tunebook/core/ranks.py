"""Which of the processes of a launch this one is, as torchrun's environment says; and what other launchers,
notebooks and shells leave in the environment, which would change a run without a word."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

LONGEST_WAIT = timedelta(hours=6)  # one process may have many more long answers to generate
# What torchrun, MPI, accelerate and DeepSpeed read to find out which process they are. A notebook or the
# shell of a job has them set though nothing was launched; Tunebook starts torchrun itself.
LAUNCHERS = re.compile(
    r"(RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|NODE_RANK|GROUP_RANK|GROUP_WORLD_SIZE|MASTER_ADDR|MASTER_PORT"
    r"|CROSS_RANK|CROSS_SIZE|LOCAL_SIZE"
    r"|(ROLE|TORCHELASTIC|PET|OMPI|PMI|PMIX|MV2|MPI|ACCELERATE|FSDP|DEEPSPEED|PALS|HYDRA)_\w+)"
)
# Slurm's place of this process; srun of a job of several nodes sets them again.
SLURM = re.compile(r"SLURM_(PROCID|LOCALID|NODEID|NTASKS\w*|NPROCS|TASKS_PER_NODE|STEP_\w+)")
# Other code or other settings of Axolotl and Python than those that are recorded.
OTHERS = re.compile(r"AXOLOTL_(?!DO_NOT_TRACK$)\w+|PYTHON(HOME|SAFEPATH|STARTUP|INSPECT|OPTIMIZE|WARNINGS)")
CHANGING = re.compile(r"(ACCELERATE|FSDP|DEEPSPEED)_\w+|AXOLOTL_(?!DO_NOT_TRACK$)\w+|PYTHONOPTIMIZE")


@dataclass(frozen=True)
class Ranks:
    """Process `rank` of `world`; `local` counts within this machine and is the GPU it uses."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes what all share."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process is here (`together` must be open)."""
        if self.world > 1:
            import torch.distributed

            torch.distributed.barrier()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Hold a gloo process group, which waits on the CPU whatever the model runs on."""
        if self.world == 1:
            yield
            return
        import torch.distributed

        torch.distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
        try:
            yield
            # Leaving while another still waits would look like a lost process there.
            torch.distributed.barrier()
        finally:
            torch.distributed.destroy_process_group()


def ranks() -> Ranks:
    """Return this process's place; alone where it was not started by torchrun."""
    return Ranks(
        *(
            int(os.environ.get(name, default))
            for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
    )


def without_launchers(variables: dict[str, str], nodes: int = 1) -> dict[str, str]:
    """Return `variables` without those of launchers, and without settings of libraries that a run does not
    record. With several `nodes`, Slurm's stay: srun reads them."""
    return {
        name: value
        for name, value in variables.items()
        if not LAUNCHERS.fullmatch(name)
        and not OTHERS.fullmatch(name)
        and (nodes > 1 or not SLURM.fullmatch(name))
    }


def ignored() -> list[str]:
    """Return the variables of the environment that were meant to change a training, and do not here."""
    return sorted(name for name, value in os.environ.items() if value and CHANGING.fullmatch(name))


def threads(cores: int) -> str | None:
    """Say where OMP_NUM_THREADS, which torch heeds, gives a CPU other threads than it has cores."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    count = value.partition(",")[0].strip()
    if not count.isdecimal() or int(count) in (0, cores):
        return None
    run = "1 thread" if int(count) == 1 else f"{int(count)} threads"
    return f"OMP_NUM_THREADS={value} holds: training and evaluation run {run} on {cores} cores"
