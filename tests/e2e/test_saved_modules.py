"""LoRA that trains more than its own weights, with the real Axolotl on a two-layer model whose tables are
tied: train, save, load by the public calls, evaluate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_adapters import LORA, LORA_R, WIDTH, prepare, probe
from tests.support import tiny
from tests.support.lazy import lazy
from tests.support.trainings import train
from tunebook.runs.run import Run

evaluation, evaluators = lazy("tunebook.evaluation.evaluate"), lazy("tunebook.evaluation.evaluator")
pytestmark = pytest.mark.slow
BOTH = "lora_modules_to_save=[embed_tokens,lm_head]"
CASES: dict[str, tuple[str, str, int]] = {
    "saved-output": ("classify-lora", f"{LORA_R} lora_modules_to_save=[lm_head]", LORA + tiny.WORDS * WIDTH),
    "saved-both": ("classify-lora", f"{LORA_R} {BOTH}", LORA + 2 * tiny.WORDS * WIDTH),
    "lora-on-output": (
        "classify-lora",
        f"{LORA_R} lora_target_modules=[lm_head]",
        LORA + 2 * (WIDTH + tiny.WORDS),
    ),
    "single-tokens": ("classify-lora", f"{LORA_R} peft_trainable_token_indices=[5,6]", LORA + 2 * WIDTH),
    "new-tokens": (
        "classify-lora",
        f'{LORA_R} {BOTH} tokens=["<unheard-of>"]',
        LORA + 2 * (tiny.WORDS + 1) * WIDTH,
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base: Path) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("saved")
    runs = {case: prepare(folder, base, case, CASES) for case in CASES}
    train(runs.values(), {})
    return runs


@pytest.mark.parametrize("case", CASES)
def test_what_ships_and_what_is_evaluated_is_what_was_trained(
    case: str, trained: dict[str, Run], base: Path
) -> None:
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tests.support.adapter_probe import logits

    run = trained[case]
    assert probe(run)["trained"] == CASES[case][2]
    expected = load_file(run / "train" / "probe.safetensors")["logits"]

    plain = AutoModelForCausalLM.from_pretrained(base)
    if case == "new-tokens":
        plain.resize_token_embeddings(len(AutoTokenizer.from_pretrained(run / "model")))
    assert torch.allclose(
        logits(PeftModel.from_pretrained(plain, run / "model")), expected, rtol=1e-5, atol=1e-5
    )
    evaluator = evaluators.Evaluator.of_run(run)
    for name in ("unmerged", "tuned"):
        assert torch.allclose(logits(evaluator.models.open(name).net), expected, atol=1e-3), name
    evaluator.suite.dev_rows = 2
    evaluation.evaluate(evaluator)
    assert (run / "eval" / "choice.json").is_file()
