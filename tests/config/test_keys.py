"""Every key of a config is checked at every level; Axolotl itself would drop a misspelt one in silence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from scripts import list_axolotl_keys
from tests.support.forked import with_axolotl
from tunebook.config.keys import LIST, KeyList, check_keys, versions
from tunebook.core.errors import InputError, Problem, raise_all
from tunebook.core.paths import ROOT
from tunebook.core.yaml_file import read_yaml
from tunebook.models import lanes
from tunebook.models.methods import RENAMED_PLUGINS
from tunebook.plugins import HOMES

LIGER = "axolotl.integrations.liger.LigerPlugin"
GOOD = f"""\
base_model: somewhere/some-model
datasets:
  - path: rows.jsonl
    type: chat_template
    field_messages: messages
test_datasets:
  - path: dev.jsonl
    type: chat_template
    split: train
special_tokens:
  pad_token: <pad>
  eos_token: <end>
fsdp_config:
  offload_params: false
  reshard_after_forward: true
plugins:
  - {LIGER}
  - tunebook.plugins.SeededInit
liger_rope: true
learning_rate: 1e-4
lora_dropout: 5e-2
lora_r: 16
"""


def problems(text: str, folder: Path) -> list[Problem]:
    path = folder / "recipe.yaml"
    path.write_text(text)
    config, lines = read_yaml(path)
    return check_keys(config, lines, "recipe.yaml")


def only(found: list[Problem]) -> Problem:
    assert len(found) == 1, "\n".join(map(str, found))
    return found[0]


def test_a_good_config_has_no_problems(tmp_path: Path) -> None:
    assert problems(GOOD, tmp_path) == []


@pytest.mark.parametrize("old", RENAMED_PLUGINS)
def test_an_old_plugin_name_is_told_the_new_one(old: str, tmp_path: Path) -> None:
    text = GOOD.replace("tunebook.plugins.SeededInit", old)
    problem = only(problems(text, tmp_path))
    line = text.splitlines().index(f"  - {old}") + 1
    assert (problem.code, problem.line, problem.key) == ("config.renamed_plugin", line, "plugins[1]")
    assert RENAMED_PLUGINS[old] in problem.text
    assert RENAMED_PLUGINS[old].rpartition(".")[2] in HOMES


@pytest.mark.parametrize(
    ("right", "typo", "key"),
    [
        ("lora_dropout", "lora_dropuot", "lora_dropuot"),
        ("field_messages", "feild_messages", "datasets[0].feild_messages"),
        ("split", "spilt", "test_datasets[0].spilt"),
        ("pad_token", "pad_tokn", "special_tokens.pad_tokn"),
        ("offload_params", "ofload_params", "fsdp_config.ofload_params"),
        ("liger_rope", "liger_rop", "liger_rop"),
    ],
)
def test_a_typo_at_any_level_is_refused(right: str, typo: str, key: str, tmp_path: Path) -> None:
    assert GOOD.count(f"{right}:") == 1
    text = GOOD.replace(f"{right}:", f"{typo}:")
    problem = only(problems(text, tmp_path))
    line = next(number for number, line in enumerate(text.splitlines(), 1) if f"{typo}:" in line)
    assert (problem.key, problem.line) == (key, line)
    suggestion = problem.text.partition("Did you mean ")[2]
    assert right in suggestion.rstrip("?").split(" or ")
    assert str(problem).startswith(f"recipe.yaml:{line}: {key}: ")


def test_the_second_entry_of_a_list_is_checked_too(tmp_path: Path) -> None:
    text = GOOD.replace("test_datasets:", "  - path: more.jsonl\n    tpye: chat_template\ntest_datasets:")
    problem = only(problems(text, tmp_path))
    assert (problem.key, problem.line) == ("datasets[1].tpye", 7)


@pytest.mark.parametrize(
    ("text", "key", "place"),
    [
        ("field_messages: messages", "field_messages", "dataset"),
        ("offload_params: true", "offload_params", "fsdp"),
        ("pad_token: <pad>", "pad_token", "special"),
        ("eos_token: <end>", "eos_token", "special"),  # although `eot_tokens` looks much like it
        ("datasets:\n  - learning_rate: 0.1", "datasets[0].learning_rate", "the top level"),
        # although datasets have a `sequence_length`, which looks much like it
        ("datasets:\n  - sequence_len: 64", "datasets[0].sequence_len", "the top level"),
        ("special_tokens:\n  lora_r: 8", "special_tokens.lora_r", "the top level"),
    ],
)
def test_a_key_at_the_wrong_level_says_where_it_belongs(
    text: str, key: str, place: str, tmp_path: Path
) -> None:
    problem = only(problems(text + "\n", tmp_path))
    assert problem.key == key
    assert "belongs to" in problem.text
    assert place in problem.text.partition("belongs to")[2].lower()


def test_a_plugins_key_without_the_plugin_names_the_plugin(tmp_path: Path) -> None:
    problem = only(problems(GOOD.replace(f"  - {LIGER}\n", ""), tmp_path))
    assert problem.key == "liger_rope"
    assert LIGER in problem.text


def test_a_key_that_resembles_none_is_refused(tmp_path: Path) -> None:
    problem = only(problems("zzz_nothing: 1\n", tmp_path))
    assert problem.key == "zzz_nothing"
    assert "unknown" in problem.text


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("lora_r: true", "lora_r", "a whole number"),
        ("lora_dropout: true", "lora_dropout", "a number"),
        ("lora_r: 16.5", "lora_r", "a whole number"),
        ("lora_r: '16'", "lora_r", "a whole number"),
        ("load_in_8bit: 1", "load_in_8bit", "true or false"),
        ("base_model: 5", "base_model", "text"),
        ("datasets: rows.jsonl", "datasets", "a list"),
        ("datasets: {path: rows.jsonl}", "datasets", "a list"),
        ("datasets: [rows.jsonl]", "datasets[0]", "a mapping"),
        ("special_tokens: [<pad>]", "special_tokens", "a mapping"),
        ("special_tokens:\n  pad_token: 5", "special_tokens.pad_token", "text"),
        ("gradient_checkpointing_kwargs: yes please", "gradient_checkpointing_kwargs", "a mapping"),
        ("lora_target_modules: [q_proj, 5]", "lora_target_modules[1]", "text"),
        (f"plugins: {LIGER}", "plugins", "a list"),
        ("plugins: 5", "plugins", "a list"),
        (f"plugins: [[{LIGER}]]", "plugins[0]", "text"),
    ],
)
def test_a_wrong_type_is_refused(text: str, key: str, expected: str, tmp_path: Path) -> None:
    problem = only(problems(f"seed: 1\n{text}\n", tmp_path))
    assert problem.key == key
    assert problem.text.startswith(f"expected {expected}")
    assert problem.line == 1 + len(text.splitlines())


@pytest.mark.parametrize("number", ["1e-4", "0.0001", "1", "1.0E-04"])
def test_numbers_in_every_spelling_are_numbers(number: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"lora_dropout: {number}\n")
    config, lines = read_yaml(path)
    assert config["lora_dropout"] == float(number)
    assert check_keys(config, lines, "recipe.yaml") == []


@pytest.mark.parametrize("key", ["lora_r", "datasets", "special_tokens", "plugins", "load_in_8bit"])
def test_null_is_accepted(key: str, tmp_path: Path) -> None:
    assert problems(f"{key}: null\n", tmp_path) == []


def test_an_unknown_plugin_is_refused(tmp_path: Path) -> None:
    problem = only(problems(f"plugins:\n  - {LIGER}\n  - some.OtherPlugin\n", tmp_path))
    assert (problem.key, problem.line) == ("plugins[1]", 3)
    assert "some.OtherPlugin" in problem.text and LIGER in problem.text


def test_every_problem_is_shown_at_once(tmp_path: Path) -> None:
    found = problems("lora_dropuot: 0.1\nlora_r: big\ndatasets:\n  - paht: x\n", tmp_path)
    with pytest.raises(InputError) as caught:
        raise_all(found)
    shown = str(caught.value).splitlines()
    starts = ["recipe.yaml:1: lora_dropuot: ", "recipe.yaml:2: lora_r: ", "recipe.yaml:4: datasets[0].paht: "]
    assert len(shown) == 3
    assert all(line.startswith(start) for line, start in zip(shown, starts, strict=True))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\na: 2\n", 2),  # a repeated key: plain YAML would take the last one in silence
        ("a: 1\nb:\n\t- x\n", 3),
        ("a: [1\n", 2),
        ("a: 1\nb: \x07\n", None),
        ("a: 1\nb: ${oops\n", None),
    ],
)
def test_broken_yaml_is_the_persons_mistake(text: str, line: int | None, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}:{line}: " if line else str(path))


@pytest.mark.parametrize("text", ["- a\n- b\n", "text\n"])
def test_a_file_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(InputError):
        config, lines = read_yaml(path)
        raise_all(check_keys(config, lines, "recipe.yaml"))


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes("base_model: caf\u00e9\n".encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        read_yaml(path)


def config_with(known: KeyList, model: str, key: str) -> tuple[dict[str, Any], str]:
    """Return a config that sets `key` of `model` to nothing, and where in it the key is."""
    if model == known["root"]:
        return {key: None}, key
    plugins = [plugin for plugin, arguments in known["plugins"].items() if arguments == model]
    if plugins:
        return {"plugins": plugins, key: None}, key
    for outer, keys in known["models"].items():
        for name, kinds in keys.items():
            if f"model:{model}" in kinds or f"list:model:{model}" in kinds:
                config, place = config_with(known, outer, name)
                inner = {key: None}
                within = config
                for part in place.replace("]", "").replace("[", ".").split(".")[:-1]:
                    within = within[int(part)] if isinstance(within, list) else within[part]
                within[name] = inner if f"model:{model}" in kinds else [inner]
                return config, f"{place}.{key}" if f"model:{model}" in kinds else f"{place}[0].{key}"
    raise AssertionError(f"{model} is at no place of a config")


OWN = [
    (version, model, key)
    for version, part in json.loads(LIST.read_text()).items()
    if version[0].isdigit()
    for model, keys in part["models"].items()
    for key in keys
]


@pytest.mark.parametrize(("version", "model", "key"), OWN)
def test_a_key_that_one_lane_has_alone_is_refused_on_the_other(
    version: str, model: str, key: str, lane: str
) -> None:
    """Its Axolotl would drop it in silence. Walks all differences of the two lists."""
    config, place = config_with(versions()[version], model, key)
    found = check_keys(config, {}, "recipe.yaml")
    if version == lane:
        assert found == []
        return
    last = found[-1]  # of the key, or of one above it that is the other lane's as well
    assert place.startswith(str(last.key))
    known = versions()[lane]["models"].values()
    if last.key != place or not any(key in keys for keys in known):  # as that of a plugin, say
        assert last.code == "config.other_lane" and version in last.text and lane in last.text


@pytest.mark.parametrize("plugin", ["axolotl.integrations.mixlora.MixLoraPlugin"])
def test_a_plugin_that_one_lane_has_alone_is_refused_on_the_other(plugin: str, lane: str) -> None:
    codes = [problem.code for problem in check_keys({"plugins": [plugin]}, {}, "recipe.yaml")]
    assert codes == ([] if lane == "0.21.0" else ["config.other_lane"])


def test_a_typo_of_the_other_lanes_key_is_an_unknown_key(lane: str) -> None:
    (problem,) = check_keys({"eval_on_strat": False}, {}, "recipe.yaml")
    assert problem.code == "config.unknown_key"


def test_both_versions_of_the_lock_are_listed() -> None:
    pinned = re.findall(r"^axolotl==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert sorted(pinned) == sorted(versions()) and lanes.axolotl() in pinned


@pytest.mark.slow
def test_the_committed_list_is_the_installed_axolotls() -> None:
    assert with_axolotl(list_axolotl_keys.main, ["--check"]) == 0


def test_every_plugin_of_ours_is_known_by_name() -> None:
    from tunebook.models.methods import OWN_PLUGINS
    from tunebook.plugins import HOMES

    assert set(OWN_PLUGINS) == {f"tunebook.plugins.{name}" for name in HOMES}
    for name in ("tunebook.paths.os.system", "tunebook.plugins.importlib", "tunebook.plugins.Nope"):
        (problem,) = check_keys({"plugins": [name]}, {}, "recipe.yaml")
        assert (problem.code, problem.key) == ("config.unknown_plugin", "plugins[0]")
