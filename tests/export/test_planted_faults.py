"""Faults planted in merged weights, each found by the score measured again and named.

The run is a LoRA on a tiny random model, fitted here to a few chat rows; no recipe is trained.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import tiny
from tests.support.lazy import lazy
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.files import file_sha256, read_json, write_json, write_jsonl
from tunebook.data.dataset import load_dataset_config
from tunebook.data.prompt import PromptEncoder
from tunebook.export import merge
from tunebook.export.parity import path_of
from tunebook.models.fingerprint import weights_hash
from tunebook.runs.run import Run

torch, worker = lazy("torch"), lazy("tunebook.export.merge_worker")
parity_worker = lazy("tunebook.export.parity_worker")
ANSWER = "Yes, of course."


def chat_rows(split: str, count: int) -> list[dict[str, Any]]:
    """Rows whose answer is always the same, so that a few steps teach it."""
    return [
        {
            "id": f"{split}-{i}",
            "group": f"{split}-{i}",
            "messages": [
                {"role": "user", "content": f"May I borrow {thing}?"},
                {"role": "assistant", "content": ANSWER},
            ],
            "gold": {"answer": ANSWER},
        }
        for i, thing in enumerate([f"tool number {n}" for n in range(count)])
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished LoRA run on the tiny model, and its merged weights."""
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("planted")
    base, run = tiny.save(folder / "base"), Run(folder / "run")
    start = tiny.model(pad_token_id=0)  # padding has no embedding, and could not be learned as the end
    start.save_pretrained(base)
    run.folder.mkdir()
    rows = {"train": chat_rows("train", 8), "dev": chat_rows("dev", 4), "test": chat_rows("test", 40)}
    for split, lines in rows.items():
        write_jsonl(run / "data" / f"{split}.jsonl", lines)
    config = {"base_model": str(base), "adapter": "lora", "lora_r": 16, "bf16": False, "sequence_len": 128}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    dataset = load_dataset_config("kettlewick-chat").model_dump(mode="json", exclude={"folder"})
    suite = {"primary": "loss", "shots": 0, "max_new_tokens": 12, "dev_rows": 4, "generate_rows": None}
    placed = {"recipe": "mine", "tier": "trial", "seed": 42, "hardware": "cpu", "world": 1}
    placed |= {
        "base_model": str(base),
        "dataset": {**dataset, "rules": {}},
        "suite": {**suite, "agreement_rows": 0},
    }
    write_json(run / "settings.json", placed)
    write_json(run / "manifest.json", {"base_weights": weights_hash(base)})
    tokenizer, encoder = tiny.tokenizer(), PromptEncoder(tiny.tokenizer())
    model = get_peft_model(start, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    batches = []
    for row in rows["train"]:
        one = encoder.encode(row["messages"])
        ids = [*one.context, *one.answer, one.end]
        batches.append(
            (torch.tensor([ids]), torch.tensor([[-100] * len(one.context) + [*one.answer, one.end]]))
        )
    for step in range(80):
        ids, labels = batches[step % len(batches)]
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss < 0.6, "the run has learned its answer"
    model.save_pretrained(run / "model")
    tokenizer.save_pretrained(run / "model")
    run.mark("train", "done")
    worker.merge(run, run / "merged")
    return run


def line_of(run: Run, artefact: str, files: list[Path]) -> Any:
    path_of(run, artefact).parent.mkdir(parents=True, exist_ok=True)
    parity_worker.measure(run, artefact, files, None)
    return read_json(path_of(run, artefact))


def planted(run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run / "merged", tmp_path / "merged"))


def change_config(folder: Path, name: str, **values: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def moved(run: Run, folder: Path, times: float) -> None:
    """Write weights that stand `times` as far from the base as the merged ones."""
    from safetensors.torch import load_file, save_file

    base = load_file(Path(run.config()["base_model"]) / "model.safetensors")
    merged = load_file(folder / "model.safetensors")
    weights = {name: base[name] + times * (merged[name] - base[name]) for name in merged}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_merged_weights_are_as_the_run(made: Run) -> None:
    line = line_of(made, "merged", [made / "merged"])
    assert line["passed"] and line["same_answers"] == 1 and line["prompts_equal"] == 1
    assert line["largest_gap"] < 1e-3 and line["stop_rate"] == line["stop_rate_run"] == 1
    assert line["causes"] == [] and line["bytes"] > 0


def test_an_adapter_without_effect(made: Run, tmp_path: Path) -> None:
    folder = planted(made, tmp_path)
    moved(made, folder, 0.0)
    line = line_of(made, "scale0", [folder])
    assert not line["passed"] and any(cause.startswith("adapter without effect") for cause in line["causes"])


def test_a_wrong_scale(made: Run, tmp_path: Path) -> None:
    folder = planted(made, tmp_path)
    moved(made, folder, 0.2)
    line = line_of(made, "scale", [folder])
    assert not line["passed"] and any(cause.startswith("wrong scale") for cause in line["causes"])


def test_a_swapped_template(made: Run, tmp_path: Path) -> None:
    folder = planted(made, tmp_path)
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role | upper }}: {{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
    )
    line = line_of(made, "template", [folder])
    assert not line["passed"] and line["prompts_equal"] == 0
    assert any(cause.startswith("wrong template") for cause in line["causes"])


def test_a_missing_stop(made: Run, tmp_path: Path) -> None:
    folder = planted(made, tmp_path)
    change_config(folder, "tokenizer_config.json", eos_token="<|endoftext|>")
    line = line_of(made, "stop", [folder])
    assert not line["passed"] and any(cause.startswith("missing stop") for cause in line["causes"])


def test_a_tied_head_that_came_loose(made: Run, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = planted(made, tmp_path)
    weights = load_file(folder / "model.safetensors")
    torch.manual_seed(1)
    weights["lm_head.weight"] = torch.randn_like(weights["model.embed_tokens.weight"]) * 0.2
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    change_config(folder, "config.json", tie_word_embeddings=False)
    line = line_of(made, "untied", [folder])
    assert not line["passed"] and any(cause.startswith("tied head untied") for cause in line["causes"])


def test_a_base_that_changed_since_training_is_refused(made: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(made.folder, tmp_path / "run")))
    base = Path(shutil.copytree(made.config()["base_model"], tmp_path / "base"))
    tiny.model(initializer_range=0.1).save_pretrained(base)
    (run / "config.yaml").write_text(yaml.safe_dump({**made.config(), "base_model": str(base)}))
    with pytest.raises(InputError) as caught:
        merge.ensure(run, Console())
    assert caught.value.code == "export.base_changed"


def test_a_merge_that_was_killed_is_made_again(
    made: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(made.folder, tmp_path / "run")))
    whole = file_sha256(run / "merged" / "model.safetensors")
    (run / "merged").rename(run / "merged.partial")
    (run / "merged.partial" / "model.safetensors").write_bytes(b"half")
    monkeypatch.setattr(
        merge, "write_folder", lambda _, words, target, log: worker.merge(Run(Path(words[0])), target)
    )
    assert file_sha256(merge.ensure(run, Console()) / "model.safetensors") == whole


def test_methods_without_a_merged_form_say_why(made: Run, tmp_path: Path) -> None:
    run = Run(tmp_path)
    for config in (
        {"adapter": "prefix_tuning"},
        {"adapter": "prompt_tuning"},
        {"adapter": "bottleneck"},
        {"plugins": ["tunebook.plugins.ClassificationHead"]},
    ):
        (run / "config.yaml").write_text(yaml.safe_dump({"base_model": "x", **config}))
        with pytest.raises(InputError) as caught:
            merge.ensure(run, Console())
        assert caught.value.code == "export.cannot_merge"
