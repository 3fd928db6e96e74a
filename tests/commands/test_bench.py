"""The bench: what is measured, what is made of it, and that it runs on a CPU as well."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny
from tests.support.commands import tunebook
from tunebook.commands import bench
from tunebook.data.sampling import enough_rows
from tunebook.hardware import gpus, memory
from tunebook.hardware.memory_settings import Setting
from tunebook.models import shapes, trial_model
from tunebook.plan import hours
from tunebook.report.published import BENCH

BASE = "Qwen/Qwen3-8B"
PACKED = Setting(2, 4096, True, rank=32, checkpointing=True, fused_loss=True)
MEASURED = sorted(BENCH.glob("*.json"))


def raw(seconds: list[float]) -> dict[str, Any]:
    counted = {"tokens": 1000, "real": 900, "trained": 400, "sequences": 9}
    steps = [{"seconds": s, "loss": 3.0 - i, **counted} for i, s in enumerate(seconds)]
    return {"steps": steps, "began": 130.0, "loaded_gib": 15.0, "peak_gib": 50.0, "reserved_gib": 51.0}


def test_the_first_two_steps_do_not_count() -> None:
    found = bench.summary(raw([60.0, 30.0, 1.0, 3.0]), PACKED, BASE, 1, 100.0, gpus.gpu("h200"))
    assert found["tokens_per_second"] == 500
    assert (found["real_tokens_per_second"], found["trained_tokens_per_second"]) == (450, 200)
    assert found["step_seconds"] == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert (found["start_up_seconds"], found["mean_length"]) == (30.0, 100.0)
    assert (found["first_loss"], found["last_loss"]) == (3.0, 0.0)


def test_rates_are_of_all_processes() -> None:
    found = bench.summary(raw([9.0, 9.0, 1.0, 1.0]), PACKED, BASE, 4, 0.0, gpus.gpu("h100"))
    assert found["tokens_per_second"] == 4000
    one = bench.summary(raw([9.0, 9.0, 1.0, 1.0]), PACKED, BASE, 1, 0.0, gpus.gpu("h100"))
    assert (found["mfu"], found["mean_length"]) == (one["mfu"], one["mean_length"])


def test_mfu_counts_the_models_arithmetic_once_and_hfu_what_is_done_again() -> None:
    found = bench.summary(raw([1.0, 1.0, 0.1, 0.1]), PACKED, BASE, 1, 0.0, gpus.gpu("h200"))
    shape = shapes.find(BASE)
    peak = 989e12
    assert found["hfu"] == pytest.approx(10_000 * hours.step_flops(shape, PACKED, 100.0) / peak, abs=1e-4)
    assert found["hfu"] - found["mfu"] == pytest.approx(
        10_000 * hours.forward_flops(shape, 100.0) / peak, rel=0.1
    )


def test_rows_are_repeated_until_no_step_wants() -> None:
    rows: list[Any] = [{"id": "a", "messages": [{"content": "x" * 60}]}]
    plain = enough_rows(rows, {"micro_batch_size": 2, "gradient_accumulation_steps": 3}, 4)
    assert len(plain) == 30 and len({row["id"] for row in plain}) == 30
    packed = enough_rows(rows, {"micro_batch_size": 2, "sample_packing": True, "sequence_len": 100}, 4)
    assert len(packed) == 2 * 5 * 100 / 10


def test_too_few_steps_are_refused() -> None:
    result = tunebook("bench", "chat-lora", "--steps", "2")
    assert result.returncode == 2 and "--steps" in result.stderr


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_plan_is_never_below_a_measured_peak_and_within_15_percent(path: Path) -> None:
    found = json.loads(path.read_text())
    if not found["machine"]["gpus"]:
        pytest.skip("measured on a CPU, which plan is not for")
    planned = memory.total(shapes.find(found["base_model"]), Setting(**found["tunebook"]["plan"]["setting"]))
    held = found["tunebook"]["reserved_gib"]
    assert held <= planned <= 1.15 * held


@pytest.mark.long
def test_axolotl_and_trl_train_the_same_rows_from_random_weights(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    shape, cache, results = tmp_path / "tiny", tmp_path / "cache", tmp_path / "results"
    tiny.save(shape)
    cache.mkdir()
    (cache / "models").symlink_to(trial_model.folder().parent)
    short = "sequence_len=512 micro_batch_size=2 gradient_accumulation_steps=1"
    words = ["bench", "chat-lora", "--tier", "trial", "--hardware", "cpu", "--model", str(shape)]
    words += ["--weights", "random", "--steps", "3", "--against", "trl", "--set", short, "--label", "test"]
    places = {"TUNEBOOK_RUNS": str(tmp_path / "runs"), "TUNEBOOK_CACHE": str(cache)}
    result = tunebook(*words, timeout=600, TUNEBOOK_BENCH=str(results), **places)
    assert result.returncode == 0, result.stdout + result.stderr

    [made] = [path for path in (cache / "random").iterdir() if path.is_dir()]
    sizes = [shapes.find(str(one)).model_copy(update={"positions": None}) for one in (made, shape)]
    assert sizes[0] == sizes[1], "the random model has positions of its own"
    assert AutoTokenizer.from_pretrained(made).eos_token == "<|im_end|>"
    [path] = results.glob("chat-lora-test-random-*.json")
    found = json.loads(path.read_text())
    for side in ("tunebook", "trl"):
        measured = found[side]
        assert measured["steps"] == 1 and measured["step_seconds"]["median"] > 0
        assert 0 < measured["real_tokens_per_second"] <= measured["tokens_per_second"]
        assert measured["peak_gib"] > 0.1
        assert measured["first_loss"] == pytest.approx(math.log(tiny.WORDS), rel=0.05)  # knows nothing
    assert found["tunebook"]["trained_tokens_per_second"] < found["tunebook"]["real_tokens_per_second"]
    assert found["ratio"] > 0 and "times the tokens per second of trl" in result.stdout
    assert not (tmp_path / "runs" / "bench" / "chat-lora" / "train").exists()
