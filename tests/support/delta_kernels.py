"""In place of flash-linear-attention's kernels, which need a GPU: functions that compute nothing and keep for
the backward pass what those keep (fla/ops/gated_delta_rule/chunk.py, fla/modules/convolution.py)."""

from __future__ import annotations

import sys
from typing import Any

import torch


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> Any:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors)


class _Chunks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: torch.Tensor) -> torch.Tensor:
        query, key, value, decay, step = given
        heads = query.shape[:3]
        sizes = [query.new_empty(heads, dtype=torch.float32) for _ in range(3)]  # of query, key; summed decay
        inside = query.new_empty(*heads, 64)  # attention within a chunk
        normed = [torch.empty_like(tensor).contiguous() for tensor in (query, key)]
        ctx.save_for_backward(*normed, value.contiguous(), step, inside, *sizes)
        ctx.like = [(tensor.shape, tensor.dtype) for tensor in given]
        return torch.empty_like(value)

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> Any:
        return tuple(torch.empty(shape, dtype=dtype) for shape, dtype in ctx.like)


def put_in_place() -> None:
    """Let transformers' Qwen3.5 call them; in a process that has not imported it."""
    sys.modules["fla"] = None  # type: ignore[assignment]
    import transformers.models.qwen3_5.modeling_qwen3_5 as qwen

    module: Any = qwen
    module.causal_conv1d_fn = lambda x, weight, *_, **__: _Convolution.apply(x, weight)
    module.torch_chunk_gated_delta_rule = lambda q, k, v, g, beta, **_: (
        _Chunks.apply(q, k, v, g, beta),
        None,
    )
