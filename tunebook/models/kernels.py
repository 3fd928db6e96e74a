"""Kernels that transformers uses if their package is installed, even without a GPU to run them."""

from __future__ import annotations

import sys

GPU_ONLY = "fla"  # flash-linear-attention, which Axolotl installs; Qwen3.5's own code in torch does the same


def no_gpu_kernels_on_a_cpu() -> None:
    """Without a GPU, hide flash-linear-attention from transformers: its kernels end in "0 active drivers".
    Call it before a model is loaded; a module that has imported them keeps them."""
    import torch

    if not torch.cuda.is_available():
        sys.modules[GPU_ONLY] = None  # type: ignore[assignment]  # imports of it fail as if it were missing
