"""Faults planted in what the verbs write, each found by the score measured again and named.

The run is a LoRA on a tiny random model, fitted here to a few chat rows; no recipe is trained.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import tiny
from tests.support.commands import in_process
from tests.support.helpers import MANIFEST
from tests.support.lazy import lazy
from tunebook.commands.after import export
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.files import file_sha256, read_json, write_json, write_jsonl
from tunebook.data.dataset import load_dataset_config
from tunebook.data.prompt import PromptEncoder
from tunebook.export import gguf, merge, parity
from tunebook.metrics.schema import ParityLine
from tunebook.models import llama_cpp
from tunebook.models.fingerprint import weights_hash
from tunebook.runs.run import Run

pytestmark = pytest.mark.slow  # each runs the real verb, whose workers load the model
Fault = Callable[[Run, Path], None]
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
    write_json(run / "manifest.json", MANIFEST | {"base_weights": weights_hash(base)})
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
    for stage in ("train", "report"):
        run.mark(stage, "done")
    worker.merge(run, run / "merged")
    return run


def by_verb(
    made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault | None, *words: str
) -> tuple[int, str, ParityLine]:
    """Run a verb on a copy of the run, whose merge makes `fault`; returns exit code, output and the line."""
    run = Run(Path(shutil.copytree(made.folder, tmp_path / "run", ignore=shutil.ignore_patterns("merged"))))

    def merge_wrongly(_: str, words: list[str], target: Path, log: Path) -> None:
        worker.merge(run, target)
        if fault:
            fault(run, target)
            facts = read_json(target / merge.MADE_OF)
            write_json(target / merge.MADE_OF, {**facts, "merged": weights_hash(target)})

    def measure(_: str, words: list[str], *rest: Any, **options: Any) -> None:
        parity_worker.measure(run, words[1], [Path(word) for word in words[2:]], None)

    monkeypatch.setattr(merge, "write_folder", merge_wrongly)
    monkeypatch.setattr(parity, "follow", measure)
    monkeypatch.setattr(export, "compare", lambda _: None)  # the run has no other contender
    monkeypatch.setattr(export, "write_report", lambda _: None)
    done = in_process(words[0], str(run.folder), *words[1:])
    assert done.returncode in (0, 3), done.stderr
    paths = sorted((run / "export" / "parity").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return done.returncode, done.stdout, read_json(paths[-1])


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


def swap_template(run: Run, folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role | upper }}: {{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
    )


def other_system(run: Run, folder: Path) -> None:
    path = folder / "chat_template.jinja"
    before = path.read_text()
    after = before.replace("You are a helpful AI assistant", "Never answer anything. " * 5)
    assert after != before
    path.write_text(after)


def untie(run: Run, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    torch.manual_seed(1)
    weights["lm_head.weight"] = torch.randn_like(weights["model.embed_tokens.weight"]) * 0.2
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    change_config(folder, "config.json", tie_word_embeddings=False)


def other_special(run: Run, folder: Path) -> None:
    """The mark that begins a turn is plain text."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    kept = [one for one in tokenizer["added_tokens"] if one["content"] != "<|im_start|>"]
    assert len(kept) < len(tokenizer["added_tokens"])
    change_config(folder, "tokenizer.json", added_tokens=kept)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    plain = {name: value for name, value in config.items() if value != "<|im_start|>"}
    plain.pop("extra_special_tokens", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(plain))


def other_tokenizer(run: Run, folder: Path) -> None:
    """One of another run: the same pieces under other numbers."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    special = {one["id"] for one in tokenizer["added_tokens"]}
    plain = {piece: number for piece, number in vocab.items() if number not in special}
    turned = dict(zip(plain, reversed(plain.values()), strict=True))
    change_config(folder, "tokenizer.json", model={**tokenizer["model"], "vocab": {**vocab, **turned}})


FAULTS: dict[str, tuple[Fault, str]] = {
    "template swapped": (swap_template, "wrong template"),
    "adapter scale 0": (lambda run, folder: moved(run, folder, 0.0), "adapter without effect"),
    "wrong scale": (lambda run, folder: moved(run, folder, 0.2), "wrong scale"),
    "stop missing": (
        lambda run, folder: change_config(folder, "tokenizer_config.json", eos_token="<|endoftext|>"),
        "missing stop",
    ),
    "tied head untied": (untie, "tied head untied"),
    "other system turn": (other_system, "other system turn"),
    "other special tokens": (other_special, "other special tokens"),
    "tokenizer of another run": (other_tokenizer, "other special tokens"),
}


def test_merged_weights_are_as_the_run(made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, line = by_verb(made, tmp_path, monkeypatch, None, "merge")
    assert code == 0 and line["passed"] and line["same_answers"] == 1 and line["prompts_equal"] == 1
    assert line["largest_gap"] is not None and line["largest_gap"] < 1e-3
    assert line["stop_rate"] == line["stop_rate_run"] == 1
    assert line["causes"] == [] and line["bytes"] > 0


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_merge_is_found_and_named(
    name: str, made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, cause = FAULTS[name]
    code, output, line = by_verb(made, tmp_path, monkeypatch, fault, "merge")
    assert code == 3 and not line["passed"]
    assert any(one.startswith(cause) for one in line["causes"]), line["causes"]
    assert cause in output


needs_llama = pytest.mark.skipif(
    not llama_cpp.folder().is_dir(), reason="llama.cpp is not built: make export TO=gguf builds it"
)


@needs_llama
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (None, None),
        (swap_template, "wrong template"),
        (other_system, "other system turn"),
        (lambda run, folder: moved(run, folder, 0.0), "adapter without effect"),
    ],
    ids=["none", "template", "system", "scale0"],
)
def test_a_fault_in_a_gguf_file_is_found_and_named(
    fault: Fault | None, cause: str | None, made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("export", "--to", "gguf", "--quant", "q8_0")
    code, output, line = by_verb(made, tmp_path, monkeypatch, fault, *words)
    if cause is None:
        assert code == 0 and line["prompts_equal"] == 1
        file = next(tmp_path.rglob("*-q8_0.gguf"))
        named = file.read_bytes().partition(b"general.name")[2][12:40]  # after its type and length
        assert named.startswith(file.name.removesuffix("-q8_0.gguf").encode()), named
        return
    assert code == 3
    assert any(one.startswith(cause) for one in line["causes"]), line["causes"]
    assert cause in output


@needs_llama
def test_a_truncated_gguf_file_is_not_measured(
    made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a converter that fails without saying so would leave it."""
    convert = gguf._run

    def cut(words: list[str], run: Run, target: Path) -> None:
        convert(words, run, target)
        os.truncate(words[-1], Path(words[-1]).stat().st_size // 2)

    monkeypatch.setattr(gguf, "_run", cut)
    with pytest.raises(AssertionError, match="export.gguf_not_loaded"):  # neither 0 nor 3
        by_verb(made, tmp_path, monkeypatch, None, "export", "--to", "gguf", "--quant", "q8_0")


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
