"""`tunebook advise` on our own rows and on rows that are not worth a fine-tune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.commands import in_process
from tunebook.core.paths import ROOT

SOURCES = {name: ROOT / "datasets" / f"kettlewick-{name}" / "source" for name in ("intents", "handbook")}
PASSAGES = {"fields": "context=text", "group": "passage"}


def splits(name: str) -> str:
    return " ".join(f"{split}={SOURCES[name] / split}.jsonl" for split in ("train", "dev", "test"))


def advised(data: str, code: int, **options: str) -> dict[str, Any]:
    words = [f"--{name}={value}" for name, value in options.items()]
    ended = in_process("advise", data, "--json", *words)
    assert ended.returncode == code, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_labels_get_a_head_with_the_evidence_and_a_price() -> None:
    found = advised(splits("intents"), 0)
    assert (found["advice"], found["recipe"]) == ("head", "classify-head")
    assert (found["facts"]["train"], found["facts"]["test"], len(found["facts"]["labels"])) == (600, 300, 14)
    assert found["facts"]["svm"][0] > 0.7 > 0.15 > found["facts"]["frequent"]
    assert found["cost"]["dollars"]["high"] > found["cost"]["dollars"]["low"] > 0
    assert len(found["questions"]) == 6
    assert not (ROOT / "datasets" / "advise").exists()


def test_questions_on_passages_get_lora() -> None:
    found = advised(splits("handbook"), 0, **PASSAGES)
    assert (found["advice"], found["recipe"]) == ("LoRA", "qa-lora")
    assert found["facts"]["in_passage"] > 0.5
    # `passage` is an id there: read as the passage, it holds no answer.
    assert advised(splits("handbook"), 3, group="title")["advice"] == "retrieve"


def test_answers_that_stand_nowhere_are_retrieved(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        rows = map(json.loads, (SOURCES["handbook"] / f"{split}.jsonl").open(encoding="utf-8"))
        text = "".join(json.dumps({**row, "text": "See the handbook."}) + "\n" for row in rows)
        (tmp_path / f"{split}.jsonl").write_text(text, encoding="utf-8")
    data = " ".join(f"{split}={tmp_path / split}.jsonl" for split in ("train", "dev", "test"))
    found = advised(data, 3, **PASSAGES)
    assert found["advice"] == "retrieve"
    assert found["facts"]["in_passage"] < 0.05


def test_few_rows_are_no_fine_tune(tmp_path: Path) -> None:
    lines = (SOURCES["intents"] / "train.jsonl").read_text(encoding="utf-8").splitlines()[:60]
    (tmp_path / "few.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = advised(str(tmp_path / "few.jsonl"), 3)
    assert found["recipe"] is None and found["cost"] is None


def test_the_screen_has_six_questions_and_the_next_command() -> None:
    ended = in_process("advise", splits("intents"))
    assert ended.returncode == 0
    assert "advice    head" in ended.stdout
    assert "make fork FROM=classify-head" in ended.stdout


def test_an_unknown_task_is_named() -> None:
    ended = in_process("advise", splits("intents"), "--task=poetry")
    assert ended.returncode == 2
    assert "[option.bad_task]" in ended.stderr
