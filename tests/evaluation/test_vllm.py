"""Evaluation through vLLM's server: as the models in this process answer, and its failures told."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny
from tests.support.lazy import lazy
from tunebook.core.errors import InputError, MachineError
from tunebook.core.paths import ROOT
from tunebook.evaluation.engines import vllm
from tunebook.evaluation.jobs import ALONE

pytestmark = pytest.mark.slow

torch, peft = lazy("torch"), lazy("peft")
loader = lazy("tunebook.evaluation.engines.loader")

STAND_IN = shlex.join([sys.executable, str(ROOT / "tests" / "support" / "vllm_command.py")])
CONTEXTS = [[5, 900, 17, 300], [5, 900, 4], [5, 900, 17, 301, 77, 8]]
ANSWERS = [[7, 8], [9], [10, 11, 12]]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base model, and two adapters beside it that are not the zero of a fresh LoRA."""
    folder = tmp_path_factory.mktemp("served")
    found = {"base": tiny.save(folder / "base")}
    for number, name in enumerate(("tuned", "checkpoint")):
        base, wanted = (
            tiny.model(),
            peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False),
        )
        torch.manual_seed(number)
        peft.get_peft_model(base, wanted).save_pretrained(folder / name)
        tiny.tokenizer().save_pretrained(folder / name)
        found[name] = folder / name
    return found


def models(saved: dict[str, Path], **changes: Any) -> loader.Models:
    config = {"base_model": str(saved["base"]), "adapter": "lora", "lora_r": 4, "bf16": False, **changes}
    made = loader.Models(config, saved["tuned"], ALONE)
    assert made.add_checkpoint(saved["checkpoint"]) == "checkpoint"
    return made


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vllm.COMMAND, STAND_IN)


@pytest.fixture(scope="module")
def opened(saved: dict[str, Path]) -> Iterator[loader.Models]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(vllm.COMMAND, STAND_IN)
        found = models(saved)
        yield found
        found.close()


def asked(lm: Any) -> tuple[list[Any], list[Any]]:
    numbers = [lm.score(CONTEXTS, ANSWERS, []), *lm.rank_choices(CONTEXTS, ANSWERS, [])]
    return lm.generate(CONTEXTS, [], 6), numbers


def test_answers_are_those_of_the_models_in_this_process(
    saved: dict[str, Path], opened: loader.Models
) -> None:
    texts = {}
    for name in ("base", "tuned", "checkpoint", "base"):
        lm = opened.open(name)
        assert isinstance(lm, vllm.ServedLM) and lm.server is opened.open("base").server
        texts[name], numbers = asked(lm)
        expected = asked(models(saved).open(name, engine=False))
        assert texts[name] == expected[0]
        for one, other in zip(numbers, expected[1], strict=True):
            assert one == pytest.approx(other, abs=1e-4)
    assert len({str(text) for text in texts.values()}) == 3
    assert not opened.merged, "the adapter is not merged into its base"


def test_whole_weights_have_a_server_of_their_own_and_it_ends(saved: dict[str, Path]) -> None:
    config = {"base_model": str(saved["base"]), "bf16": False}
    whole = loader.Models(config, saved["base"], ALONE)
    lm = whole.open("tuned")
    assert isinstance(lm, vllm.ServedLM)
    assert (lm.name, lm.server.model) == (vllm.BASE, str(saved["base"]))
    lm.server.process.kill()
    with pytest.raises(MachineError, match="stopped responding") as caught:
        lm.generate(CONTEXTS, [], 1)
    assert caught.value.code == "eval.vllm_failed"
    whole.close()
    assert lm.server.process.poll() is not None


def test_the_turn_end_ends_an_answer(opened: loader.Models) -> None:
    lm = opened.open("base")
    (whole,) = lm.generate(CONTEXTS[:1], [], 6)
    lm.end = whole.ids[2]  # the object is this test's own
    (cut,) = lm.generate(CONTEXTS[:1], [], 6)
    assert not whole.stopped and cut.stopped
    assert cut.ids == whole.ids[: whole.ids.index(lm.end)]


def test_which_engine_it_was_is_part_of_what_decides_a_result(
    opened: loader.Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened.fingerprint("tuned")["vllm"] == ["0.33.0", None]
    monkeypatch.setenv(vllm.ARGUMENTS, "--max-model-len 4096")
    assert vllm.engine({})["vllm"] == ["0.33.0", "--max-model-len 4096"]
    monkeypatch.delenv(vllm.COMMAND)
    assert vllm.engine({}) == {}


def test_a_server_that_refuses_is_told(opened: loader.Models) -> None:
    lm = opened.open("base")
    with pytest.raises(MachineError, match=r"vLLM, /v1/completions: 400 .*does not exist"):
        vllm.ServedLM(lm.server, "nobody", 2).generate(CONTEXTS, [], 1)


def test_a_server_that_does_not_start_says_why(saved: dict[str, Path]) -> None:
    with pytest.raises(MachineError, match=r"(?s)did not start: .*Error.*nothing.*Log: "):
        models(saved, base_model=str(saved["base"] / "nothing")).open("base")


def test_an_adapter_of_too_high_a_rank(saved: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"512 \(got 1024\)") as caught:
        models(saved, lora_r=1024).open("tuned")
    assert caught.value.code == "eval.vllm_cannot_serve"


def test_a_command_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(vllm.COMMAND, "/nowhere/vllm")
    with pytest.raises(InputError, match="'/nowhere/vllm'") as caught:
        vllm.engine({})
    assert caught.value.code == "eval.no_vllm_command"


def test_a_process_has_its_own_card_of_those_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert vllm._card(1) == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert vllm._card(1) == "6"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"adapter": "ia3"}, "adapter: ia3"),
        ({"adapter": "qlora"}, "adapter: qlora"),
        ({"adapter": "lora", "peft_use_dora": True}, "DoRA"),
        ({"adapter": "lora", "load_in_8bit": True}, "a base model in 4 or 8 bits"),
        ({"adapter": "lora", "class_labels": ["a"]}, "a classification head"),
        ({"adapter": "lora", "lora_modules_to_save": ["lm_head"]}, "modules saved in full"),
        ({"adapter": "lora", "lora_target_modules": ["lm_head"]}, "LoRA on the embedding"),
        ({"adapter": "lora", "peft_trainable_token_indices": [5]}, "tokens trained together"),
        ({"adapter": "lora", "tokens": ["<x>"]}, "tokens trained together"),
    ],
)
def test_what_vllm_cannot_serve_is_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"not {said}") as caught:
        vllm.engine(config)
    assert caught.value.code == "eval.vllm_cannot_serve"
    assert vllm.refusal({"adapter": "lora"}) is vllm.refusal({}) is None
