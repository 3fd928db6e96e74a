"""Plain Axolotl configs: what another kind of training is, and what Axolotl itself takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from tests.commands.test_fork import PAIRS, fork, home
from tunebook.commands.fork.origin import load_origin
from tunebook.commands.fork.output.trial_text import _plugin_keys
from tunebook.config.keys import schema
from tunebook.core.errors import InputError

__all__ = ["home"]
PLAIN = """# From elsewhere.
base_model: Qwen/Qwen3-0.6B
datasets:
  - path: tatsu-lab/alpaca
    type: alpaca
adapter: lora   # small
"""


def origin(folder: Path, more: str, plain: str = PLAIN) -> Path:
    path = folder / "foreign.yaml"
    path.write_text(plain + more)
    return path


@pytest.mark.parametrize(
    ("more", "key", "code"),
    [
        ("reward_model: true\n", "reward_model", "fork.other_training"),
        ("process_reward_model: true\n", "process_reward_model", "fork.other_training"),
        ("pretraining_dataset: allenai/c4\n", "pretraining_dataset", "fork.other_training"),
        ("pretraining_dataset:\n  - path: allenai/c4\n", "pretraining_dataset", "fork.other_training"),
        ("processor_type: AutoProcessor\n", "processor_type", "fork.other_training"),
        ("model_type: AutoModelForSequenceClassification\n", "model_type", "fork.other_training"),
        ("rl: dpo\n", "rl", "fork.preference_config"),
        ("rl: grpo\n", "rl", "fork.preference_config"),
        *(
            (f"plugins:\n  - axolotl.integrations.{plugin}\n", "plugins[0]", "fork.other_training")
            for plugin in (
                "diffusion.DiffusionPlugin",
                "hatchery.HatcheryPlugin",
                "nemo_gym.NemoGymPlugin",
                "kd.KDPlugin",
                "llm_compressor.LLMCompressorPlugin",
            )
        ),
    ],
)
def test_another_kind_of_training_is_named(more: str, key: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_origin(str(origin(tmp_path, more)))
    (problem,) = caught.value.problems
    assert (problem.code, problem.key, problem.line) == (code, key, 7 + more.startswith("plugins"))
    assert "Fork " in problem.text


@pytest.mark.parametrize(
    "kind",
    ["completion", "pretrain", "bradley_terry.chat_template", "stepwise_supervised", "orpo.chat_template"],
)
def test_rows_that_are_no_answers_are_named(kind: str, tmp_path: Path) -> None:
    path = origin(tmp_path, "", PLAIN.replace("type: alpaca", f"type: {kind}"))
    with pytest.raises(InputError) as caught:
        load_origin(str(path))
    (problem,) = caught.value.problems
    assert (problem.code, problem.key, problem.line) == ("fork.other_training", "datasets[0].type", 5)


@pytest.mark.parametrize(
    "kind", ["alpaca", "alpaca:chat", "chat_template", "chat_template.default", "input_output"]
)
def test_rows_that_are_answers_are_taken(kind: str, tmp_path: Path) -> None:
    path = origin(tmp_path, "reward_model: false\nrl:\n", PLAIN.replace("type: alpaca", f"type: {kind}"))
    assert load_origin(str(path)).config["base_model"] == "Qwen/Qwen3-0.6B"


def test_fsdp_with_its_old_prefix(tmp_path: Path) -> None:
    more = """fsdp_version: 2
fsdp_config:   # four GPUs
  fsdp_version: 2
  fsdp_offload_params: true
  fsdp_limit_all_gathers: true
  reshard_after_forward: true
  fsdp_transformer_layer_cls_to_wrap: Qwen3DecoderLayer
special_tokens:
"""
    found = load_origin(str(origin(tmp_path, more)))
    kept = {
        "fsdp_version": 2,
        "offload_params": True,
        "reshard_after_forward": True,
        "transformer_layer_cls_to_wrap": "Qwen3DecoderLayer",
    }
    assert found.config["fsdp_config"] == kept
    assert yaml.safe_load(found.text) == found.config and "adapter: lora   # small" in found.text
    assert any("limit_all_gathers" in note for note in found.notes) and len(found.notes) == 2
    typo = more.replace("fsdp_offload_params", "fsdp_offload_parms")
    with pytest.raises(InputError) as caught:
        load_origin(str(origin(tmp_path, typo)))
    (problem,) = caught.value.problems
    assert (problem.code, problem.key) == ("config.unknown_key", "fsdp_config.offload_parms")
    assert problem.line == 10


def test_empty_keys_of_older_examples_are_left_out(tmp_path: Path) -> None:
    found = load_origin(str(origin(tmp_path, "debug:\ngptq_groupsize:\nwandb_project:\n")))
    assert yaml.safe_load(found.text) == found.config
    assert "wandb_project" in found.config and not {"debug", "gptq_groupsize"} & {*found.config}
    assert any("debug, gptq_groupsize" in note for note in found.notes)
    with pytest.raises(InputError) as caught:
        load_origin(str(origin(tmp_path, "debug: true\n")))
    assert caught.value.code == "config.unknown_key"


@pytest.mark.parametrize(
    ("plugin", "keys"),
    [
        ("kernels.KernelsPlugin", {"use_scattermoe": True}),
        ("swanlab.SwanLabPlugin", {"use_swanlab": True, "swanlab_project": "x"}),
        ("expert_parallel.ExpertParallelPlugin", {"expert_parallel_size": 4}),
        ("liger.LigerPlugin", {"liger_rms_norm": True}),
        ("cut_cross_entropy.CutCrossEntropyPlugin", {"cut_cross_entropy": True}),
        ("spectrum.SpectrumPlugin", {"spectrum_top_fraction": 0.5}),
        ("grokfast.GrokfastPlugin", {"grokfast_alpha": 0.9}),
    ],
)
def test_axolotls_own_plugins_and_their_keys(plugin: str, keys: dict[str, object], tmp_path: Path) -> None:
    more = yaml.safe_dump({"plugins": [f"axolotl.integrations.{plugin}"], **keys})
    allow = {"kernels.KernelsPlugin": "plugins", "swanlab.SwanLabPlugin": "use_swanlab,swanlab_project"}
    found = load_origin(str(origin(tmp_path, more)), allow.get(plugin, ""))
    assert {key: found.config[key] for key in keys} == keys
    assert any("swanlab" in note for note in found.notes) == ("swanlab" in plugin)
    with pytest.raises(InputError) as caught:
        load_origin(str(origin(tmp_path, yaml.safe_dump(keys))))
    assert "config.unknown_key" in caught.value.codes


def test_the_trial_switches_off_what_needs_a_gpu() -> None:
    config = {"plugins": ["axolotl.integrations.kernels.KernelsPlugin", "tunebook.plugins.SeededInit"]}
    assert "use_scattermoe" in _plugin_keys(config)
    assert _plugin_keys({"plugins": ["axolotl.integrations.liger.LigerPlugin"]}) == []


def test_every_plugin_that_axolotl_ships_is_known() -> None:
    import importlib.util

    spec = importlib.util.find_spec("axolotl")
    if not spec or not spec.origin:
        pytest.skip("Axolotl is not installed")
    folder = Path(os.path.dirname(spec.origin)) / "integrations"
    homes = {path.parent.name for path in folder.glob("*/__init__.py") if "Plugin" in path.read_text()}
    known = {name.split(".")[2] for name in schema()["plugins"] if name.startswith("axolotl.")}
    assert homes <= known


@pytest.mark.slow
def test_a_fork_of_a_config_with_swanlab_trains_without_it_on_the_trial_tier(home: Path) -> None:
    more = "plugins:\n  - axolotl.integrations.swanlab.SwanLabPlugin\nuse_swanlab: true\nswanlab_project: x\n"
    more += "lora_r: 16\nlora_alpha: 32\nlora_target_linear: true\nmicro_batch_size: 2\nlearning_rate: 1e-4\n"
    recipe = fork(
        home, PAIRS, str(origin(home, more)), lines=40, task="chat", allow="use_swanlab swanlab_project"
    )
    assert (recipe.trial["use_swanlab"], recipe.trial["swanlab_project"]) == (False, None)
    assert recipe.config["use_swanlab"] is True


def test_what_reaches_out_in_a_strangers_config_is_refused(tmp_path: Path) -> None:
    more = """trust_remote_code: true
hub_model_id: somebody/else
plugins:
  - tunebook.paths.os.system
deepspeed: file:///etc/hostname
mlflow_tracking_uri: http://elsewhere.invalid
"""
    keys = ["trust_remote_code", "hub_model_id", "plugins[0]", "deepspeed", "mlflow_tracking_uri"]
    path = str(origin(tmp_path, more))
    with pytest.raises(InputError) as caught:
        load_origin(path)
    foreign = [one for one in caught.value.problems if one.code == "fork.foreign_key"]
    assert [(one.key, one.line) for one in foreign] == list(zip(keys, (7, 8, 10, 11, 12), strict=True))
    with pytest.raises(InputError) as caught:
        load_origin(path, "trust_remote_code, hub_model_id,plugins deepspeed mlflow_tracking_uri")
    assert caught.value.codes == ["config.unknown_plugin"], "no code but Axolotl's and Tunebook's runs at all"
    with pytest.raises(InputError) as caught:
        load_origin("chat-lora", "trust_remote_code")
    assert caught.value.code == "fork.nothing_to_allow"
