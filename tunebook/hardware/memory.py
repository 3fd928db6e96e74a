"""Peak GPU memory of a training step, by component, from shapes alone.

A training step stores weights, gradients and optimizer states (ZeRO: Rajbhandari et al. 2020, arXiv
1910.02054, section 3), and what the forward pass saves for the backward pass. For the latter, Korthikanti et
al. 2022 (arXiv 2205.05198, section 4) count 34 bytes per token and hidden unit for a GPT layer. A Llama-like
layer in transformers saves other tensors, so they are counted here one by one, as autograd keeps them.
benchmarks/plan_memory.py compares the sums with torch's memory tracker (docs/plan.md).
"""

from __future__ import annotations

import math
from dataclasses import replace

from tunebook.hardware.memory_settings import Setting, Sharding
from tunebook.models.architecture import Layer, Shape

GIB = 2**30
# 4-bit NF4 with double quantisation: 4 bits, one 8-bit constant per 64 weights and one fp32 per 256 of those
# (Dettmers et al. 2023, arXiv 2305.14314, section 3); 8-bit: one byte, one fp32 per row of weights.
QUANTISED = {"4bit": (4 + 8 / 64 + 32 / (64 * 256)) / 8, "8bit": 1.0}
BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
# Optimizer states in bytes per trained 4-byte weight; AdamW keeps two moments in the dtype of the weight, the
# 8-bit optimizers one byte each plus constants for blocks of 256.
EIGHT_BIT = 2 * (1 + 4 / 256)
STATES = {
    "adamw_8bit": EIGHT_BIT,
    "adamw_bnb_8bit": EIGHT_BIT,
    "paged_adamw_8bit": EIGHT_BIT,
    "adamw_torch_8bit": EIGHT_BIT,
    "lion_8bit": EIGHT_BIT / 2,
    "adafactor": 0.02,
    "sgd": 0.0,
}
# CUDA context, cuBLAS workspace and compiled kernels; NCCL's buffers with more than one GPU. Not measured
# here: about the difference between nvidia-smi and PyTorch's own count on recent GPUs.
FRAMEWORK, NCCL = 1.0, 0.7
# The allocator cannot reuse every gap between short-lived tensors.
SLACK = 0.05


def saved_by_layer(shape: Shape, layer: Layer, s: Setting) -> float:
    """Return the bytes that one decoder layer of a kind saves for its backward pass, per token."""
    h, q, k, wide = shape.hidden, layer.query, layer.key, s.wide
    full = s.rank is None
    # RMS norm: transformers computes in fp32 and keeps that copy; the scaled result is kept if the norm's own
    # weight is trained. A fused kernel keeps only its input.
    fused_norm = s.fused_norm or s.compiled
    scaled = 4 if shape.delta or shape.overall else wide  # these models multiply by the norm's weight in fp32
    norm = wide if fused_norm else 4 + (scaled if full else 0)
    norms = (shape.norms + (shape.per_layer > 0)) * (h * norm + 4)
    if shape.qk_norm != "none" and not layer.delta:
        norms += (q + k) * (2 if fused_norm else 6 if full else 4) + 4 * (shape.heads + shape.kv_heads)
    # The inputs of linear layers. A trained weight needs its input; a frozen weight does not, but its adapter
    # does, in a separate copy for each layer if the adapter has a different dtype.
    copies = wide == 4 if full else s.adapter_fp32
    own_qkv = 3 if copies and not s.lora_qkv else 1
    own_mlp = 2 if copies and not s.lora_mlp else 1
    inputs = 2 * h * (own_qkv + (0 if layer.experts and not full else own_mlp))
    inputs += 2 * q if not full and copies and not s.lora_o else 0
    # output of the adapter's first matrices
    inputs += 0 if s.rank is None else len(layer.linears) * s.rank * 2
    mixer = _delta(layer, full) if layer.delta else _attention(shape, layer, s)
    return norms + inputs + mixer + _mlp(shape, layer, s) + _own_embedding(shape, full)


def _attention(shape: Shape, layer: Layer, s: Setting) -> float:
    """Query, key, value and output. Flash attention keeps one fp32 number per head; torch's varlen_attn also
    keeps keys and values repeated for all heads (axolotl.monkeypatch.attention.sdpa_varlen); eager attention
    also keeps the score matrix in fp32 and in 16 bits."""
    q, k = layer.query, layer.key
    gate = 4 * q if layer.gated else 0  # the gate, and its product with the output
    if s.attention == "varlen":
        return gate + 2 * (4 * q) + 4 * layer.heads
    if s.attention == "eager":
        return gate + 2 * (4 * q) + 6 * layer.heads * s.tokens
    return gate + 2 * (2 * q + 2 * k) + 4 * layer.heads


def _delta(layer: Layer, full: bool) -> float:
    """The tensors that flash-linear-attention's kernels save (fla/ops/gated_delta_rule/chunk.py): query and
    key of every value head, value, decay, step size, the attention within chunks of 64 tokens. The
    convolution saves its input, and the gated norm of transformers its two inputs and its steps in fp32."""
    d = layer.delta
    assert d is not None
    mixed = 2 * (2 * d.keys + d.values)  # input of the convolution
    kernel = 2 * (2 * d.value_heads * d.key_dim + d.values) + d.value_heads * (2 * 64 + 4 * 8)
    norm = d.values * (15 + 5 * full)
    return mixed + kernel + norm


def _mlp(shape: Shape, layer: Layer, s: Setting) -> float:
    """Gated MLP: gate, its activation, up, and their product for the down projection. An expert also clamps
    both and keeps its weighted output."""
    f = shape.intermediate
    if layer.experts:
        return layer.passes * (14 * f + 2 * shape.hidden * (2 if s.rank is None else 1))
    if s.lora_mlp and s.rank is not None:
        return 4 * f
    return 6 * f if s.fused_mlp or s.compiled else 8 * f


def _own_embedding(shape: Shape, full: bool) -> float:
    """What a layer's own embedding adds in Gemma 4: gate, activation and product; its lookup, its projection
    and a norm in fp32 before the first layer."""
    return shape.per_layer * (3 * 2 + 2 + 2 + 4 + 2 * full)


def activations(shape: Shape, s: Setting) -> tuple[float, float]:
    """Return (bytes saved by all decoder layers and the last norm, bytes in use during the backward pass of
    one layer).

    With activation checkpointing (Chen et al. 2016, arXiv 1604.06174), each layer keeps its input, and one
    layer at a time is recomputed. `activation_offloading` keeps those inputs in host memory.
    """
    tokens = s.sequences * s.tokens
    each = [(layer.count, saved_by_layer(shape, layer, s) * tokens) for layer in shape.kinds]
    layer = max(saved for _, saved in each)
    # Gradients alive during the backward pass of a layer: those of the MLP's inner tensors and of the
    # residual stream.
    working = tokens * (2 * 3 * shape.widest + 2 * s.wide * shape.hidden)
    last = tokens * shape.hidden * (2 + s.wide + (0 if s.fused_norm else 4))
    last += tokens * (4 * shape.head_dim + 24)  # cosines and sines of positions; ids and labels
    if s.checkpointing:
        kept = 2.0 if s.offloaded else shape.layers
        return kept * tokens * s.wide * shape.hidden + last, layer + working
    saved = sum(count * bytes_ for count, bytes_ in each)
    if s.rank is not None and s.adapted_layers is not None:
        saved *= s.adapted_layers / shape.layers  # nothing is saved below the lowest adapted layer
    return saved + last, working


def loss_buffers(shape: Shape, s: Setting) -> float:
    """Return the bytes of logits and their gradients at the peak of the loss.

    transformers: logits in 16 bits, an fp32 copy and its log-softmax (10 bytes per token and vocabulary
    entry) forward, then log-softmax and two gradients in fp32 (12 bytes) backward. `chunked_cross_entropy`
    keeps the 16-bit logits and does the rest for an eighth of the tokens at a time. Liger's fused linear
    cross entropy (Hsu et al. 2024, arXiv 2410.10989, section 3.2) processes chunks of tokens, so that no
    chunk's logits are larger than the hidden states, and keeps gradients of the hidden states and of a
    trained output layer. Training on preference pairs uses neither (trl's DPOTrainer), and also keeps the
    reference model's logits.
    """
    tokens, vocab, hidden = s.sequences * s.tokens, shape.vocab, shape.hidden
    if s.pairs:
        return tokens * vocab * (12 + 2)
    if s.fused_loss:
        chunks = math.ceil(vocab / hidden)
        chunk = min(tokens, 2 ** math.ceil(math.log2(max(1, math.ceil(tokens / chunks)))))
        trained = vocab * hidden * s.wide if s.rank is None else 0
        return chunk * vocab * (2 + s.wide) + tokens * hidden * 2 * 2 + trained
    if s.chunked_loss:
        return tokens * vocab * (2 + 12 / 8)
    return tokens * vocab * 12


def trained_parameters(shape: Shape, s: Setting) -> int:
    """Return the number of weights that get a gradient."""
    return shape.parameters if s.rank is None else shape.adapter_parameters(s.rank, s.adapted_layers)


def base_bytes(shape: Shape, s: Setting) -> float:
    """Return the size of the base model's weights in bytes."""
    if s.weights in QUANTISED:
        quantised = shape.quantised_parameters
        return quantised * QUANTISED[s.weights] + (shape.parameters - quantised) * 2
    return shape.parameters * BYTES[s.weights]


def components(shape: Shape, s: Setting, how: Sharding = "one GPU", count: int = 1) -> dict[str, float]:
    """Return the peak memory of one GPU in GiB, by component.

    Gradients grow while saved activations shrink. Without accumulation, the peak of both together is the
    larger of the two, and `gradients` is only the excess over the activations.
    """
    if s.rank is None and how not in ("one GPU", "ddp"):
        s = replace(s, weights="bf16")  # gathered weights, and so the residual stream, have 16 bits
    parts = _states(shape, s, how, count) | {"gathered copies": _gathered(shape, s, how)}
    saved, layer = activations(shape, s)
    loss = loss_buffers(shape, s)
    alive = saved + max(loss, layer)
    if not s.accumulate and how in ("one GPU", "ddp"):
        parts["gradients"] = max(0.0, parts["gradients"] - alive + layer)
    parts["activations"], parts["loss"] = saved + max(0.0, layer - loss), loss
    parts["framework"] = (FRAMEWORK + (NCCL if count > 1 else 0.0)) * GIB + SLACK * alive
    return {name: value / GIB for name, value in parts.items()}


def _states(shape: Shape, s: Setting, how: Sharding, count: int) -> dict[str, float]:
    """Return the bytes of weights, adapter, gradients and optimizer states on one GPU.

    ZeRO paper, section 5: DDP keeps everything; ZeRO-1 shards optimizer states, ZeRO-2 also gradients, ZeRO-3
    and FSDP2 also weights. FSDP2 keeps fp32 weights (Accelerate casts them), DeepSpeed 16-bit weights and
    gradients and an fp32 master copy in addition to the moments (K = 12). Offloading keeps all of it in host
    memory.
    """
    full, trained = s.rank is None, trained_parameters(shape, s)
    width = (4 if s.weights == "fp32" else 2) if full else (4 if s.adapter_fp32 else 2)
    base, adapter = base_bytes(shape, s), 0.0 if full else trained * float(width)
    gradients, optimizer = trained * float(width), trained * STATES.get(s.optimizer, 2.0 * width)
    if full and how == "fsdp2":
        base, gradients, optimizer = trained * 4.0, trained * 4.0, trained * STATES.get(s.optimizer, 8.0)
    if full and how.startswith("zero"):
        base, gradients, optimizer = trained * 2.0, trained * 2.0, trained * 12.0
    if how == "offload":
        base = adapter = gradients = optimizer = 0.0
    if how in ("fsdp2", "zero3"):
        base, adapter = base / count, adapter / count
    if how in ("fsdp2", "zero2", "zero3"):
        gradients /= count
    if how in ("fsdp2", "zero1", "zero2", "zero3"):
        optimizer /= count
    return {"weights": base, "adapter": adapter, "gradients": gradients, "optimizer": optimizer}


def _gathered(shape: Shape, s: Setting, how: Sharding) -> float:
    """Return the bytes of weights that exist a second time: autocast's 16-bit copies, which live until the
    forward pass is over, DDP's gradient buckets, layers gathered from other GPUs, unpacked 4-bit weights.

    FSDP2 gathers the current layer and the next one, and one layer's gradients before they are sharded;
    embedding and output layer stay gathered (PyTorch, fully_shard).
    """
    full, trained = s.rank is None, trained_parameters(shape, s)
    copies = 2.0 * shape.largest_matrix if s.weights in QUANTISED else 0.0
    if not full and s.adapter_fp32:
        copies += trained * 2.0
    if full and s.weights == "fp32":
        copies += shape.matrix_parameters * 2.0 + shape.vocab * shape.hidden * 2.0
    if how == "ddp":
        copies += trained * (4.0 if s.weights == "fp32" or not full else 2.0)
    if how in ("fsdp2", "offload", "zero3"):
        element = base_bytes(shape, s) / shape.parameters
        copies += 2 * shape.largest_layer * element + shape.embedding_parameters * 2.0
    if full and how in ("fsdp2", "offload"):
        copies += (shape.largest_layer + shape.embedding_parameters) * 4.0
    return copies


def total(shape: Shape, s: Setting, how: Sharding = "one GPU", count: int = 1) -> float:
    """Return the peak memory of one GPU in GiB."""
    return sum(components(shape, s, how, count).values())


def host_gib(shape: Shape, s: Setting, how: Sharding) -> float:
    """Return the host memory in GiB that the offloaded shards of all GPUs need together."""
    if how != "offload":
        return 0.0
    trained = trained_parameters(shape, s)
    return (base_bytes(shape, s) * (2 if s.rank is None else 1) + trained * (4 + 8.0)) / GIB


def largest_rows(shape: Shape, s: Setting, gib: float, most: int, how: Sharding, count: int) -> int:
    """Return the largest micro batch, at most `most`, that fits `gib`; 1 if none does."""
    for rows in range(most, 1, -1):
        if total(shape, replace(s, rows=rows, accumulate=True), how, count) <= gib:
            return rows
    return 1
