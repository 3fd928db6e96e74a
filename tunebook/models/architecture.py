"""The shape of a decoder model and the kinds of its layers, from which memory and arithmetic follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Delta(Form):
    """Gated delta networks (Yang et al. 2024, arXiv 2412.06464) in place of attention, except in every
    `every`th layer: Qwen3.5. `conv` is the length of the convolution over queries, keys and values."""

    every: int
    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    conv: int

    @property
    def keys(self) -> int:
        """Width of all key heads, and of all query heads."""
        return self.key_heads * self.key_dim

    @property
    def values(self) -> int:
        """Width of all value heads."""
        return self.value_heads * self.value_dim


class Global(Form):
    """Layers that see the whole row among layers with a sliding window, every `every`th: Gemma 4. They have
    heads of their own size; without `values`, one projection makes keys and values."""

    every: int
    head_dim: int
    kv_heads: int
    window: int
    values: bool


class Experts(Form):
    """A mixture of experts in place of the MLP: `total` in each layer, of which a token passes `used`. Each
    has biases, as does its router: gpt-oss."""

    total: int
    used: int


@dataclass(frozen=True)
class Layer:
    """One kind of decoder layer and how many of it there are. Widths are numbers of elements per token."""

    count: int
    linears: tuple[tuple[int, int], ...]  # (in, out) of the matrices that LoRA on all linear layers adapts
    query: int  # width of all query heads; of all value heads in a delta layer
    key: int  # width of all key heads, and of all value heads, that this layer itself computes and caches
    heads: int
    head_dim: int
    fixed: int = 0  # weights of other matrices that every token passes
    vectors: int = 0  # weights of norms, biases and convolutions
    window: int | None = None
    gated: bool = False  # attention's output is multiplied by a gate
    delta: Delta | None = None
    experts: int = 0  # weights of all experts
    used: int = 0  # weights of the experts that a token passes
    passes: int = 1  # number of experts that a token passes

    @property
    def matrices(self) -> int:
        """Number of weights in `linears`."""
        return sum(i * o for i, o in self.linears)

    @property
    def parameters(self) -> int:
        """Number of weights of one such layer."""
        return self.matrices + self.fixed + self.vectors + self.experts


class Shape(Form):
    """A Llama-like model: gated MLP, grouped-query attention, `norms` RMS norms per layer. `delta`,
    `overall` and `experts` say how the layers of some models differ. Except in gpt-oss, the few biases that
    some models have are ignored. Text only: a vision tower is not counted."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    positions: int | None = None
    source: str | None = None  # where a table has the numbers from
    tied: bool
    qk_norm: Literal["none", "head", "whole"]
    norms: int = 2
    gate: bool = False
    delta: Delta | None = None
    overall: Global | None = None
    shared_layers: int = 0
    per_layer: int = 0
    experts: Experts | None = None

    @property
    def query(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def key(self) -> int:
        """Width of all key heads together; the same for the values."""
        return self.kv_heads * self.head_dim

    @cached_property
    def kinds(self) -> tuple[Layer, ...]:
        """The kinds of decoder layers, with the number of each."""
        return tuple(kinds(self))

    @property
    def largest_layer(self) -> int:
        """Number of weights in the largest decoder layer."""
        return max(layer.parameters for layer in self.kinds)

    @property
    def largest_matrix(self) -> int:
        """Number of weights in the largest linear layer of a decoder layer."""
        return max(i * o for layer in self.kinds for i, o in layer.linears)

    @property
    def widest(self) -> int:
        """Width of the MLP that a token passes: of all its experts together."""
        return self.intermediate * max(layer.passes for layer in self.kinds)

    @property
    def embedding_parameters(self) -> int:
        """Number of weights in the input embedding, plus the output layer if it is not tied, plus the
        embeddings that layers have of their own."""
        own = self.vocab * self.layers * self.per_layer
        return self.vocab * self.hidden * (1 if self.tied else 2) + own

    @property
    def parameters(self) -> int:
        """Number of all weights."""
        projected = (self.hidden * self.layers + 1) * self.per_layer  # from the embedding to all layers
        return self._sum(lambda layer: layer.parameters) + self.embedding_parameters + self.hidden + projected

    @property
    def active_parameters(self) -> int:
        """Number of weights that a token passes: without the experts that it is not sent to."""
        return self.parameters - self._sum(lambda layer: layer.experts - layer.used)

    @property
    def quantised_parameters(self) -> int:
        """Number of weights that bitsandbytes stores in 4 or 8 bits: the linear layers except the output
        layer."""
        return self._sum(lambda layer: layer.matrices)

    @property
    def matrix_parameters(self) -> int:
        """Number of weights that a token is multiplied with, except in the output layer."""
        small = self.hidden * self.layers * self.per_layer
        return self._sum(lambda layer: layer.matrices + layer.fixed + layer.used) + small

    @property
    def cache_width(self) -> int:
        """Numbers that a key-value cache keeps of one token, in all layers together. A sliding window is not
        counted; nor is the state of linear attention, which does not grow with the row."""
        return self._sum(lambda layer: 2 * layer.key)

    def adapter_parameters(self, rank: int, layers: int | None = None) -> int:
        """Return the number of weights in a LoRA adapter on all linear layers of `layers` (default: all)
        layers."""
        whole = self._sum(lambda layer: sum(rank * (i + o) for i, o in layer.linears))
        return whole if layers is None else whole * layers // self.layers

    def _sum(self, of: Callable[[Layer], int]) -> int:
        return sum(layer.count * of(layer) for layer in self.kinds)


def kinds(shape: Shape) -> Iterator[Layer]:
    """Yield the kinds of decoder layers of a shape."""
    if shape.delta:
        full = shape.layers // shape.delta.every
        yield _delta(shape, shape.layers - full)
        yield _attention(shape, full)
    elif shape.overall:
        own = shape.layers - shape.shared_layers
        for start, end in ((0, own), (own, shape.layers)):
            whole = end // shape.overall.every - start // shape.overall.every
            for count, is_whole in ((end - start - whole, False), (whole, True)):
                if count:
                    yield _gemma(shape, count, is_whole, computes_keys=end == own)
    elif shape.experts:
        yield _mixture(shape)
    else:
        yield _attention(shape, shape.layers)


def _mlp(shape: Shape) -> tuple[tuple[int, int], ...]:
    h, f = shape.hidden, shape.intermediate
    return ((h, f), (h, f), (f, h))


def _attention(shape: Shape, count: int) -> Layer:
    """A layer of Llama; with `gate`, the query's matrix also makes a gate for the output."""
    h, q, k = shape.hidden, shape.query, shape.key
    norms = {"none": 0, "head": 2 * shape.head_dim, "whole": q + k}[shape.qk_norm]
    return Layer(
        count,
        ((h, 2 * q if shape.gate else q), (h, k), (h, k), (q, h), *_mlp(shape)),
        q,
        k,
        shape.heads,
        shape.head_dim,
        vectors=shape.norms * h + norms,
        gated=shape.gate,
    )


def _delta(shape: Shape, count: int) -> Layer:
    """A layer of Qwen3.5 with linear attention. LoRA leaves out the two small matrices, in_proj_a and
    in_proj_b, that make decay and step size."""
    d, h = shape.delta, shape.hidden
    assert d is not None
    mixed = 2 * d.keys + d.values
    return Layer(
        count,
        ((h, mixed), (h, d.values), (d.values, h), *_mlp(shape)),
        d.values,
        0,
        d.value_heads,
        d.value_dim,
        fixed=2 * h * d.value_heads,
        vectors=shape.norms * h + mixed * d.conv + 2 * d.value_heads + d.value_dim,
        delta=d,
    )


def _gemma(shape: Shape, count: int, is_whole: bool, computes_keys: bool) -> Layer:
    """A layer of Gemma 4. The last `shared_layers` take their keys and values from an earlier layer;
    `per_layer` is the width of the embedding that each layer has of its own."""
    overall, h = shape.overall, shape.hidden
    assert overall is not None
    head_dim = overall.head_dim if is_whole else shape.head_dim
    kv_heads = overall.kv_heads if is_whole else shape.kv_heads
    q, k = shape.heads * head_dim, kv_heads * head_dim
    values = overall.values or not is_whole
    keys = ((h, k),) * (2 if values else 1) if computes_keys else ()
    per_layer = shape.per_layer
    return Layer(
        count,
        ((h, q), *keys, (q, h), *_mlp(shape)),
        q,
        k if computes_keys else 0,
        shape.heads,
        head_dim,
        fixed=2 * h * per_layer,
        vectors=(shape.norms + (per_layer > 0)) * h + head_dim * (2 if computes_keys else 1),
        window=None if is_whole else overall.window,
    )


def _mixture(shape: Shape) -> Layer:
    """A layer of gpt-oss: biases everywhere, one learned sink for each head, experts in place of the MLP.
    The experts are no linear layers to PEFT and bitsandbytes: they get no adapter and stay in 16 bits."""
    experts, h, f = shape.experts, shape.hidden, shape.intermediate
    assert experts is not None
    plain = _attention(shape, shape.layers)
    q, k, one = shape.query, shape.key, 3 * h * f + 2 * f + h
    return replace(
        plain,
        linears=plain.linears[:4],
        fixed=h * experts.total,
        vectors=plain.vectors + q + 2 * k + h + shape.heads + experts.total,
        experts=experts.total * one,
        used=experts.used * one,
        passes=experts.used,
    )
