"""The GGUF file of a full run, compared with it through llama.cpp: a tiny random model in fp32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import tiny
from tests.support.lazy import lazy
from tunebook.core.console import Console
from tunebook.core.files import read_json, write_json, write_jsonl
from tunebook.data.dataset import load_dataset_config
from tunebook.export import gguf
from tunebook.export.parity import path_of
from tunebook.models import llama_cpp
from tunebook.runs.run import Run

parity_worker = lazy("tunebook.export.parity_worker")
LABELS = ["dud", "knack"]
TURNS = ["Where is it?", "At the fifth bench.", "Thank you, and when?", "On Monday: 9 o'clock."]
DATASETS = {"classification": "kettlewick-intents", "qa": "kettlewick-handbook", "chat": "kettlewick-chat"}
PRIMARY = {"classification": "accuracy", "qa": "f1", "chat": "loss"}


def row(task: str, number: int) -> dict[str, Any]:
    turns = TURNS if task == "chat" else [f"Door {number} will not open.", LABELS[number % 2]]
    roles = ["user", "assistant"] * 2
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    gold: dict[str, Any] = {"answer": turns[-1]}
    if task == "qa":
        gold["answers"] = [turns[-1]]
    return {"id": str(number), "group": str(number), "source": "own", "messages": messages, "gold": gold}


@pytest.fixture(params=["classification", "qa"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """What full fine-tuning leaves: all weights in model/."""
    if not llama_cpp.folder().is_dir():
        pytest.skip(f"llama.cpp is not built in {llama_cpp.folder()} (make export TO=gguf builds it)")
    task, run = request.param, Run(tmp_path / "run")
    for split, count in (("train", 3), ("dev", 3), ("test", 6)):
        write_jsonl(run / "data" / f"{split}.jsonl", [row(task, number) for number in range(count)])
    base = tiny.save(run / "model")
    (run / "config.yaml").write_text(yaml.safe_dump({"base_model": str(base), "bf16": False}))
    suite = {"primary": PRIMARY[task], "shots": 1, "max_new_tokens": 6, "dev_rows": 3, "generate_rows": None}
    suite |= {"agreement_rows": 0, "evaluate_turns": "all" if task == "chat" else "last"}
    dataset = load_dataset_config(DATASETS[task]).model_dump(mode="json", exclude={"folder"}) | {"rules": {}}
    settings = {"recipe": "own", "tier": "trial", "seed": 42, "hardware": "cpu", "world": 1}
    write_json(
        run / "settings.json", {**settings, "base_model": str(base), "dataset": dataset, "suite": suite}
    )
    return run


@pytest.mark.slow
def test_its_answers_and_losses_are_those_of_the_run(full: Run) -> None:
    path = path_of(full, "gguf-f32")
    path.parent.mkdir(parents=True)
    parity_worker.measure(
        full, "gguf-f32", [gguf.convert(full, full / "model", "f32", Console(quiet=True))], None
    )
    line = read_json(path)
    assert line["passed"] and line["prompts_equal"] == 1 and line["same_answers"] == 1
    assert line["largest_gap"] < 0.01, "llama.cpp keeps keys and values in 16 bits"
    assert line["difference"] == pytest.approx(0, abs=0.01)
    assert line["value"] == pytest.approx(line["run"], abs=0.01)
    assert line["rows"] == 6 and line["stop_rate"] == line["stop_rate_run"]
