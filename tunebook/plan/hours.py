"""FLOPs and time of training and evaluation, from shapes alone.

FLOPs: a matrix product costs 2 FLOPs per weight and token in the forward pass and 4 in the backward pass
(Kaplan et al. 2020, arXiv 2001.08361, section 2.1; Hoffmann et al. 2022, arXiv 2203.15556, appendix F): 6 N
for full fine-tuning, 4 N for an adapter, whose frozen base model needs no weight gradients, plus one more
forward pass through the layers with activation checkpointing. Attention is added. Time: FLOPs over the GPU's
peak FLOP/s times the share of the peak that is reached (hardware/facts/gpus.yaml), as a range; never less
than the time a CPU needs to launch the kernels of a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tunebook.core.files import AxolotlConfig
from tunebook.data.dataset import Dataset
from tunebook.evaluation.contenders import PLAIN, Prompting, promptings
from tunebook.evaluation.jobs import batch_rows
from tunebook.evaluation.suite import Suite
from tunebook.hardware.gpus import Gpu
from tunebook.hardware.memory_settings import Setting
from tunebook.models.architecture import Shape
from tunebook.plan.rows import Rows

# Estimated, not measured here. Seconds a CPU needs to launch the kernels of a decoder layer: for a training
# step (forward and backward), and for one generated token.
STEP_LAUNCH, TOKEN_LAUNCH = (0.0008, 0.003), (0.0003, 0.0012)
# Unpacking 4-bit weights at every use makes training 2 % (3B on an A100) to 28 % (8B on a 4090) slower
# (torchtune README).
UNPACKING = (1.02, 1.28)
# The share of their speed that several GPUs keep when connected by NVLink, by PCIe only, or over a network.
NVLINK, PCIE, NETWORK = (0.97, 0.85), (0.90, 0.50), (0.95, 0.70)
CARDS_A_MACHINE = 8
# Loading, tokenising, compiling kernels; download speed from the Hub in bytes per second.
START_SECONDS, DOWNLOAD = (90.0, 300.0), (1e9, 1e8)
CHUNK = 64  # tokens that the kernels of linear attention take at a time (flash-linear-attention)
BANDWIDTH = (0.8, 0.5)  # share of the memory bandwidth reached in decoding


@dataclass(frozen=True)
class Range:
    """A range of numbers from `low` to `high`."""

    low: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Range:
        return Range(self.low * factor, self.high * factor)


def forward_flops(shape: Shape, length: float, causal: bool = True) -> float:
    """Return the FLOPs of one token's forward pass in a row of `length` tokens.

    The output layer counts; the input embedding is a look-up. Attention costs 4 x query width x length for
    computing and applying the scores (Kaplan et al., table 1), half of it if attention is causal.
    """
    return 2 * (shape.matrix_parameters + shape.vocab * shape.hidden) + attention_flops(shape, length, causal)


def attention_flops(shape: Shape, length: float, causal: bool = True) -> float:
    """Return the attention FLOPs of one token's forward pass.

    A sliding window sees no more than its own length. Linear attention works on chunks of CHUNK tokens:
    within one as attention does, and three times with the state of each head (Yang et al. 2024, arXiv
    2412.06464, section 3.3).
    """
    flops = 0.0
    for layer in shape.kinds:
        if layer.delta:
            heads, key, value = layer.heads, layer.delta.key_dim, layer.delta.value_dim
            flops += layer.count * heads * (6 * key * value + 4 * CHUNK * (key + value))
        else:
            seen = length * (0.5 if causal else 1.0)
            flops += layer.count * 4 * layer.query * min(seen, layer.window or seen)
    return flops


def step_flops(shape: Shape, s: Setting, length: float, causal: bool = True) -> float:
    """Return the FLOPs of training on one token: forward, backward, and recomputation.

    The backward pass of flash attention recomputes the scores and costs 2.5 times its forward pass (Dao et
    al. 2022, arXiv 2205.14135, algorithm 4), that of eager attention twice its forward pass. The adapter's
    own matrices cost 6 FLOPs per weight.
    """
    output = 2 * shape.vocab * shape.hidden
    attention = attention_flops(shape, length, causal)
    layers = 2 * shape.matrix_parameters
    back = 2.0 if s.attention == "eager" else 2.5
    share = 1.0
    if s.rank is not None and s.adapted_layers is not None:
        share = s.adapted_layers / shape.layers  # the backward pass stops at the lowest adapted layer
    again = s.checkpointing * (layers + attention)
    if s.rank is None:
        return 3 * (layers + output) + (1 + back) * attention + again
    adapter = 6 * shape.adapter_parameters(s.rank, s.adapted_layers)
    backward = share * (layers + back * attention) + output
    return layers + output + attention + backward + adapter + again


@dataclass(frozen=True)
class Work:
    """A training run: `tokens` counts all processed tokens, padding included; `length` is the attention
    length. With preference pairs, a reference model processes all tokens as well."""

    steps: int
    micro_steps: int
    tokens: float
    length: float
    dev_tokens: float
    pairs: bool = False


def work(config: AxolotlConfig, rows: Rows, count: int) -> Work | None:
    """Return the work of a config on `count` GPUs; None if the number of rows is unknown and `max_steps` is
    not set."""
    length = config.get("sequence_len", 512)
    micro, accumulate = config.get("micro_batch_size", 1), config.get("gradient_accumulation_steps", 1)
    batch = micro * accumulate * count
    mean = min(rows.mean or length, length)
    if config.get("sample_packing"):
        # Sequences are filled to about 95 % (Krell et al. 2021, arXiv 2107.02027: over 99 % at best).
        sequences = None if rows.train is None else math.ceil(rows.train * mean / (0.95 * length))
        padded = float(length)
    else:
        sequences = rows.train
        padded = float(length) if config.get("pad_to_sequence_len") else _padded(config, rows, micro, mean)
    steps = config.get("max_steps") or 0
    if steps <= 0:
        if sequences is None:
            return None
        steps = max(1, math.ceil(sequences * config.get("num_epochs", 1) / batch))
    epochs = steps * batch / sequences if sequences else 1.0
    looks = round(config.get("evals_per_epoch", 0) * epochs)
    dev = looks * (rows.dev or 0) * (mean if config.get("sample_packing") else padded)
    pairs = bool(config.get("rl"))
    both = 2 if pairs else 1  # the two answers of a pair are about equally long
    tokens = steps * batch * padded * both
    return Work(steps, steps * accumulate, tokens, min(mean, padded), dev * both, pairs)


def _padded(config: AxolotlConfig, rows: Rows, micro: int, mean: float) -> float:
    """Return the mean row length after padding to the longest row of each micro batch."""
    if config.get("group_by_length") or len(rows.lengths) < 2 or micro == 1:
        return mean * (1.05 if micro > 1 else 1.0)
    ordered = sorted(rows.lengths)
    n = len(ordered)
    # The expected maximum of `micro` draws, from the order statistics of the sample.
    expected = sum(x * ((i / n) ** micro - ((i - 1) / n) ** micro) for i, x in enumerate(ordered, 1))
    return min(expected, config.get("sequence_len", 512))


def train_seconds(shape: Shape, s: Setting, todo: Work, gpu: Gpu, count: int, machines: int = 1) -> Range:
    """Return how long training takes, including its evaluations on dev."""
    flops = todo.tokens * step_flops(shape, s, todo.length)
    read = todo.dev_tokens + (todo.tokens + todo.dev_tokens if todo.pairs else 0.0)
    flops += read * forward_flops(shape, todo.length)
    peak = gpu.tflops * 1e12 * count
    low, high = flops / (peak * gpu.utilisation.high), flops / (peak * gpu.utilisation.low)
    if s.weights in ("4bit", "8bit"):
        low, high = low * UNPACKING[0], high * UNPACKING[1]
    if count > 1:
        best, worst = NETWORK if machines > 1 else NVLINK if gpu.nvlink else PCIE
        low, high = low / best, high / worst
    launches = [todo.micro_steps * shape.layers * seconds for seconds in STEP_LAUNCH]
    return Range(max(low, launches[0]), max(high, launches[1]))


@dataclass(frozen=True)
class EvaluationJob:
    """One job of the evaluation: `rows` prompts of `prompt` tokens each, to be processed as `kind` says."""

    kind: Literal["generate", "score", "rank"]
    rows: int
    prompt: float
    answer: Range


def evaluation_jobs(dataset: Dataset, suite: Suite, rows: Rows, adapter: bool) -> list[EvaluationJob]:
    """Return the jobs of tunebook/evaluation/evaluator.py: choosing the baseline on dev; then, on test, the
    plain base model, its best prompt (assumed to be the longest), and the fine-tuned model."""
    test, dev = rows.test or 0, min(suite.dev_rows, rows.dev or 0)
    if suite.mode == "quick":
        test = rows.dev or 0
    shot = rows.prompt + rows.answer
    instructions = len(dataset.baseline_prompt or "") / 4
    new = Range(min(rows.answer, suite.max_new_tokens), suite.max_new_tokens)
    answer = Range(rows.answer, rows.answer)
    labels = sum(len(label) / 3 + 1 for label in dataset.labels)

    def prompt(prompting: Prompting) -> float:
        return (
            rows.prompt + prompting.few_shot * suite.shots * shot + prompting.baseline_prompt * instructions
        )

    candidates = promptings(dataset)
    scored = {"chat": 1, "preference": 2}.get(dataset.task, 0)  # answers of a row
    jobs = []
    for prompting in candidates:
        if scored:
            jobs += [EvaluationJob("score", dev, prompt(prompting), answer)] * scored
        elif prompting.method == "rank":
            jobs.append(EvaluationJob("rank", dev, prompt(prompting), Range(labels, labels)))
        else:
            jobs.append(EvaluationJob("generate", dev, prompt(prompting), new))
    longest = max(candidates, key=prompt)
    generated = min(suite.generate_rows or test, test)
    for prompting in (PLAIN, longest, PLAIN):
        jobs.append(EvaluationJob("generate", generated, prompt(prompting), new))
        jobs += [EvaluationJob("score", test, prompt(prompting), answer)] * scored
    if adapter:
        jobs += [EvaluationJob("generate", suite.agreement_rows, rows.prompt, new)] * 2
    return jobs


def evaluation_seconds(shape: Shape, jobs: list[EvaluationJob], gpu: Gpu, count: int) -> Range:
    """Return how long the evaluation takes, with batches divided over `count` GPUs.

    Each prompt is processed once, at the utilisation of training. Each further token reads all weights and
    the cache once per batch (Pope et al. 2022, arXiv 2211.05102, section 2), or waits for the CPU to launch
    its kernels."""
    total = [0.0, 0.0]
    for job in jobs:
        size = batch_rows(job.kind, round(job.prompt), round(job.answer.high))
        batches = math.ceil(job.rows / size)
        a_card = math.ceil(batches / count)
        for side, (reach, width, launch) in enumerate(
            zip((gpu.utilisation.high, gpu.utilisation.low), BANDWIDTH, TOKEN_LAUNCH, strict=True)
        ):
            answer = (job.answer.low, job.answer.high)[side]
            read = job.prompt + (0 if job.kind == "generate" else answer)
            flops = size * read * forward_flops(shape, read)
            seconds = max(flops / (gpu.tflops * 1e12 * reach), shape.layers * launch)
            if job.kind == "generate":
                cache = size * (job.prompt + answer / 2) * shape.cache_width * 2
                token = (_read_by(shape, size) * 2 + cache) / (gpu.gbs * 1e9 * width)
                seconds += answer * max(token, shape.layers * launch)
            total[side] += a_card * seconds
    return Range(total[0], total[1])


def _read_by(shape: Shape, rows: int) -> float:
    """Return how many weights one generated token of `rows` rows reads: of a mixture of experts, those that
    at least one row is sent to, if each is as likely as the others."""
    if shape.experts is None:
        return shape.parameters
    missed = (1 - shape.experts.used / shape.experts.total) ** rows
    experts = sum(layer.count * layer.experts for layer in shape.kinds)
    return shape.parameters - missed * experts


def start_seconds(shape: Shape) -> Range:
    """Return the time before the first step: downloading the weights, and set-up."""
    size = shape.parameters * 2
    return Range(START_SECONDS[0] + size / DOWNLOAD[0], START_SECONDS[1] + size / DOWNLOAD[1])


def machines(count: int) -> int:
    """Return over how many machines `count` GPUs are distributed."""
    return math.ceil(count / CARDS_A_MACHINE)
