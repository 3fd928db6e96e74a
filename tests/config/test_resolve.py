"""How a run's config is composed, and what makes a run this run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunebook.check.config import check_config
from tunebook.check.machine import check_machine
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options, merge, parse_rows, parse_set, with_set
from tunebook.config.recipe import Recipe
from tunebook.config.resolve import resolve
from tunebook.core.errors import InputError, MachineError
from tunebook.core.files import digest, write_json
from tunebook.core.paths import ROOT
from tunebook.hardware import machine
from tunebook.hardware import overlays as hardware_overlays
from tunebook.models import trial_model
from tunebook.models.registry import model_table, row_keys
from tunebook.runs.run import Run

OVERLAYS = sorted(path.stem for path in (ROOT / "hardware").glob("*.yaml"))
RECIPE = """\
base_model: Qwen/Qwen3-1.7B
chat_template: chatml
datasets:
  - path: datasets/kettlewick-intents/rows/train.jsonl
    type: chat_template
sequence_len: 256
micro_batch_size: 8
gradient_accumulation_steps: 2
learning_rate: 0.0002
num_epochs: 3
gradient_checkpointing: true
plugins: [tunebook.plugins.SeededInit]
seed: 42
"""
TRIAL = f"""\
base_model: {trial_model.NAME}
chat_template: alpaca
num_epochs: 1
gradient_checkpointing: offload
rows: {{train: 10}}
"""
Make = Callable[..., Recipe]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that writes a recipe folder and loads it."""

    def write(recipe: str = RECIPE, trial: str | None = TRIAL) -> Recipe:
        folder = tmp_path / "recipes" / "some"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.yaml").write_text(recipe)
        (folder / "trial.yaml").unlink(missing_ok=True)
        if trial is not None:
            (folder / "trial.yaml").write_text(trial)
        monkeypatch.setenv("TUNEBOOK_RECIPES", str(tmp_path / "recipes"))
        return recipes.load_recipe("some")

    return write


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: [])


def overlay_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, **overlays: str) -> None:
    """Let overlays be read from a folder of the test's own."""
    (folder / "hardware").mkdir()
    for name, text in overlays.items():
        (folder / "hardware" / f"{name}.yaml").write_text(text)
    monkeypatch.setattr("tunebook.hardware.overlays.ROOT", folder)


def identity(recipe: Recipe, **options: Any) -> str:
    return digest(resolve(recipe, Options(**{"tier": "trial", **options}), False).identity)


# Merging


def test_mappings_merge_at_every_depth() -> None:
    below = {"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": 4}
    assert merge(below, {"a": {"b": {"d": 5}}}) == {"a": {"b": {"c": 1, "d": 5}, "e": 3}, "f": 4}


def test_lists_replace_and_plugins_append_once() -> None:
    below = {"datasets": [1, 2], "plugins": ["a", "b"]}
    assert merge(below, {"datasets": [3], "plugins": ["c", "a"]}) == {
        "datasets": [3],
        "plugins": ["a", "b", "c"],
    }
    assert merge({}, {"plugins": ["a"]}) == {"plugins": ["a"]}


def test_null_removes_and_may_name_a_key_that_is_not_there() -> None:
    assert merge({"a": 1, "b": {"c": 1, "d": 2}}, {"a": None, "b": {"c": None}, "x": None}) == {"b": {"d": 2}}


def test_merging_leaves_both_sides_as_they_were() -> None:
    below, above = {"a": {"b": 1}, "plugins": ["x"]}, {"a": {"c": 2}, "plugins": ["y"]}
    merge(below, above)
    assert below == {"a": {"b": 1}, "plugins": ["x"]}
    assert above == {"a": {"c": 2}, "plugins": ["y"]}


# SET


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("learning_rate=1e-4", {"learning_rate": 0.0001}),
        ("lora_r=32 bf16=false adapter=null", {"lora_r": 32, "bf16": False, "adapter": None}),
        (
            "special_tokens.pad_token=x special_tokens.eos_token=y",
            {"special_tokens": {"pad_token": "x", "eos_token": "y"}},
        ),
        ("base_model='a folder/b' eos=\"c d\"", {"base_model": "a folder/b", "eos": "c d"}),
        ("lora_target_modules=[q_proj,v_proj]", {"lora_target_modules": ["q_proj", "v_proj"]}),
        ("a=b=c", {"a": "b=c"}),
        ("'lora_r=4'  lora_alpha=8", {"lora_r": 4, "lora_alpha": 8}),
    ],
)
def test_set_is_read_as_a_shell_would(text: str, value: dict[str, Any]) -> None:
    assert parse_set(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "lora_r",
        "lora_r 32",
        "=3",
        "lora_r=1 '' x",
        "a='unclosed",
        "a=[1",
        "a=${oops",
        "a=1 b=2 a=3",
        "a.b=1 a.b=1",
    ],
)
def test_a_bad_word_in_set_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_set(text)
    assert caught.value.code == "option.bad_set"


@pytest.mark.parametrize(
    ("words", "given"),
    [("seed=1", {"seed": 2}), ("max_steps=1", {"steps": 2}), ("base_model=a", {"model": "Qwen/Qwen3-1.7B"})],
)
def test_a_key_in_set_and_in_an_option_of_its_own_is_refused(
    words: str, given: dict[str, Any], make: Make
) -> None:
    with pytest.raises(InputError) as caught:
        resolve(make(), Options(tier="trial", set=words, **given))
    assert "Give it in one of the two" in str(caught.value)


def test_a_proposed_value_replaces_the_one_in_set() -> None:
    given = with_set(Options(set="lora_r=8 base_model='a b'"), {"lora_r": "4", "seed": "1"})
    assert given.set == "'base_model=a b' lora_r=4 seed=1"


def test_1e_4_is_a_number_not_text() -> None:
    assert isinstance(parse_set("learning_rate=1e-4")["learning_rate"], float)


# Order of the layers


def test_each_layer_lies_over_the_one_below(make: Make) -> None:
    recipe = make()
    real = resolve(recipe, Options(tier="real"), for_this_machine=False).config
    assert (real["num_epochs"], real["gradient_checkpointing"]) == (3, True)
    trial = resolve(recipe, Options(tier="trial"), for_this_machine=False).config
    assert (trial["num_epochs"], trial["gradient_checkpointing"]) == (1, "offload"), "trial over recipe"
    assert trial["learning_rate"] == 0.0002, "what the trial does not name stays"
    assert trial["chat_template"] == "tokenizer_default", "the model table lies over the trial"
    cpu = resolve(recipe, Options(tier="trial", hardware="cpu"), for_this_machine=False).config
    assert cpu["gradient_checkpointing"] is False, "the overlay lies over the trial"
    chosen = Options(
        tier="trial", hardware="cpu", set="gradient_checkpointing=true chat_template=chatml seed=1"
    )
    over = resolve(recipe, chosen, for_this_machine=False).config
    assert (over["gradient_checkpointing"], over["chat_template"]) == (True, "chatml"), "SET over both"
    assert over["seed"] == 1
    last = Options(tier="trial", seed=2, steps=3)
    config = resolve(recipe, last, for_this_machine=False).config
    assert (config["seed"], config["max_steps"]) == (2, 3), "SEED and STEPS over the recipe"


def test_the_model_table_follows_the_model_that_set_names(make: Make) -> None:
    plain = RECIPE.replace("chat_template: chatml\n", "")
    options = Options(tier="real", set=f"base_model={trial_model.NAME}")
    assert "chat_template_kwargs" not in resolve(make(plain), options, False).config
    assert resolve(make(plain), Options(tier="real"), False).config["chat_template_kwargs"] == {
        "enable_thinking": False
    }


@pytest.mark.parametrize(("given", "kept"), [("off", "off"), ("keep", "keep"), ("mask", "mask")])
def test_thinking_switches_the_template_of_a_hybrid_model(given: str, kept: str, make: Make) -> None:
    plain = resolve(make(), Options(tier="real"), False)
    options = Options(tier="real", set=f"plugins=[tunebook.plugins.Thinking] thinking={given}")
    resolved = resolve(make(), options, False)
    assert resolved.config["thinking"] == resolved.identity["thinking"] == kept
    assert resolved.config["chat_template_kwargs"] == {"enable_thinking": given != "off"}
    assert "thinking" not in {**plain.config, **plain.identity}
    assert plain.identity["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize("value", ["true", "on", "some"])
def test_an_unknown_value_of_thinking_is_an_error(value: str, make: Make) -> None:
    options = Options(tier="real", set=f"plugins=[tunebook.plugins.Thinking] thinking={value}")
    with pytest.raises(InputError) as caught:
        resolve(make(), options, False)
    assert [(one.code, one.key) for one in caught.value.problems] == [("thinking.bad_value", "thinking")]


def test_thinking_without_its_plugin_is_an_error(make: Make) -> None:
    with pytest.raises(InputError) as caught:
        resolve(make(), Options(tier="real", set="thinking=keep"), False)
    assert caught.value.codes == ["config.unknown_key"]
    assert "tunebook.plugins.Thinking" in str(caught.value)


def test_plugins_of_every_layer_are_kept(make: Make) -> None:
    config = resolve(make(), Options(tier="trial", hardware="cpu")).config
    names = [name.rpartition(".")[2] for name in config["plugins"]]
    assert {"SeededInit", "CPUArguments", "Progress"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("length", "settings", "attention", "again"),
    [
        (1024, "", "eager", False),
        (4096, "", "sdpa", True),
        (4096, "gradient_checkpointing=false", "sdpa", False),
        (4096, "attn_implementation=eager", "eager", True),
    ],
)
def test_long_rows_fit_the_memory_of_a_cpu(
    make: Make, length: int, settings: str, attention: str, again: bool
) -> None:
    options = Options(tier="trial", hardware="cpu", set=f"sequence_len={length} {settings}")
    config = resolve(make(), options, for_this_machine=False).config
    assert (config["attn_implementation"], config["gradient_checkpointing"]) == (attention, again)


def test_without_a_gpu_it_is_the_trial_on_the_cpu(make: Make) -> None:
    resolved = resolve(make(), Options())
    assert (resolved.tier, resolved.hardware) == ("trial", "cpu")
    assert Path(resolved.config["base_model"]).is_dir(), "the converted model, not the Hub's"


@pytest.mark.usefixtures("no_gpu")
def test_the_trial_base_on_a_cpu_is_the_converted_one_on_either_tier(make: Make) -> None:
    config = resolve(make(), Options(tier="real", model=trial_model.NAME)).config
    assert Path(config["base_model"]).is_dir()
    there = resolve(make(), Options(tier="real", model=trial_model.NAME, hardware="24gb", gpus=1))
    assert there.config["base_model"] == trial_model.NAME, "the Hub's, on a GPU"


def test_with_a_gpu_it_is_the_real_thing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        machine, "gpus", lambda: [{"name": "some card", "gib": 80.0, "compute_capability": 9.0}]
    )
    resolved = resolve(make(), Options())
    assert (resolved.tier, resolved.hardware) == ("real", "80gb")
    assert resolved.config["base_model"] == "Qwen/Qwen3-1.7B"


def test_changed_names_the_keys_that_differ_from_the_recipe(make: Make) -> None:
    changed = resolve(make(), Options(tier="real", set="lora_r=4", seed=42), False).changed
    assert "lora_r" in changed
    assert not {"seed", "learning_rate", "num_epochs"} & set(changed)


# Refusals


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [("learning_rat=1e-4", "learning_rate"), ("special_tokens.pad_tokn=x", "pad_token")],
)
def test_an_unknown_key_in_set_is_refused(text: str, suggestion: str, make: Make) -> None:
    with pytest.raises(InputError) as caught:
        resolve(make(), Options(tier="real", set=text), for_this_machine=False)
    (problem,) = caught.value.problems
    assert (problem.code, problem.file, problem.key) == (
        "config.unknown_key",
        "--set (SET=)",
        text.split("=")[0],
    )
    assert f"Did you mean {suggestion}" in str(caught.value)


@pytest.mark.parametrize("text", ["lora_r=big", "plugins=5", "plugins=some.Plugin", "base_model=5"])
def test_a_wrong_type_in_set_is_refused(text: str, make: Make) -> None:
    with pytest.raises(InputError) as caught:
        resolve(make(), Options(tier="real", set=text), for_this_machine=False)
    assert {(one.code, one.file) for one in caught.value.problems} == {("config.wrong_type", "--set (SET=)")}


def test_problems_of_every_layer_are_shown_together(make: Make) -> None:
    recipe = make(RECIPE.replace("sequence_len", "sequence_lenn"), TRIAL.replace("num_epochs", "num_epoch"))
    with pytest.raises(InputError) as caught:
        resolve(recipe, Options(tier="trial", set="lora_r=big"), for_this_machine=False)
    text = str(caught.value)
    assert "recipe.yaml:6: sequence_lenn: " in text
    assert "trial.yaml:3: num_epoch: " in text
    assert "--set (SET=): lora_r: " in text


def test_a_missing_base_model_is_refused(make: Make) -> None:
    with pytest.raises(InputError, match="base_model: missing"):
        resolve(make(), Options(tier="real", set="base_model=null"), for_this_machine=False)


def test_the_trial_tier_needs_a_trial_file(make: Make) -> None:
    with pytest.raises(InputError, match="trial.yaml"):
        resolve(make(trial=None), Options(tier="trial"), for_this_machine=False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("model", ["Qwen/Qwen3-1.7B", "somebody/of-unknown-size"])
def test_the_trial_tier_refuses_a_large_model(model: str, make: Make) -> None:
    with pytest.raises(InputError, match=f"base_model: .*{model}"):
        resolve(make(), Options(tier="trial", set=f"base_model={model}"))


@pytest.mark.usefixtures("no_gpu")
def test_the_trial_tier_takes_a_local_folder_or_a_small_model(make: Make, tmp_path: Path) -> None:
    options = Options(tier="trial", set=f"base_model='{tmp_path}'")
    assert resolve(make(), options).config["base_model"] == str(tmp_path)
    resolve(make(), Options(tier="trial", set=f"base_model={trial_model.NAME}"))


# Hardware overlays


def test_there_is_an_overlay_for_the_cpu() -> None:
    assert "cpu" in OVERLAYS


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", recipes.names())
def test_every_overlay_keeps_every_recipes_run(name: str, overlay: str) -> None:
    recipe = recipes.load_recipe(name)
    for tier in ("real", "trial") if overlay == "cpu" else ("real",):
        bare = resolve(recipe, Options(tier=tier), for_this_machine=False)
        over = resolve(recipe, Options(tier=tier, hardware=overlay), for_this_machine=False)
        batches = [
            each.config["micro_batch_size"] * each.config.get("gradient_accumulation_steps", 1) * each.world
            for each in (bare, over)
        ]
        assert batches[0] == batches[1]
        assert over.identity == bare.identity


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_holds_only_hardware_keys(overlay: str) -> None:
    assert set(hardware_overlays.overlay(overlay).keys) <= hardware_overlays.KEYS


def test_an_overlay_with_another_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay_folder(tmp_path, monkeypatch, card="bf16: true\nlearning_rate: 0.1\n")
    with pytest.raises(InputError, match="card.yaml:2: learning_rate: "):
        hardware_overlays.overlay("card")


def test_an_unknown_overlay_is_refused_naming_those_there_are() -> None:
    with pytest.raises(InputError, match="HARDWARE: .*'nope'.*cpu"):
        hardware_overlays.overlay("nope")


@pytest.mark.parametrize(
    ("most", "gpus", "micro", "accumulation"), [(2, 1, 2, 8), (5, 1, 4, 4), (99, 1, 16, 1), (4, 8, 2, 1)]
)
def test_micro_batch_is_traded_for_accumulation_and_cards(
    most: int,
    gpus: int,
    micro: int,
    accumulation: int,
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overlay_folder(tmp_path, monkeypatch, small=f"micro_batch_size: {most}\n")
    recipe = make()  # a global batch of 16
    config = resolve(recipe, Options(tier="real", hardware="small", gpus=gpus)).config
    assert (config["micro_batch_size"], config["gradient_accumulation_steps"]) == (micro, accumulation)
    assert identity(recipe, tier="real", hardware="small") == identity(recipe, tier="real")


def test_a_batch_that_cannot_be_shared_is_refused_unless_set_says_another(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards(monkeypatch, 3)
    with pytest.raises(InputError, match="global batch of 16 is not divisible by 3 GPUs. Use GPUS=2"):
        resolve(make(), Options(tier="real"))
    assert resolve(make(), Options(tier="real", gpus=2)).config["micro_batch_size"] == 8
    resolved = resolve(make(), Options(tier="real", set="micro_batch_size=5"))
    assert (resolved.config["micro_batch_size"], resolved.world) == (5, 3)
    assert resolved.identity["global_batch"] == 15 * resolved.config.get("gradient_accumulation_steps", 1)


def cards(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    card = {"name": "some card", "gib": 80.0, "compute_capability": 9.0}
    monkeypatch.setattr(machine, "gpus", lambda: [card] * count)


def test_all_gpus_are_used_unless_said_otherwise(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 4)
    assert resolve(make(), Options()).world == 4
    assert resolve(make(), Options(gpus=2)).world == 2
    assert resolve(make(), Options("trial", "cpu")).world == 1
    assert identity(make()) == identity(make(), gpus=2)


def test_more_gpus_than_there_are_is_the_machines_fault() -> None:
    resolved = resolve(recipes.load_recipe("classify-lora"), Options("real", "80gb", gpus=8))
    with pytest.raises(MachineError, match=r"GPUS=\): this machine has 0 \(got 8\)"):
        check_machine(resolved)


def test_sharding_on_one_gpu_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 1)
    resolved = resolve(recipes.load_recipe("classify-full"), Options("real", "8x80gb-fsdp2"))
    with pytest.raises(MachineError, match="shards the model over several GPUs"):
        check_machine(resolved)


class FakeDriver:
    """Four cards, as NVIDIA's driver would show them."""

    class NVMLError(Exception):
        pass

    def __getattr__(self, name: str) -> Callable[..., Any]:
        answers: dict[str, Callable[..., Any]] = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetCount": lambda: 4,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetMemoryInfo": lambda index: SimpleNamespace(total=80 * 2**30),
            "nvmlDeviceGetCudaComputeCapability": lambda index: (9, 0),
            "nvmlDeviceGetName": lambda index: f"card {index}",
            "nvmlDeviceGetUUID": lambda index: f"GPU-{index}{index}",
            "nvmlDeviceGetMigMode": lambda index: (0, 0),
        }
        return answers[name]


@pytest.mark.parametrize(
    ("visible", "found"),
    [(None, "0123"), ("1,3", "13"), ("GPU-22", "2"), ("", ""), ("-1", ""), ("0", "0"), (" 2 , 0", "20")],
)
def test_only_visible_gpus_count(visible: str | None, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeDriver())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu["name"] for gpu in machine.gpus.__wrapped__()] == [f"card {i}" for i in found]


# MODEL=


@pytest.mark.parametrize("model", model_table())
def test_model_brings_what_it_needs(model: str, make: Make) -> None:
    config = resolve(make(), Options(tier="real", model=model), False).config
    assert config["base_model"] == model
    for key, value in row_keys(model, config.get("adapter")).items():
        assert set(value) <= set(config[key]) if key == "plugins" else config.get(key) == value


def test_lora_on_qwen35_adapts_its_linear_attention_and_other_methods_name_nothing(make: Make) -> None:
    asked = Options(tier="real", model="Qwen/Qwen3.5-4B")
    config = resolve(recipes.load_recipe("chat-lora"), asked, False).config
    linear = {"q_proj", "down_proj", "in_proj_qkv", "in_proj_z", "out_proj"}
    assert linear <= set(config["lora_target_modules"])
    assert "lora_target_linear" not in config and config["lora_qkv_kernel"] is False
    assert {"tunebook.plugins.TextOnly", "tunebook.plugins.SeededInit"} <= set(config["plugins"])
    full = resolve(recipes.load_recipe("chat-full"), asked, False).config
    assert "lora_target_modules" not in full and "tunebook.plugins.TextOnly" in full["plugins"]


def test_a_kernel_that_the_model_cannot_use_stays_off(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay_folder(tmp_path, monkeypatch, fast="lora_qkv_kernel: true\n")
    phi = Options(tier="real", hardware="fast", model="microsoft/Phi-4-mini-instruct")
    assert resolve(make(), phi).config["lora_qkv_kernel"] is False
    assert resolve(make(), Options(tier="real", hardware="fast")).config["lora_qkv_kernel"] is True


def test_an_unknown_model_is_refused_with_what_is_close(make: Make) -> None:
    with pytest.raises(InputError, match=r"MODEL: 'Qwen/Qwen3-9B' .*Qwen/Qwen3-8B.*SET="):
        resolve(make(), Options(tier="real", model="Qwen/Qwen3-9B"), False)


# What a GPU cannot do


@pytest.mark.parametrize(
    ("overrides", "overlay", "key"),
    [
        ("bf16=true", "t4-16gb", "bf16"),
        ("tf32=true", "t4-16gb", "tf32"),
        ("attn_implementation=flash_attention_2", "t4-16gb", "attn_implementation"),
        ("attn_implementation=flash_attention_3", "80gb", "attn_implementation"),
        ("adapter=null", "t4-16gb", "adapter"),
        ("adapter=null plugins=[tunebook.plugins.Float32Weights]", "t4-16gb", ""),
        ("fp8=true", "24gb", "fp8"),
        ("", "t4-16gb", ""),
        ("attn_implementation=flash_attention_2", "24gb", ""),
    ],
)
def test_what_a_card_cannot_honour(overrides: str, overlay: str, key: str) -> None:
    resolved = resolve(recipes.load_recipe("classify-lora"), Options("real", overlay, set=overrides), False)
    if not key:
        check_config(resolved)
        return
    with pytest.raises(InputError, match=f"{key}: on {overlay}: "):
        check_config(resolved)


# Identity


def test_identity_is_the_same_twice(make: Make) -> None:
    assert identity(make()) == identity(make())


def test_identity_does_not_change_with_hardware_keys(make: Make) -> None:
    before = identity(make())
    assert identity(make(), hardware="cpu") == before
    other = RECIPE.replace("gradient_checkpointing: true", "gradient_checkpointing: false\ntf32: true")
    assert identity(make(other)) == before
    assert identity(make(RECIPE + "output_dir: elsewhere\n")) == before


def test_identity_does_not_change_at_a_constant_global_batch(make: Make) -> None:
    before = identity(make())
    assert identity(make(), set="micro_batch_size=4 gradient_accumulation_steps=4") == before
    assert identity(make(), set="micro_batch_size=16 gradient_accumulation_steps=null") == before
    assert identity(make(), set="micro_batch_size=4") != before


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 43},
        {"steps": 5},
        {"set": "learning_rate=1e-3"},
        {"set": "adapter=lora"},
        {"set": "base_model=/tmp"},
        {"tier": "real"},
    ],
)
def test_identity_changes_with_what_is_trained(options: dict[str, Any], make: Make) -> None:
    assert identity(make(), **options) != identity(make())


def test_the_same_value_said_in_another_way_is_the_same_run(make: Make) -> None:
    before = identity(make())
    assert identity(make(), seed=42) == before
    assert identity(make(), set="learning_rate=2e-4") == before
    first, rest = RECIPE.split("\n", 1)
    assert identity(make(f"# Keys in another order\n{rest}{first}\n")) == before


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


# Going on from an adapter


def earlier(folder: Path, base: str = "Qwen/Qwen3-1.7B", **shape: Any) -> Run:
    run = Run(folder / "earlier")
    (run / "model").mkdir(parents=True)
    write_json(
        run / "model" / "adapter_config.json", {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, **shape}
    )
    (run / "model" / "adapter_model.safetensors").write_bytes(b"weights")
    (run / "config.yaml").write_text(f"base_model: {base}\nadapter: lora\n")
    run.mark("train", "done")
    return run


ADAPTER = RECIPE + "adapter: lora\nlora_r: 8\nlora_alpha: 16\n"


def test_from_run_starts_from_its_adapter_and_makes_another_run(make: Make, tmp_path: Path) -> None:
    recipe, run = make(ADAPTER), earlier(tmp_path)
    options = Options(tier="real", from_run=str(run.folder))
    resolved = resolve(recipe, options)
    assert resolved.config["lora_model_dir"] == str(run.folder / "model")
    assert resolved.identity["from_run"] != resolve(recipe, Options(tier="real")).identity.get("from_run")
    first = digest(resolved.identity)
    (run / "model" / "adapter_model.safetensors").write_bytes(b"other weights")
    assert digest(resolve(recipe, options).identity) != first


@pytest.mark.parametrize(
    ("shape", "base", "recipe", "said"),
    [
        (
            {"r": 16},
            "Qwen/Qwen3-1.7B",
            ADAPTER,
            r"FROM_RUN=\): lora_r: .*earlier was trained with 16, this recipe has 8",
        ),
        ({}, "Qwen/Qwen3-8B", ADAPTER, r"FROM_RUN=\): base_model: .*Qwen3-8B"),
        ({}, "Qwen/Qwen3-1.7B", RECIPE, "this recipe does full fine-tuning"),
        (
            {},
            "Qwen/Qwen3-1.7B",
            RECIPE + "adapter: ia3\n",
            r"adapter: .*was trained with 'lora', this recipe has 'ia3'",
        ),
    ],
)
def test_from_run_of_another_kind_is_refused(
    shape: dict[str, Any], base: str, recipe: str, said: str, make: Make, tmp_path: Path
) -> None:
    run = earlier(tmp_path, base, **shape)
    with pytest.raises(InputError, match=said):
        resolve(make(recipe), Options(tier="real", from_run=str(run.folder)))


def test_from_run_needs_a_trained_adapter(make: Make, tmp_path: Path) -> None:
    run = earlier(tmp_path)
    run.forget("train")
    with pytest.raises(InputError, match="has no trained adapter"):
        resolve(make(ADAPTER), Options(tier="real", from_run=str(run.folder)))
    with pytest.raises(InputError, match="RUN: no run at 'nowhere'"):
        resolve(make(ADAPTER), Options(tier="real", from_run="nowhere"))


def test_a_missing_file_of_a_mixture_is_refused(make: Make) -> None:
    more = "  - path: datasets/none/rows/train.jsonl\n    type: chat_template\n"
    recipe = make(RECIPE.replace("sequence_len", more + "sequence_len", 1))
    with pytest.raises(InputError, match=r"recipe.yaml:6: datasets\[1\].path: file not found"):
        check_config(resolve(recipe, Options(tier="real")))


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("", {}),
        ("200", {"train": 200}),
        ("train=200,test=500", {"train": 200, "test": 500}),
        ("dev=9", {"dev": 9}),
    ],
)
def test_rows_are_counted_by_split(text: str, counts: dict[str, int]) -> None:
    assert parse_rows(text) == counts


@pytest.mark.parametrize(
    "text", ["0", "many", "test=", "tset=5", "train=-1", "test=5,x", "5,train=6", "dev=1,dev=1"]
)
def test_bad_rows_are_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_rows(text)
    assert caught.value.code == "option.bad_rows"
