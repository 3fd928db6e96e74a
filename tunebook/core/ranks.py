"""Which of the processes of a launch this one is, as torchrun's environment says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

LONGEST_WAIT = timedelta(hours=6)  # one process may have many more long answers to generate


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
