"""Variables that schedulers, notebooks and shells leave behind and that would change a run without a word."""

from __future__ import annotations

import os
import re

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
