"""What `make check` says of a config: each rule fires where it should, and is quiet on what is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.config.test_resolve import make  # noqa: F401 (a fixture)
from tunebook.check.config import check_config, config_findings, requested_and_effective
from tunebook.check.findings import Finding
from tunebook.check.tokens import steps
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.errors import InputError

LORA, FULL, PACKED = "classify-lora", "classify-full", "chat-lora"
STOP_EARLY, FUSED = "early_stopping_patience=3", "base_model=microsoft/Phi-4-mini-reasoning"
FLASH = "attn_implementation=flash_attention_2"
BEST, ACCUMULATION = "load_best_model_at_end", "gradient_accumulation_steps"
DELETED = "training.checkpoints_deleted"
CASES = [
    # recipe, overlay, SET, grade, key, code
    (FULL, None, "learning_rate=2e-4", "warning", "learning_rate", "training.rate_of_lora"),
    (LORA, None, "learning_rate=1e-5", "warning", "learning_rate", "training.rate_of_full_tuning"),
    (LORA, None, "lora_alpha=8", "warning", "lora_alpha", "training.unusual_alpha"),
    (LORA, None, "lora_alpha=128", "warning", "lora_alpha", "training.unusual_alpha"),
    (LORA, None, "lora_r=2 lora_alpha=4", "warning", "lora_r", "training.unusual_rank"),
    (LORA, None, "lora_r=512 lora_alpha=1024", "warning", "lora_r", "training.unusual_rank"),
    (LORA, None, "lora_alpha=null", "error", "lora_r", "training.no_rank"),
    (LORA, None, "lora_target_linear=null", "error", "lora_target_linear", "training.no_target_layers"),
    (LORA, None, "adapter=null learning_rate=2e-5", "warning", "lora_r", "training.adapter_key_unused"),
    (FULL, None, "learning_rate=1e-5", "", "bf16", ""),  # its weights are fp32 by a plugin
    (FULL, None, "plugins=null", "warning", "bf16", "training.steps_round_away"),
    (LORA, None, "adapter=null learning_rate=1e-5", "warning", "bf16", "training.steps_round_away"),
    (
        LORA,
        None,
        "early_stopping_patience=3",
        "error",
        "early_stopping_patience",
        "training.early_stopping_steps",
    ),
    (LORA, None, "early_stopping_patience=3 eval_steps=5 save_steps=5", "", "early_stopping_patience", ""),
    (
        LORA,
        None,
        "load_best_model_at_end=true",
        "warning",
        "load_best_model_at_end",
        "training.best_model_ignored",
    ),
    (LORA, None, "num_epochs=6", "note", "save_total_limit", DELETED),
    (LORA, None, "save_total_limit=2", "note", "save_total_limit", DELETED),
    (LORA, None, "save_total_limit=null", "note", "save_total_limit", DELETED),
    (LORA, None, "max_steps=90 save_steps=10 saves_per_epoch=null", "note", "save_total_limit", DELETED),
    (LORA, None, "num_epochs=6 metric_for_best_model=eval_loss", "", "save_total_limit", ""),
    (LORA, None, "", "", "save_total_limit", ""),
    (FULL, None, "num_epochs=9", "", "save_total_limit", ""),
    (LORA, None, "save_only_model=true", "warning", "save_only_model", "training.cannot_resume"),
    (LORA, None, "sequence_len=null", "warning", "sequence_len", "model.no_sequence_len"),
    (
        LORA,
        None,
        "excess_length_strategy=null",
        "warning",
        "excess_length_strategy",
        "model.no_excess_strategy",
    ),
    (PACKED, None, "attn_implementation=null", "warning", "sample_packing", "model.packed_attention"),
    (PACKED, None, "base_model=Qwen/Qwen3.5-4B", "note", "sample_packing", "model.packed_by_kernels"),
    (PACKED, None, "base_model=Some/qwen3.5-4b", "warning", "sample_packing", "model.packed_state"),
    (PACKED, None, "group_by_length=true", "note", "group_by_length", "model.group_by_length_unused"),
    (PACKED, "24gb", "eval_batch_size=64", "warning", "eval_batch_size", "model.large_logits"),
    (PACKED, "24gb", "", "", "eval_batch_size", ""),
    (LORA, None, "base_model=Some/Model-Base", "warning", "special_tokens", "model.turn_end_not_named"),
    (LORA, None, "chat_template=qwen3", "warning", "chat_template", "model.thinking_template"),
    (
        LORA,
        None,
        "base_model=microsoft/Phi-4-mini-reasoning",
        "warning",
        "lora_qkv_kernel",
        "model.kernels_crash",
    ),
    (LORA, None, "micro_batch_size=64", "note", "micro_batch_size", "training.large_batch_for_lora"),
    (LORA, None, "max_steps=100", "note", "max_steps", "training.max_steps_wins"),
    ("classify-head", "24gb", "micro_batch_size=2", "", "gradient_accumulation_steps", ""),
    ("chat-dpo", None, "", "", "gradient_accumulation_steps", ""),
    (LORA, None, "val_set_size=0.1", "error", "val_set_size", "config.random_dev_split"),
    (LORA, None, "seed=null", "error", "seed", "config.no_seed"),
    (LORA, None, "datasets=null", "error", "datasets", "config.no_datasets"),
    (LORA, "t4-16gb", FLASH, "error", "attn_implementation", "config.unsupported_by_gpu"),
]


def findings(name: str, overlay: str | None, overrides: str, there: object | None = True) -> list[Finding]:
    """`there` is flash-linear-attention, which conftest.py hides where no GPU runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tunebook.check.model_rules.find_spec", lambda name: there)
        return _findings(name, overlay, overrides)


def _findings(name: str, overlay: str | None, overrides: str) -> list[Finding]:
    options = Options("real", overlay, set=overrides)
    return config_findings(resolve(recipes.load_recipe(name), options, for_this_machine=False))


def test_packed_qwen35_needs_flash_linear_attention() -> None:
    found = findings(PACKED, None, "base_model=Qwen/Qwen3.5-4B", there=None)
    assert [(one.grade, one.key) for one in found if one.code == "model.packing_needs"] == [
        ("warning", "sample_packing")
    ]
    unpacked = findings(PACKED, None, "base_model=Qwen/Qwen3.5-4B sample_packing=false")
    assert not [one for one in unpacked if one.code.startswith("model.pack")]


@pytest.mark.parametrize(
    ("name", "overlay", "overrides", "grade", "key", "code"), CASES, ids=[f"{c[0]} {c[2]}" for c in CASES]
)
def test_a_rule_fires_with_its_grade(
    name: str, overlay: str | None, overrides: str, grade: str, key: str, code: str
) -> None:
    found = [finding for finding in findings(name, overlay, overrides) if finding.key == key]
    if not grade:
        assert found == []
        return
    assert [(finding.grade, finding.code) for finding in found] == [(grade, code)]
    assert found[0].file


@pytest.mark.parametrize("gpus", [1, 2])
def test_a_mean_of_means_is_a_warning_where_the_lane_takes_it(lane: str, gpus: int) -> None:
    """Axolotl 0.21 counts the tokens of all micro batches itself, but not those of other GPUs."""
    options = Options("real", set="plugins=null", gpus=gpus)
    found = config_findings(resolve(recipes.load_recipe(PACKED), options, for_this_machine=False))
    codes = {finding.code for finding in found}
    assert ("training.mean_of_micro_batches" in codes) == (lane == "0.19.0" or gpus == 2)


@pytest.mark.parametrize("name", recipes.names())
def test_shipped_recipes_have_nothing_to_be_said_of_them(name: str) -> None:
    assert [str(finding) for finding in findings(name, None, "")] == []


@pytest.mark.parametrize("name", recipes.names())
def test_no_shipped_trial_is_stopped(name: str) -> None:
    """There the files of the base are on this machine, and its names are compared."""
    recipe = recipes.load_recipe(name)
    if recipe.trial:
        check_config(resolve(recipe, Options("trial", "cpu")))


def test_only_errors_stop_a_run() -> None:
    warned = resolve(recipes.load_recipe(FULL), Options("real", set="learning_rate=2e-4"), False)
    check_config(warned)
    wrong = resolve(recipes.load_recipe(FULL), Options("real", set="learning_rate=2e-4 seed=null"), False)
    with pytest.raises(InputError) as caught:
        check_config(wrong)
    assert caught.value.codes == ["config.no_seed"]


def test_a_finding_says_where_what_and_on_what_evidence(tmp_path: Path) -> None:
    (finding,) = findings(LORA, None, "lora_alpha=8")
    text = str(finding)
    assert text.startswith("--set (SET=): lora_alpha: alpha / rank is 0.5")
    assert "Use 32" in text and text.endswith("(https://arxiv.org/abs/2405.09673)")


def test_dev_rows_that_are_the_test_split_are_an_error(make: Any) -> None:  # noqa: F811
    from tests.config.test_resolve import RECIPE

    wrong = "test_datasets:\n  - path: datasets/kettlewick-intents/rows/test.jsonl\n    type: chat_template\n"
    recipe = make(RECIPE + wrong)
    found = [f for f in config_findings(resolve(recipe, Options("real"), False)) if f.grade == "error"]
    assert [(f.key, f.code) for f in found] == [("test_datasets[0].path", "config.not_the_dev_split")]
    assert found[0].line == RECIPE.count("\n") + 2


@pytest.mark.parametrize(
    ("config", "rows", "lengths", "count"),
    [
        ({"num_epochs": 3}, 640, None, 120),
        ({"num_epochs": 3, "max_steps": 7}, 640, None, 7),
        (
            {"num_epochs": 1, "sample_packing": True, "sequence_len": 1000},
            640,
            {"total": 5000, "rows": 20},
            10,
        ),
        ({"num_epochs": 1, "sample_packing": True}, 640, None, None),
        ({}, 3, None, 1),
    ],
)
def test_steps(config: dict, rows: int, lengths: dict | None, count: int | None) -> None:
    assert steps(config, 16, rows, lengths)[0] == count


def test_requested_and_effective_shows_what_axolotl_changes() -> None:
    resolved = resolve(recipes.load_recipe(PACKED), Options("real", "24gb"), for_this_machine=False)
    effective = {
        **resolved.config,
        "eval_sample_packing": True,
        "bf16": True,
        "load_best_model_at_end": False,
    }
    rows = {
        row["key"]: (row["recipe.yaml"], row["effective"])
        for row in requested_and_effective(resolved, effective)
    }
    assert rows["eval_sample_packing"] == ("not set", "True")
    assert rows["bf16"] == ("auto", "True")
    assert "load_best_model_at_end" not in rows and "datasets" not in rows
