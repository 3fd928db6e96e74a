"""lm-evaluation-harness's own evaluation runs on our model: likelihoods, generated answers, templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import tiny
from tests.support.lazy import lazy
from tunebook.core.files import write_jsonl
from tunebook.evaluation.engines.harness import evaluate_task
from tunebook.evaluation.engines.protocol import Engine

token_lm = lazy("tunebook.evaluation.engines.token_lm")


def test_nothing_of_ours_replaces_what_the_harness_asks_for() -> None:
    """Its `rank` is the number of a process: as the name of our ranking, it ended every task."""
    from lm_eval.models.huggingface import HFLM

    ours = {name for name in vars(Engine) if not name.startswith("_")}
    assert {name for name in ours if hasattr(HFLM, name)} == set()


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task of each kind that retention.yaml names, on rows of our own."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [{"question": f"{i} and 1?", "choices": ["two", "six"], "label": i % 2} for i in range(3)]
    write_jsonl(folder / "rows.jsonl", rows)
    shared: dict[str, Any] = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{label}}",
    }
    options = {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}"}
    options["metric_list"] = [{"metric": name} for name in ("acc", "acc_norm")]  # type: ignore[assignment]
    written = {
        "output_type": "generate_until",
        "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 4},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    for name, own in {"own_options": options, "own_written": written}.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **shared, **own}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("name", "chat"), [("own_options", False), ("own_written", True)])
def test_a_task_gives_a_score_for_each_item(name: str, chat: bool, tasks: Path) -> None:
    lm = token_lm.TokenLM(tiny.model(), tiny.tokenizer())
    items = evaluate_task(lm, name, 2, chat, tasks)
    assert [item["id"] for item in items] == [f"{name}/0", f"{name}/1"]
    assert all(item["value"] in (0.0, 1.0) for item in items)
