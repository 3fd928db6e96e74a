"""Models of the shelf, a few layers small: the true architecture and template, two steps of a recipe; what
was trained is what evaluation loads."""

from __future__ import annotations

import pytest

from tests.support.lazy import lazy
from tests.support.shelf import prepare, small_base
from tests.support.trainings import train
from tunebook.core.files import read_json
from tunebook.models.registry import model_table
from tunebook.runs.run import Run

evaluators = lazy("tunebook.evaluation.evaluator")
pytestmark = pytest.mark.slow
MODELS = {"qwen3.5": "Qwen/Qwen3.5-0.8B", "granite": "ibm-granite/granite-4.1-3b"}
MODELS |= {"minicpm5": "openbmb/MiniCPM5-1B"}
# Modules with an adapter: in Qwen3.5 three linear layers of linear attention, and four of the other layer.
ADAPTED = {"qwen3.5": 3 * 6 + 7, "granite": 2 * 7, "minicpm5": 2 * 7}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("shelf")
    runs = {}
    for family, base in MODELS.items():
        small_base(base, folder / family / "base")
        runs[family] = prepare(base, folder / family / "base", folder / family / "run")
    train(runs.values(), {})
    return runs


@pytest.mark.parametrize("family", MODELS)
def test_two_steps_train_what_evaluation_loads(family: str, trained: dict[str, Run]) -> None:
    import torch
    from safetensors.torch import load_file

    run = trained[family]
    log = read_json(run / "train" / "history.json")["log"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert len(losses) == 2 and losses[1] < losses[0]
    weights = load_file(run / "model" / "adapter_model.safetensors")
    assert len(weights) == 2 * ADAPTED[family]
    moved = {name for name, weight in weights.items() if "lora_B" in name and weight.abs().sum() > 0}
    assert len(moved) == ADAPTED[family], "every adapter has learned"

    models = evaluators.Evaluator.of_run(run).models
    ids = torch.arange(5, 25)[None]
    seen = {}
    for name in ("base", "unmerged", "tuned"):
        with torch.no_grad():
            seen[name] = models.open(name).net(input_ids=ids).logits
    assert not torch.allclose(seen["base"], seen["tuned"], atol=1e-3), "the adapter is not loaded"
    assert torch.allclose(seen["unmerged"], seen["tuned"], atol=1e-3)


def test_every_family_of_2026_is_here() -> None:
    old = {"smollm2", "qwen3", "qwen3-base", "qwen3-instruct", "olmo3", "phi4-mini"}
    assert {row["family"] for row in model_table().values()} - old == set(MODELS)
