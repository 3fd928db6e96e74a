"""Evaluation settings: per-tier values, a recipe's own eval.yaml, and faults found before training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tunebook.config import recipe as recipes
from tunebook.config.overrides import Tier
from tunebook.core.errors import InputError
from tunebook.evaluation import suite

RECIPE = recipes.load_recipe("chat-lora")


def test_each_tier_gets_its_values() -> None:
    trial, real = (suite.load_suite(RECIPE, "chat", tier, "default") for tier in ("trial", "real"))
    assert (trial.max_new_tokens, trial.generate_rows, trial.dev_rows) == (64, 48, 40)
    assert (real.max_new_tokens, real.generate_rows, real.dev_rows) == (512, None, 200)
    assert suite.load_suite(RECIPE, "chat", "trial", "full").generate_rows is None


@pytest.mark.parametrize("task", ["chat", "classification", "qa"])
def test_reasoning_gets_room_and_is_asked_for_again(task: str) -> None:
    plain = suite.load_suite(RECIPE, task, "real", "full")
    shown = suite.load_suite(RECIPE, task, "real", "full", "", "mask")
    off = suite.load_suite(RECIPE, task, "real", "full", "", "off")
    assert shown.max_new_tokens == plain.max_new_tokens + 2048
    assert shown.style and plain.style
    assert shown.style.max_new_tokens == plain.style.max_new_tokens + 2048
    assert off.max_new_tokens == plain.max_new_tokens
    assert (
        {*shown.retention} - {*plain.retention}
        == {"instructions_thinking"}
        == {*off.retention} - {*plain.retention}
    )
    default = suite.load_suite(RECIPE, task, "real", "default", "", "off").retention
    assert default["instructions_thinking"].margin == (0.15 if task == "chat" else None)


def test_without_thinking_the_settings_hash_as_before() -> None:
    whole = suite.load_suite(RECIPE, "chat", "real", "full").model_dump()
    assert "thinking_tokens" not in whole
    assert not any({"thinking", "max_new_tokens"} & {*task} for task in whole["retention"].values())
    shown = suite.load_suite(RECIPE, "chat", "real", "full", "", "keep")
    again = suite.Suite.model_validate(shown.model_dump())
    assert again == shown.model_copy(update={"thinking_tokens": 0})
    assert again.retention["instructions_thinking"].thinking


def test_answering_in_a_fixed_form_is_a_fault_of_chat_alone() -> None:
    for task in ("chat", "classification", "qa"):
        found = suite.load_suite(RECIPE, task, "trial", "full").retention
        assert found["instructions"].margin == (0.15 if task == "chat" else None)
        assert found["choices"].margin == 0.15


@pytest.mark.parametrize("task", ["classification", "qa"])
@pytest.mark.parametrize("tier", ["trial", "real"])
def test_a_run_with_replay_has_to_keep_what_replay_is_for(task: str, tier: Tier) -> None:
    plain = suite.load_suite(replace(RECIPE, eval={}), task, tier, "full", "", "off").retention
    mixed = suite.load_suite(replace(RECIPE, eval={}), task, tier, "full", "", "off", True).retention
    kept = {name: task.margin for name, task in mixed.items() if task != plain[name]}
    both = {"general": 0.15, "instructions": 0.15, "instructions_thinking": 0.15}
    assert kept == both | ({} if tier == "trial" else {"gsm8k": 0.05, "ifeval": 0.05})
    assert plain["general"].margin == 0.25
    assert all(plain[name].margin is None for name in kept if name != "general")


def test_a_recipes_eval_yaml_has_its_own_margins_with_replay() -> None:
    own = {
        "retention": {"general": {"margin": 0.5}},
        "with_replay": {"retention": {"general": {"margin": 0.3}}},
    }
    recipe = replace(RECIPE, eval=own)
    margins = [
        suite.load_suite(recipe, "qa", "trial", "default", replay=replay).retention["general"].margin
        for replay in (False, True)
    ]
    assert margins == [0.5, 0.3]
    unknown = replace(RECIPE, eval={"with_replay": {"retentoin": {}}})
    with pytest.raises(InputError, match="retentoin"):
        suite.load_suite(unknown, "qa", "trial", "default", replay=True)


def test_a_gate_may_be_a_multiple_of_the_plain_base_only() -> None:
    gates = {"loss": {"times": "svm", "at_most": 1.05}}
    with pytest.raises(InputError) as caught:
        suite.load_suite(replace(RECIPE, eval={"gates": gates}), "preference", "trial", "default")
    assert [(one.code, one.key) for one in caught.value.problems] == [("eval.bad_suite", "gates.loss.times")]


@pytest.mark.parametrize("task", ["chat", "classification", "preference", "qa"])
def test_how_much_worse_an_exported_file_may_be_is_a_setting_of_the_task(task: str) -> None:
    for tier, worse in (("trial", 0.01), ("real", 0.05)):
        recipe = replace(RECIPE, eval={"export_tolerance": {"trial": 0.01, "real": 0.05}})
        assert suite.load_suite(recipe, task, tier, "default").export_tolerance == worse
    assert suite.load_suite(replace(RECIPE, eval={}), task, "trial", "default").export_tolerance == 0.02


@pytest.mark.parametrize("value", [0, -0.1, 2, float("nan"), "much"])
def test_a_tolerance_that_is_no_share_is_refused(value: object) -> None:
    with pytest.raises(InputError) as caught:
        suite.load_suite(replace(RECIPE, eval={"export_tolerance": value}), "qa", "trial", "default")
    assert [(one.code, one.key) for one in caught.value.problems] == [("eval.bad_suite", "export_tolerance")]


def model(folder: Path, *, template: bool = True) -> str:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "x"} if template else {}))
    return str(folder)


def test_models_beside_are_asked_when_named_or_with_full(tmp_path: Path) -> None:
    one, two = model(tmp_path / "one"), model(tmp_path / "two")
    recipe = replace(RECIPE, eval={"beside": {"trial": [one], "real": []}})
    asked = {
        mode: suite.load_suite(recipe, "chat", "trial", mode).beside for mode in ("quick", "default", "full")
    }
    assert asked == {"quick": [], "default": [], "full": [one]}
    assert suite.load_suite(recipe, "chat", "real", "full").beside == []
    assert suite.load_suite(recipe, "chat", "trial", "default", f"{one} {two}").beside == [one, two]


def test_a_recipe_on_a_base_model_names_what_its_vendor_made_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "ask_beside", lambda *_: None)  # the Hub is asked when it runs
    bases = [name for name in recipes.names() if "-Base" in recipes.load_recipe(name).config["base_model"]]
    assert bases
    for name in bases:
        beside = suite.load_suite(recipes.load_recipe(name), "chat", "real", "full").beside
        assert beside == [recipes.load_recipe(name).config["base_model"].removesuffix("-Base")]


def test_a_model_beside_that_cannot_be_asked_is_refused_at_once(tmp_path: Path) -> None:
    one, mute = model(tmp_path / "one"), model(tmp_path / "mute", template=False)
    adapter = model(tmp_path / "adapter")
    Path(adapter, "adapter_config.json").write_text("{}")
    for beside, said in (
        (mute, "no chat template"),
        (adapter, "Merge it into its base model first"),
        (f"{one} {model(tmp_path / 'x' / 'ONE')}", "already called 'one'"),
        (model(tmp_path / "tuned"), "already called 'tuned'"),
        (str(tmp_path / "none"), "neither a folder nor a Hub id"),
    ):
        with pytest.raises(InputError, match=said):
            suite.load_suite(RECIPE, "chat", "trial", "default", beside)
    with pytest.raises(InputError) as caught:
        suite.load_suite(RECIPE, "chat", "trial", "quick", one)
    assert caught.value.code == "option.beside_needs_test"


@pytest.mark.parametrize(
    "gates", [{"acuracy": {"at_least": 0.5}}, {"accuracy": {"contender": "tunned", "at_least": 0.5}}]
)
def test_a_gate_that_could_never_fail_is_refused(gates: dict) -> None:
    with pytest.raises(InputError, match="gates") as caught:
        suite.load_suite(replace(RECIPE, eval={"gates": gates}), "chat", "trial", "default")
    assert caught.value.code == "eval.unknown_gate"


@pytest.mark.parametrize("task", ["preference", "qa", "classification"])
def test_all_turns_are_judged_of_conversations_only(task: str) -> None:
    assert suite.load_suite(RECIPE, "chat", "real", "default").evaluate_turns == "all"
    last = replace(RECIPE, eval={"evaluate_turns": {"trial": "all", "real": "last"}})
    assert suite.load_suite(last, "chat", "real", "default").evaluate_turns == "last"
    assert suite.load_suite(RECIPE, task, "real", "default").evaluate_turns == "last"
    with pytest.raises(InputError) as caught:
        suite.load_suite(replace(RECIPE, eval={"evaluate_turns": "all"}), task, "real", "default")
    assert [(one.code, one.key) for one in caught.value.problems] == [
        ("eval.turns_of_chat", "evaluate_turns")
    ]
