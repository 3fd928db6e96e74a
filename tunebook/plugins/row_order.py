"""The order of the rows in an epoch follows from seed and epoch alone, also where a training resumes in it.

transformers resumes in the middle of an epoch by skipping the batches that were trained. Its samplers for
`group_by_length`, and Axolotl's for `sample_packing`, draw the order from torch's global generator, whose
state is only restored after the skipping: the rest of the epoch had the rows of the first epoch's order, so
that some rows were trained twice and others not at all. accelerate seeds a plain RandomSampler by epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import RandomSampler, Sampler
from transformers import TrainerCallback
from transformers.trainer_pt_utils import LengthGroupedSampler


class SeededOrder(Sampler[int]):
    """A sampler whose order is always the same in one epoch. `packs` is the sampler that packs its rows and
    keeps what it has packed."""

    def __init__(self, sampler: Any, seed: int, packs: Any = None) -> None:
        self.sampler, self.seed, self.packs, self.epoch = sampler, seed, packs, 0

    def __iter__(self) -> Iterator[int]:
        self.sampler.generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)

    def begin(self, epoch: int) -> None:
        """Have the order of `epoch`, counted from 0."""
        self.epoch = epoch
        if self.packs is not None:
            self.packs.set_epoch(epoch)


class RowOrder(TrainerCallback):
    """Puts a SeededOrder in place of the trainer's sampler, and tells it when an epoch begins."""

    def __init__(self, trainer: Any) -> None:
        self.order: SeededOrder | None = None
        self.epoch: int | None = None  # None until the first epoch of this process begins
        args, make = trainer.args, trainer._get_train_sampler
        seed = args.seed if args.data_seed is None else args.data_seed

        def sampler(*given: Any, **named: Any) -> Any:
            made = make(*given, **named)
            if isinstance(made, LengthGroupedSampler):
                self.order = SeededOrder(made, seed)
                return self.order
            if isinstance(getattr(made, "sampler", None), RandomSampler):  # Axolotl's, for packed rows
                made.sampler = self.order = SeededOrder(made.sampler, seed, made)
            return made

        trainer._get_train_sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.epoch = int(state.epoch or 0) if self.epoch is None else self.epoch + 1
        if self.order is not None:
            self.order.begin(self.epoch)
