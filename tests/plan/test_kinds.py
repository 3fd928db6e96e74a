"""`make plan` for models whose layers differ: memory by torch's tracker, arithmetic and caches by hand."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from tunebook.core.paths import ROOT
from tunebook.hardware import memory
from tunebook.hardware.memory import GIB
from tunebook.hardware.memory_settings import Setting
from tunebook.models import shapes
from tunebook.plan import evaluation_memory, hours

LORA = Setting(1, 4096, True, rank=32)
MIXTURE, HYBRID = shapes.find("openai/gpt-oss-20b"), shapes.find("Qwen/Qwen3.5-9B")
GEMMA, UNIFIED = shapes.find("google/gemma-4-E4B-it"), shapes.find("google/gemma-4-12B-it")


def test_a_mixture_is_in_memory_whole_and_computes_a_part() -> None:
    assert memory.components(MIXTURE, LORA)["weights"] == pytest.approx(2 * MIXTURE.parameters / GIB)
    four = memory.components(MIXTURE, replace(LORA, weights="4bit"))["weights"]
    attention = 24 * (2 * 2880 * 4096 + 2 * 2880 * 512)
    assert MIXTURE.quantised_parameters == attention
    assert four == pytest.approx((2 * MIXTURE.parameters - 1.484 * attention) / GIB, rel=0.01)
    used = MIXTURE.active_parameters - MIXTURE.embedding_parameters
    assert hours.forward_flops(MIXTURE, 0) == pytest.approx(2 * (used + 201088 * 2880), rel=0.01)


def test_of_a_mixture_many_rows_read_all_experts() -> None:
    one, many = (hours._read_by(MIXTURE, rows) for rows in (1, 64))
    assert one == pytest.approx(MIXTURE.active_parameters)
    assert 0.99 * MIXTURE.parameters < many <= MIXTURE.parameters


def test_linear_attention_caches_a_state_and_not_the_row() -> None:
    full = 8 * 2 * 4 * 256  # keys and values of eight layers with four heads each
    assert HYBRID.cache_width == full
    state = 24 * 32 * 128 * 128 * 4
    parts, _ = evaluation_memory.evaluation(HYBRID, LORA, [1000], 0, 24)
    assert parts["KV cache"] == pytest.approx(24 * (1024 * full * 2 + state) / GIB)
    short, long = (hours.attention_flops(HYBRID, length) for length in (4096, 8192))
    assert long - short == pytest.approx(8 * 4 * 4096 * 2048)


def test_gemma_counts_windows_and_shared_keys() -> None:
    assert GEMMA.cache_width == 20 * 2 * 2 * 256 + 4 * 2 * 2 * 512, "the last 18 layers have no keys"
    short, long = (hours.attention_flops(UNIFIED, length) for length in (4096, 8192))
    assert long - short == pytest.approx(8 * 4 * 16 * 512 * 2048), "only eight of 48 layers see more"


@pytest.mark.long
def test_a_small_model_with_linear_attention_is_tracked_as_planned() -> None:
    code = """
from tests.support.delta_kernels import put_in_place
put_in_place()
from benchmarks.plan_memory import tensors_gib, track
from tunebook.hardware.memory_settings import Setting
from tunebook.models.architecture import Delta, Shape
delta = Delta(every=4, key_heads=4, value_heads=8, key_dim=64, value_dim=64, conv=4)
shape = Shape(layers=4, hidden=512, intermediate=1792, heads=4, kv_heads=1, head_dim=128, vocab=2048,
    tied=True, qk_norm="head", gate=True, delta=delta)
for rank, checkpointing in ((8, False), (8, True), (None, False)):
    s = Setting(2, 512, False, rank=rank, checkpointing=checkpointing)
    print(tensors_gib(shape, s) / track(shape, s))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-3000:]
    found = [float(line) for line in result.stdout.splitlines()[-3:]]
    assert all(1 <= ratio <= 1.15 for ratio in found), found
