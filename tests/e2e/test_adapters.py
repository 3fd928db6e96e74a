"""Every tuning method with the real Axolotl: train, save, load, resume, on a two-layer model."""

from __future__ import annotations

import json
import math
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny
from tests.support.lazy import lazy
from tests.support.trainings import train
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options, with_set
from tunebook.config.resolve import resolve
from tunebook.core.files import read_json, read_jsonl, write_jsonl
from tunebook.data.dataset import load_dataset_config
from tunebook.evaluation import suite
from tunebook.models.methods import METHODS
from tunebook.pipeline import prepare as head
from tunebook.pipeline.prepare import prepare_rows, write_inputs
from tunebook.runs.checkpoints import ENCODER, fault
from tunebook.runs.run import Run

training = lazy("tunebook.plugins.training")

pytestmark = pytest.mark.slow
TOKENS, SIZE, RANK, ENCODER_SIZE, LABELS = 4, 6, 2, 10, 14
WIDTH, LAYERS, HEADS, KV_HEADS, INNER = 64, 2, 4, 2, 128  # of tests/support/tiny.py
KV = KV_HEADS * WIDTH // HEADS
LINEAR = [(WIDTH, WIDTH), (WIDTH, KV), (WIDTH, KV), (WIDTH, WIDTH), *[(WIDTH, INNER)] * 2, (INNER, WIDTH)]
LORA = LAYERS * sum(RANK * (inside + outside) for inside, outside in LINEAR)
DORA = LORA + LAYERS * sum(outside for _, outside in LINEAR)
WHOLE = tiny.WORDS * WIDTH + LAYERS * (sum(a * b for a, b in LINEAR) + 2 * WIDTH) + WIDTH

# Recipe, what is set beside it, and the formula of docs/adapters.md for what is trained.
UNPACKED = "sample_packing=false pad_to_sequence_len=false"  # four steps of four rows, as the others
LORA_R = f"lora_r={RANK} lora_alpha={2 * RANK}"
CASES: dict[str, tuple[str, str, int]] = {
    "prompt": ("classify-prompt", f"num_virtual_tokens={TOKENS}", TOKENS * WIDTH),
    "ptuning": (
        "classify-ptuning",
        f"num_virtual_tokens={TOKENS} encoder_hidden_size={ENCODER_SIZE} load_best_model_at_end=true",
        TOKENS * WIDTH
        + (WIDTH + 1) * ENCODER_SIZE
        + (ENCODER_SIZE + 1) * ENCODER_SIZE
        + (ENCODER_SIZE + 1) * WIDTH,
    ),
    "prefix": ("classify-prefix", f"num_virtual_tokens={TOKENS}", TOKENS * LAYERS * 2 * KV),
    "projection": (
        "classify-prefix",
        f"num_virtual_tokens={TOKENS} prefix_projection=true encoder_hidden_size={ENCODER_SIZE} "
        "prefix_init_std=null",
        TOKENS * KV + (KV + 1) * ENCODER_SIZE + (ENCODER_SIZE + 1) * LAYERS * 2 * KV,
    ),
    "ia3": ("classify-ia3", "", LAYERS * (2 * KV + INNER)),
    "bottleneck": (
        "classify-bottleneck",
        f"bottleneck_size={SIZE}",
        LAYERS * 2 * (2 * WIDTH * SIZE + SIZE + WIDTH),
    ),
    "bf16": ("classify-lora", f"{LORA_R} bf16=true", LORA),
    "rslora": ("classify-lora", f"{LORA_R} peft_use_rslora=true", LORA),
    "loftq": ("classify-qlora", f"{LORA_R} plugins=[tunebook.plugins.LoftQ]", LORA),
    "dora": ("classify-dora", LORA_R, DORA),
    "chat-dora": ("chat-dora", f"{LORA_R} {UNPACKED}", DORA),
    "chat-prompt": ("chat-prompt", f"num_virtual_tokens={TOKENS}", TOKENS * WIDTH),
    "head": ("classify-head", LORA_R, LORA + WIDTH * LABELS),
    "head-full": (
        "classify-head",
        "adapter=null lora_r=null lora_alpha=null lora_dropout=null lora_target_linear=null",
        WHOLE + WIDTH * LABELS,
    ),
}
# Layers of the base are replaced.
IN_PLACE = ("ia3", "bottleneck", "bf16", "rslora", "loftq", "dora", "chat-dora")
RESUMED = ["prompt", "ptuning", "prefix", "projection", "ia3", "bottleneck", "bf16", "loftq", "dora", "head"]
SHORT = "num_epochs=1 evals_per_epoch=null saves_per_epoch=null save_steps=2 eval_steps=2 save_total_limit=9"
SHORT += " warmup_ratio=0 bf16=false micro_batch_size=4 gradient_accumulation_steps=1 eval_batch_size=8"
SHORT += " learning_rate=0.02"


def prepare(folder: Path, base: Path, case: str, cases: dict[str, tuple[str, str, int]] = CASES) -> Run:
    """Make the run folder of four steps of four rows."""
    name, words, _ = cases[case]
    recipe = recipes.load_recipe(name)
    dataset = load_dataset_config(str(load_dataset_config(recipe.dataset).stand_in))
    layers = "peft_layers_to_transform=null" if "peft_layers_to_transform" in recipe.trial else ""
    usual = Options("trial", "cpu", set=f"base_model={base} {SHORT} {layers}", eval="quick")
    options = with_set(usual, dict(word.split("=", 1) for word in shlex.split(words)))
    resolved = head.with_labels(resolve(recipe, options), dataset)
    resolved.config["plugins"].append("tests.support.adapter_probe.Probe")
    run = Run(folder / case)
    rows = prepare_rows(resolved, dataset)
    for split, count in (("train", 16), ("dev", 8), ("test", 8)):
        write_jsonl(run / "data" / f"{split}.jsonl", rows[split][:count])
    settings = suite.load_suite(recipe, dataset.task, "trial", "quick")
    write_inputs(run, resolved, dataset, settings, "")
    # All of a task have the same rows, which are tokenised once.
    shared, config = base / dataset.task, (run / "config.yaml").read_text()
    config = config.replace(str(run / "data"), str(shared / "data"))
    (run / "config.yaml").write_text(
        config.replace(str(run / "train" / "prepared"), str(shared / "prepared"))
    )
    if not (shared / "data").is_dir():
        shutil.copytree(run / "data", shared / "data")
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[dict[str, Run]]:
    """Every case trained undisturbed, and those of RESUMED again from a copy of their second step."""
    folder = tmp_path_factory.mktemp("adapters")
    before = {path.name: path.read_bytes() for path in base.glob("*.safetensors")}
    runs = {case: prepare(folder, base, case) for case in CASES}
    again = {f"{case} resumed": prepare(folder / "resumed", base, case) for case in RESUMED}
    train(runs.values(), {again[f"{case} resumed"]: runs[case] for case in RESUMED})
    yield runs | again
    assert {path.name: path.read_bytes() for path in base.glob("*.safetensors")} == before


def four_bits() -> Any:
    """Return how Axolotl quantises a base."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )


def reloaded(run: Run, base: Path) -> Any:
    """Load the saved model by the public calls, as anybody would."""
    import transformers
    from peft import PeftModel

    import tunebook.plugins.bottleneck  # noqa: F401

    config = read_json(run / "settings.json")
    labels = len(config["dataset"]["labels"])
    with_head = run.folder.name.startswith("head")
    kind = transformers.AutoModelForSequenceClassification if with_head else transformers.AutoModelForCausalLM
    options: dict[str, Any] = {"num_labels": labels} if with_head else {}
    if run.folder.name == "loftq":
        options |= {"quantization_config": four_bits()}
    if run.folder.name == "bf16":
        options |= {"dtype": "bfloat16", "attn_implementation": "eager"}
    if not (run / "model" / "adapter_config.json").is_file():
        return kind.from_pretrained(run / "model", dtype="float32", **options)
    model = kind.from_pretrained(base, **options)
    if with_head:
        model.config.pad_token_id = 2
    training.keep_gradients_of_4bit(model)  # the layout for inference computes in bf16
    return PeftModel.from_pretrained(model, run / "model", autocast_adapter_dtype=run.folder.name != "bf16")


def probe(run: Run) -> dict[str, Any]:
    return json.loads((run / "train" / "probe.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_trained_weights_are_those_of_the_formula(case: str, trained: dict[str, Run]) -> None:
    assert probe(trained[case])["trained"] == CASES[case][2]


@pytest.mark.parametrize("case", CASES)
def test_what_was_saved_gives_the_logits_of_what_was_trained(
    case: str, trained: dict[str, Run], base: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    from tests.support.adapter_probe import logits

    assert fault(trained[case] / "train" / "checkpoint-4") is None
    expected = load_file(trained[case] / "train" / "probe.safetensors")["logits"]
    model = reloaded(trained[case], base)
    found = logits(model)
    assert found.shape == expected.shape
    assert torch.allclose(found.float(), expected.float(), rtol=1e-5, atol=1e-5)
    if hasattr(model, "disable_adapter") and not case.startswith("head"):
        with model.disable_adapter():
            untuned = logits(model)
        assert (untuned - expected).abs().max() > 1e-3, "it learned something"
        assert torch.equal(untuned, logits(model.get_base_model())) or case in IN_PLACE


@pytest.mark.parametrize("case", [case for case in CASES if case != "head-full"])
def test_no_weight_of_the_base_changes(case: str, trained: dict[str, Run], base: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from tests.support.adapter_probe import fingerprints

    saved = load_file(base / "model.safetensors").values()
    if case == "loftq":
        saved = AutoModelForCausalLM.from_pretrained(base, quantization_config=four_bits()).parameters()
    weights = set(fingerprints(weight.bfloat16() if case == "bf16" else weight for weight in saved))
    assert weights <= set(probe(trained[case])["frozen"])


def losses(run: Run) -> list[float]:
    log = read_json(run / "train" / "history.json")["log"]
    return [
        entry[key] for key in ("loss", "eval_loss") for entry in log if key in entry and entry["step"] > 2
    ]


@pytest.mark.parametrize("case", RESUMED)
def test_a_resumed_training_ends_where_an_undisturbed_one_does(case: str, trained: dict[str, Run]) -> None:
    from safetensors.torch import load_file

    whole, resumed = trained[case], trained[f"{case} resumed"]
    assert len(losses(whole)) == 3
    assert losses(resumed) == losses(whole)
    names = [run / "model" / "adapter_model.safetensors" for run in (whole, resumed)]
    first, second = map(load_file, names)
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)


def test_the_best_checkpoint_comes_back_whole(trained: dict[str, Run]) -> None:
    """PEFT alone would take what the network makes for what goes into it."""
    from safetensors.torch import load_file

    run = trained["ptuning"]
    best = read_json(run / "train" / "checkpoint-4" / "trainer_state.json")["best_model_checkpoint"]
    saved = load_file(Path(best) / "adapter_model.safetensors")["prompt_embeddings"]
    final = load_file(run / "model" / "adapter_model.safetensors")["prompt_embeddings"]
    assert (saved - final).abs().max() < 1e-5


@pytest.mark.parametrize("case", ["ptuning", "projection"])
def test_a_checkpoint_without_its_encoder_is_broken(
    case: str, trained: dict[str, Run], tmp_path: Path
) -> None:
    copy = shutil.copytree(trained[case] / "train" / "checkpoint-4", tmp_path / "checkpoint-4")
    (copy / ENCODER).unlink()
    assert fault(copy) == f"{ENCODER} is missing"


@pytest.mark.parametrize("case", ["prefix", "bottleneck", "head"])
def test_the_evaluation_takes_it(case: str, trained: dict[str, Run]) -> None:
    from tunebook.commands import predict_worker
    from tunebook.evaluation.evaluate import evaluate
    from tunebook.evaluation.evaluator import Evaluator

    run = trained[case]
    evaluation = Evaluator.of_run(run)
    evaluation.suite.dev_rows = 2
    evaluate(evaluation)
    records = read_jsonl(run / "eval" / "answers" / "tuned.dev.jsonl")
    assert len(records) == 8
    if case == "head":
        labels = read_json(run / "settings.json")["dataset"]["labels"]
        for record in records:
            assert record["label"] == labels[record["scores"].index(max(record["scores"]))]
            assert "stopped" not in record
        right = sum(record["label"] == record["gold"] for record in records) / len(records)
        log = read_json(run / "train" / "history.json")["log"]
        assert right in [entry["eval_accuracy"] for entry in log if "eval_accuracy" in entry]
        contexts = [evaluation.maker.encoder.context(evaluation.rows["dev"][0]["messages"][:-1])]
        (answer,) = predict_worker._labels(contexts, [], evaluation.models, labels, 0.0)
        assert answer["predicted_label"] == records[0]["label"]
        assert answer["predicted_score"] == pytest.approx(math.exp(max(records[0]["scores"])), abs=1e-5)
    else:
        assert read_json(run / "eval" / "choice.json")["token_agreement_unmerged_merged"] is None


def test_ia3_merges_and_bottleneck_refuses(trained: dict[str, Run], base: Path) -> None:
    from tests.support.adapter_probe import logits

    model = reloaded(trained["ia3"], base)
    expected = logits(model)
    assert (logits(model.merge_and_unload()) - expected).abs().max() < 1e-4
    with pytest.raises(NotImplementedError, match="nonlinearity"):
        reloaded(trained["bottleneck"], base).merge_and_unload()


def test_every_method_is_trained_here() -> None:
    used = {recipes.load_recipe(name).config.get("adapter") for name, _, _ in CASES.values()}
    assert set(METHODS) <= used
