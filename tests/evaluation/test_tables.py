"""Adapters that train more than LoRA's own weights: loaded, merged and evaluated, the model stays the one
that was trained."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny
from tests.support.lazy import lazy
from tunebook.core.ranks import Ranks

peft, torch, transformers = lazy("peft"), lazy("torch"), lazy("transformers")
loader, token_lm = lazy("tunebook.evaluation.engines.loader"), lazy("tunebook.evaluation.engines.token_lm")
tables = lazy("tunebook.evaluation.engines.tables")
LINEAR = ["q_proj", "v_proj"]
BOTH = ["embed_tokens", "lm_head"]
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "head saved": {"modules_to_save": ["lm_head"]},
    "embedding saved": {"modules_to_save": ["embed_tokens"]},
    "both saved": {"modules_to_save": BOTH},
    "both saved, tied": {"modules_to_save": BOTH, "ensure_weight_tying": True},
    "norm saved": {"modules_to_save": ["norm"]},
    "LoRA on the head": {"target_modules": [*LINEAR, "lm_head"]},
    "LoRA on the embedding": {"target_modules": [*LINEAR, "embed_tokens"]},
    "LoRA on both": {"target_modules": [*LINEAR, *BOTH]},
    "LoRA on the embedding, tied": {
        "target_modules": [*LINEAR, "embed_tokens"],
        "ensure_weight_tying": True,
    },
    "DoRA on the head": {"target_modules": [*LINEAR, "lm_head"], "use_dora": True},
    "single tokens": {"trainable_token_indices": [5, 6]},
    "single tokens of either": {"trainable_token_indices": {"embed_tokens": [5, 6], "lm_head": [7]}},
}
WORDS, NEW = 512, 4  # tokens of the base, and those that it does not have
ADDED = [*range(WORDS, WORDS + NEW)]
LONGER: dict[str, dict[str, Any]] = {
    "new tokens, plain LoRA": {},
    "new tokens, both saved": {"modules_to_save": BOTH},
    "new tokens, LoRA on both": {"target_modules": [*LINEAR, *BOTH]},
    "new tokens, only they trained": {"trainable_token_indices": ADDED},
}
CONTEXT, ANSWER = [5, 6, 7, 8, 9, 20, 33], [6, 5, 41]


@functools.cache
def small() -> Any:
    return tiny.tokenizer(WORDS)


def train(base: Path, folder: Path, shape: dict[str, Any], new: int) -> torch.Tensor:
    """Train an adapter for two steps and save it as Axolotl does; return the trained model's logits."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    net = transformers.AutoModelForCausalLM.from_pretrained(base)
    tokenizer = copy.deepcopy(small())
    if new:
        tokenizer.add_tokens([f"<new-{index}>" for index in range(new)])
        net.resize_token_embeddings(len(tokenizer))
    whole = {"target_modules": LINEAR, "r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"} | shape
    model = peft.get_peft_model(net, peft.LoraConfig(**whole))
    ids = torch.tensor([[*CONTEXT, *ANSWER, *([ADDED[0], ADDED[-1]] if new else [])]])
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trained:
        weight.data += torch.randn_like(weight) * 0.05
    optimizer = torch.optim.SGD(trained, lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with torch.inference_mode():
        return model.eval()(input_ids=ids).logits[0]


def logprob(logits: torch.Tensor) -> float:
    steps = logits[len(CONTEXT) - 1 :].log_softmax(-1)
    return sum(float(steps[place, token]) for place, token in enumerate(ANSWER))


UNTIED = ("both saved", "LoRA on both", "single tokens of either", "new tokens, both saved")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "tied"), [*((case, True) for case in [*CASES, *LONGER]), *((case, False) for case in UNTIED)]
)
def test_the_evaluated_model_is_the_trained_one(tmp_path: Path, case: str, tied: bool) -> None:
    base, folder, new = tmp_path / "base", tmp_path / "adapter", NEW if case in LONGER else 0
    tiny.model(tie_word_embeddings=tied, vocab_size=WORDS).save_pretrained(base)
    truth = train(base, folder, (CASES | LONGER)[case], new)
    assert tables.saved_rows(folder) in ((WORDS + NEW,) if new else (WORDS, None))

    plain = transformers.AutoModelForCausalLM.from_pretrained(base)
    if new:
        plain.resize_token_embeddings(WORDS + new, mean_resizing=False)
    shipped = peft.PeftModel.from_pretrained(plain, str(folder)).eval()
    ids = torch.tensor([[*CONTEXT, *ANSWER, *([ADDED[0], ADDED[-1]] if new else [])]])
    with torch.inference_mode():
        assert torch.allclose(shipped(input_ids=ids).logits[0], truth, atol=1e-5), "plain PEFT loads it"

    models = loader.Models({"base_model": str(base), "adapter": "lora", "lora_r": 4}, folder, Ranks())
    for name in ("unmerged", "tuned"):
        lm = models.open(name)
        assert isinstance(lm, token_lm.TokenLM)
        with torch.inference_mode():
            logits = lm.net(input_ids=ids).logits[0]
        assert torch.allclose(logits, truth, atol=1e-3), name
        assert lm.score([CONTEXT], [ANSWER], [])[0] == pytest.approx(logprob(truth), abs=1e-3)
    lm.net.save_pretrained(tmp_path / "merged")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    with torch.inference_mode():
        assert torch.allclose(again(input_ids=ids).logits[0], truth, atol=1e-3), "the merged folder"
    if new:
        before = models.open("base")
        assert isinstance(before, token_lm.TokenLM)
        assert before.generate([[*CONTEXT, ADDED[-1]]], [], 2), "the base answers prompts with new tokens"


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_the_base_of_a_qlora_run_is_evaluated_in_4_bits_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    """A GPU is chosen for what 4 bits take (`make plan`). The CPU's published results have a base in 16."""
    small().save_pretrained(tmp_path)
    config = {"base_model": "some/base", "adapter": "qlora", "load_in_4bit": True}
    models = loader.Models(config, tmp_path, Ranks())
    models.device = device
    asked: list[dict[str, Any]] = []

    def load(name: str, **options: Any) -> Any:
        asked.append(options)
        return tiny.model(vocab_size=WORDS)

    monkeypatch.setattr(models, "_load", load)
    models.open("base")
    assert ("quantization_config" in asked[0]) == (device != "cpu")
    assert models.fingerprint("base").get("quantised", False) == (device != "cpu"), "of the cache of answers"


def test_the_harness_ties_nothing(tmp_path: Path) -> None:
    """Also while it trains (tunebook.plugins.DevMetric), where a step would go on from other weights."""
    net = tiny.model(tie_word_embeddings=True, vocab_size=WORDS)
    model = peft.get_peft_model(net, peft.LoraConfig(target_modules=LINEAR, modules_to_save=BOTH))
    before = {name: id(weight) for name, weight in model.named_parameters(remove_duplicate=False)}
    lm = token_lm.TokenLM(model, small())
    after = {name: id(weight) for name, weight in model.named_parameters(remove_duplicate=False)}
    assert before == after
    assert "tie_weights" not in vars(lm.net)
