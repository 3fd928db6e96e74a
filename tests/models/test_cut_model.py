"""The base model of a rehearsal: which layers and widths are left, and where its small files come from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import hub_server, tiny
from tests.support.commands import in_process
from tunebook.core.errors import InputError, MachineError
from tunebook.models import cut_model, hub, trial_model
from tunebook.models.cut_model import narrowed, shortened, small_files

QWEN = {"model_type": "qwen3", "hidden_size": 2048, "intermediate_size": 6144, "num_attention_heads": 16}
QWEN |= {"num_key_value_heads": 8, "num_hidden_layers": 28, "head_dim": 128, "max_window_layers": 28}
LLAMA = {"model_type": "llama", "hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3}


# What is left


def test_two_layers_are_left_and_a_head_keeps_its_size() -> None:
    cut = narrowed(shortened(QWEN))
    assert (cut["num_hidden_layers"], cut["num_attention_heads"], cut["num_key_value_heads"]) == (2, 2, 1)
    assert (cut["hidden_size"], cut["intermediate_size"], cut["head_dim"]) == (256, 768, 128)
    assert cut["max_window_layers"] == 2
    without = narrowed(LLAMA)
    assert without["hidden_size"] // without["num_attention_heads"] == 576 // 9


def test_a_small_model_is_not_made_narrower_than_it_can_be() -> None:
    small = {**LLAMA, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    assert narrowed(small) == small


def test_one_layer_of_each_kind_is_left() -> None:
    kinds = ["linear", "linear", "linear", "full"] * 6
    config = {"num_hidden_layers": 24, "layer_types": kinds, "no_rope_layers": list(range(24))}
    cut = shortened({**config, "per_layer": {"0": "a", "3": "b", "5": "c"}, "rope": {"factor": 2}})
    assert cut["layer_types"] == ["linear", "full"] and cut["no_rope_layers"] == [0, 3]
    assert cut["per_layer"] == {0: "a", 1: "b"} and cut["rope"] == {"factor": 2}
    three = shortened({"num_hidden_layers": 4, "layer_types": ["a", "b", "b", "c"]})
    assert three["num_hidden_layers"] == 3 and three["layer_types"] == ["a", "b", "c"]


def test_models_inside_a_model_are_cut_too() -> None:
    whole = {"model_type": "gemma3", "text_config": QWEN, "vision_config": {"num_hidden_layers": 27}}
    cut = narrowed(shortened(whole))
    assert cut["text_config"]["num_hidden_layers"] == cut["vision_config"]["num_hidden_layers"] == 2
    assert cut["text_config"]["hidden_size"] == 256


def test_few_experts_are_left_unless_they_come_in_groups() -> None:
    moe = {**QWEN, "num_experts": 128, "num_experts_per_tok": 8}
    assert narrowed(moe)["num_experts"] == 8
    assert narrowed({**QWEN, "n_routed_experts": 256, "n_group": 8})["n_routed_experts"] == 256


@pytest.mark.long
@pytest.mark.parametrize("own", [True, False], ids=["own tokenizer", "none"])
def test_it_has_the_class_and_the_tokenizer_of_the_base(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a tokenizer, that of the trial model stands in, and the vocabulary is its own."""
    from transformers import AutoConfig, AutoTokenizer

    base = tmp_path / "base"
    base.mkdir()
    vocab = len(tiny.trial_tokenizer()) if own else 777
    quantized = {"quantization_config": {"quant_method": "mxfp4"}}
    true = {**QWEN, "vocab_size": vocab, "eos_token_id": 5, "tie_word_embeddings": True, **quantized}
    (base / "config.json").write_text(json.dumps(true))
    if own:
        tiny.trial_tokenizer().save_pretrained(base)
    real_cache = os.environ.get("TUNEBOOK_CACHE", str(Path.home() / ".cache" / "tunebook"))
    trial = trial_model.folder()
    monkeypatch.setattr(trial_model, "ensure", lambda log=None: trial)
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    folder, facts = cut_model.ensure(str(base), None)
    assert (facts.architecture, facts.layers, facts.hidden) == ("Qwen3ForCausalLM", (28, 2), (2048, 256))
    assert facts.own_tokenizer is own and facts.quantized == "mxfp4"
    config = AutoConfig.from_pretrained(folder)
    assert config.vocab_size == (vocab if own else 49152) and config.head_dim == 128
    assert config.eos_token_id == (5 if own else 2)
    assert AutoTokenizer.from_pretrained(folder).chat_template == tiny.trial_tokenizer().chat_template
    assert not hasattr(config, "quantization_config") and real_cache
    assert cut_model.ensure(str(base), None) == (folder, facts), "made once"


# Where its files come from


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "unreachable", lambda: ConnectionError("no route"))
    monkeypatch.setattr(cut_model, "unreachable", lambda: ConnectionError("no route"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


def test_without_the_hub_the_cache_is_used(
    no_hub: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(cut_model, "cached", lambda base, file, revision: tmp_path / file)
    assert small_files("some/model", None) == tmp_path


def test_without_the_hub_and_the_cache_it_says_so_in_a_sentence(no_hub: None) -> None:
    with pytest.raises(MachineError) as caught:
        small_files("some/model", None)
    assert caught.value.exit_code == 4 and caught.value.code == "hub.unreachable"
    assert "MODEL=" in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_config_and_a_model_with_code_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        small_files(str(tmp_path), None)
    assert caught.value.code == "model.no_config"
    (tmp_path / "config.json").write_text('{"model_type": "own", "auto_map": {"AutoConfig": "x.Y"}}')
    with pytest.raises(InputError) as caught:
        small_files(str(tmp_path), None)
    assert caught.value.code == "model.own_code"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    for module in (hub, cut_model):
        monkeypatch.setattr(module, "unreachable", lambda: None)
    place = "huggingface_hub.constants."
    monkeypatch.setattr(place + "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(place + "HF_HUB_CACHE", str(tmp_path))
    with hub_server.serving() as one:
        monkeypatch.setattr(place + "ENDPOINT", one.endpoint)
        monkeypatch.setattr(
            place + "HUGGINGFACE_CO_URL_TEMPLATE", one.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield one


def test_the_hub_is_asked_for_small_files_only(served: hub_server.Hub) -> None:
    small = {"config.json", "tokenizer.json", "chat_template.jinja"}
    large = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"}
    served.repos["some/model"] = {name: b"{}" for name in small | large}
    folder = small_files("some/model", None)
    assert {path.name for path in folder.iterdir()} == set(served.fetched) == small


def test_a_model_that_the_hub_does_not_have_is_a_refusal(served: hub_server.Hub) -> None:
    with pytest.raises(MachineError) as caught:
        small_files("some/model", None)
    assert caught.value.code == "hub.refused" and "404" in str(caught.value)


def test_the_command_ends_with_4_where_nothing_is_here(tmp_path: Path) -> None:
    import huggingface_hub.constants  # noqa: F401 (reads the variable once, for all tests of this process)

    off = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "TUNEBOOK_RUNS": str(tmp_path / "runs")}
    found: Any = in_process("recipe", "classify-lora", "--rehearse", **off)
    assert found.returncode == 4, found.stderr
    assert "HF_HUB_OFFLINE" in found.stderr and not (tmp_path / "runs").exists()
