"""The smoke test before a run: when it is due, what it changes of the config, which part failed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.runs.test_store import checkpoint
from tunebook.config import recipe
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.console import Console
from tunebook.core.errors import MachineError, StoppedError
from tunebook.core.files import read_json, read_jsonl, write_json, write_jsonl
from tunebook.core.process import ChildError
from tunebook.hardware import machine
from tunebook.models import trial_model
from tunebook.pipeline import smoke, smoke_worker
from tunebook.pipeline.prepare import place_paths
from tunebook.runs.run import Run
from tunebook.runs.store import Store
from tunebook.training import launch


def resolved(tier: str = "real", seed: int = 42, world: int = 1) -> Any:
    return SimpleNamespace(tier=tier, config={"seed": seed}, world=world)


RESOLVED = resolved()
SETTINGS = {"recipe": "some", "tier": "trial", "seed": 42, "hardware": "cpu", "world": 1}
SETTINGS |= {"base_model": "x", "dataset": {"name": "some", "task": "chat", "labels": []}}


def rows(count: int, words: int = 1, name: str = "r") -> list[dict[str, Any]]:
    """Return rows whose i-th asks with `words` times i words."""
    made = []
    for i in range(count):
        turns = [{"role": "user", "content": "the " * words * i}, {"role": "assistant", "content": "yes"}]
        made.append({"id": f"{name}{i}", "group": f"{name}{i}", "messages": turns, "gold": {"answer": "yes"}})
    return made


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A prepared run, as it is before it trains."""
    made = Run(tmp_path / "runs" / "some" / "abc")
    made.folder.mkdir(parents=True)
    config = {"datasets": [{"path": "x"}], "base_model": "some/base", "micro_batch_size": 2}
    (made / "config.yaml").write_text(yaml.safe_dump(config))
    suite = {"primary": "loss", "max_new_tokens": 512, "generate_rows": 48}
    write_json(made / "settings.json", {**SETTINGS, "suite": suite})
    made.mark("data", "done")
    return made


# When


@pytest.mark.parametrize(
    ("tier", "asked", "due"),
    [("real", None, True), ("real", False, False), ("trial", None, False), ("trial", True, True)],
)
def test_it_is_due_on_the_real_tier_or_where_asked_for(
    tier: str, asked: bool | None, due: bool, run: Run
) -> None:
    assert smoke.wanted(run, resolved(tier), asked) is due


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Let the children do at once what the real ones do; returns the nested runs they were given."""
    given: list[Run] = []

    def follow(script: str, words: list[str], *_: Any, **__: Any) -> None:
        nested = Run(Path(words[0]))
        given.append(nested)
        write_json(nested / "longest.json", {"tokens": 99, "asked": 8})
        checkpoint(nested, smoke.STEPS)
        write_json(nested / "train" / "history.json", {"log": [{"loss": 3.0}, {"loss": 2.5}]})
        for stage in ("train", "reload", "evaluate"):
            nested.mark(stage, "done")

    monkeypatch.setattr(launch, "follow", follow)
    return given


def test_it_passes_once_a_machine_kind_and_config(
    run: Run, passing: list[Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    smoke.smoke(run, RESOLVED, Console())
    assert "loss 3.00 to 2.50; saved, reloaded, 8 rows answered" in capsys.readouterr().out
    assert run.done("smoke") and run.done("data")
    assert not smoke.wanted(run, RESOLVED, None)
    assert smoke.wanted(run, resolved(seed=43), None)
    assert smoke.wanted(run, resolved(world=2), None)
    first = run.state()["smoke"]
    monkeypatch.setattr(machine, "gpus", lambda: [{"name": "Handmade GPU", "gib": 80.0}])
    assert smoke.wanted(run, RESOLVED, None), "another kind of machine"
    smoke.smoke(run, RESOLVED, Console())
    assert run.state()["smoke"] == first | {"1 x Handmade GPU": first[next(iter(first))]}


def test_nothing_is_left_that_a_later_run_could_take(run: Run, passing: list[Run]) -> None:
    before = {path.name for path in run.folder.iterdir()}
    (run / "smoke").mkdir()
    (run / "smoke" / "left-by-a-kill").touch()
    smoke.smoke(run, RESOLVED, Console())
    assert passing[0].folder == run / "smoke"
    assert {path.name for path in run.folder.iterdir()} == before
    assert not run.done("train")


# What fails


@pytest.mark.parametrize(
    ("done", "event", "error", "part"),
    [
        ([], None, "ValueError: no row", "train"),
        ([], 4, "torch.OutOfMemoryError: CUDA out of memory", "train"),
        ([], 5, "OSError: No space left on device", "save"),
        (["train"], 5, "RuntimeError: size mismatch", "reload"),
        (["train", "reload"], 5, "RuntimeError: in generate", "evaluate"),
    ],
)
def test_the_part_that_failed_is_named(
    done: list[str],
    event: int | None,
    error: str,
    part: str,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def follow(script: str, words: list[str], *_: Any, **__: Any) -> None:
        nested = Run(Path(words[0]))
        for stage in done:
            nested.mark(stage, "done")
        if event is not None:
            line = f'{{"stage": "train", "done": {event}, "total": 5, "time": 1.0}}\n'
            (nested / "events.jsonl").write_text(line)
        raise ChildError(error)

    monkeypatch.setattr(launch, "follow", follow)
    with pytest.raises(MachineError) as caught:
        smoke.smoke(run, RESOLVED, Console())
    said = str(caught.value)
    assert said.startswith(f"smoke: {part} failed: {error}\n") and caught.value.exit_code == 4
    assert str(run.log) in said and "has not started" in said
    assert ("make plan NAME=some" in said) == ("memory" in error)
    assert not (run / "smoke").exists() and not run.done("smoke")
    assert smoke.wanted(run, RESOLVED, None)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda n: (n / "train" / "checkpoint-5" / "optimizer.pt").unlink(), "save failed.*optimizer.pt"),
        (
            lambda n: write_json(n / "train" / "history.json", {"log": [{"loss": math.nan}]}),
            "train failed.*nan",
        ),
        (lambda n: write_json(n / "train" / "history.json", {"log": []}), "train failed.*not finite"),
    ],
)
def test_children_that_end_well_are_not_taken_at_their_word(
    spoil: Callable[[Run], object], said: str, run: Run, passing: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = launch.follow

    def spoilt(script: str, words: list[str], *more: Any, **options: Any) -> None:
        follow(script, words, *more, **options)
        spoil(Run(Path(words[0])))

    monkeypatch.setattr(launch, "follow", spoilt)
    with pytest.raises(MachineError, match=said):
        smoke.smoke(run, RESOLVED, Console())


def test_a_stop_leaves_nothing_either(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise StoppedError("stopped")

    monkeypatch.setattr(launch, "follow", stop)
    with pytest.raises(StoppedError):
        smoke.smoke(run, RESOLVED, Console())
    assert not (run / "smoke").exists()


def test_several_processes_train_and_evaluate_as_in_the_run(
    run: Run, passing: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, follow = [], launch.follow

    def noted(script: str, words: list[str], *more: Any, **options: Any) -> None:
        started.append((script, *words[1:], more[3]))
        if len(started) == 1:
            follow(script, words, *more, **options)

    settings = read_json(run / "settings.json")
    write_json(run / "settings.json", {**settings, "world": 4})
    monkeypatch.setattr(launch, "follow", noted)
    smoke.smoke(run, RESOLVED, Console())
    script = "tunebook.pipeline.worker"
    assert started == [(script, "--longest", "--tokenise", 1), (script, "--train", 4), (script, "--ask", 4)]


def test_a_store_never_keeps_it(run: Run, tmp_path: Path) -> None:
    (run / "smoke" / "train").mkdir(parents=True)
    (run / "smoke" / "train" / "weights").touch()
    Store(str(tmp_path / "store"), run).save()
    there = Run(tmp_path / "there" / "some" / "abc")
    there.folder.mkdir(parents=True)
    Store(str(tmp_path / "store"), there).fetch(print)
    assert (there / "config.yaml").is_file() and not (there / "smoke").exists()


# What it is


@pytest.mark.parametrize("name", ["chat-lora-8b", "classify-lora", "qa-full"])
def test_the_config_is_the_runs_but_for_steps_and_places(name: str, run: Run) -> None:
    words = "wandb_project=mine use_wandb=true hub_model_id=me/mine early_stopping_patience=2"
    words += " evals_per_epoch=null saves_per_epoch=null eval_steps=9 save_steps=9"
    before = place_paths(resolve(recipe.load_recipe(name), Options("real", "80gb", 1, set=words)).config, run)
    after = smoke.smoke_config(before, Run(run / "smoke"))
    differ = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    gone = {"wandb_project", "use_wandb", "hub_model_id", "early_stopping_patience"}
    gone |= {"auto_resume_from_checkpoints"} | ({"metric_for_best_model"} & before.keys())
    places = {"datasets", "test_datasets", "output_dir", "dataset_prepared_path"}
    steps = {"eval_strategy", "eval_steps", "max_steps", "save_strategy", "save_steps"}
    assert differ == gone | places | steps
    assert not gone & set(after)
    for entry in (*after["datasets"], *after["test_datasets"]):
        assert Path(entry["path"]).is_relative_to(run / "smoke")
    assert Path(after["output_dir"]) == run / "smoke" / "train"
    assert Path(after["dataset_prepared_path"]).is_relative_to(run / "smoke")


def test_without_dev_rows_training_looks_at_none(run: Run) -> None:
    config = {"datasets": [{"path": "x"}, {"path": "more"}], "val_set_size": 0.1, "evals_per_epoch": 2}
    after = smoke.smoke_config(config, Run(run / "smoke"))
    assert after["val_set_size"] == 0 and not {"eval_steps", "eval_strategy", "evals_per_epoch"} & set(after)
    assert len(after["datasets"]) == 1


def test_the_longest_rows_that_fit_are_taken() -> None:
    def size(some: list[dict[str, Any]]) -> list[int]:
        asked.append(len(some))
        return [len(row["messages"][0]["content"].split()) for row in some]

    asked: list[int] = []
    found, most = smoke_worker.longest(rows(1000), size, 3, limit=900)
    assert [row["id"] for row in found] == ["r900", "r899", "r898"] and most == 900
    assert asked == [smoke.CHUNK], "only as many are tokenised as it takes"
    found, most = smoke_worker.longest(rows(1000), size, 2, limit=None)
    assert [row["id"] for row in found] == ["r999", "r998"]
    assert smoke_worker.longest(rows(5)[1:], size, 3, limit=0) == ([], 0)


def choose(run: Run, **config: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Let the rows of a smoke test be chosen; returns train, dev and what is noted of them."""
    write_jsonl(run / "data" / "train.jsonl", rows(60, words=10))
    write_jsonl(run / "data" / "dev.jsonl", rows(20, words=10, name="d"))
    nested = Run(run / "smoke")
    nested.folder.mkdir()
    plain = {"base_model": str(trial_model.ensure()), "sequence_len": 200, "micro_batch_size": 2}
    (nested / "config.yaml").write_text(yaml.safe_dump({**plain, "gradient_accumulation_steps": 2, **config}))
    write_json(nested / "settings.json", {**SETTINGS, "world": 2, "suite": {"primary": "loss"}})
    smoke_worker.choose_rows(nested)
    assert read_jsonl(nested / "data" / "test.jsonl") == []
    train, dev = (read_jsonl(nested / "data" / f"{split}.jsonl") for split in ("train", "dev"))
    return train, dev, read_json(nested / "longest.json")


@pytest.mark.slow
def test_rows_are_enough_for_all_steps_and_none_is_too_long(run: Run) -> None:
    train, dev, noted = choose(run)
    assert len(train) >= 5 * 2 * 4, "five steps of two processes"
    longest = max(len(row["messages"][0]["content"].split()) for row in train)
    assert 0.6 * noted["tokens"] < longest < noted["tokens"] <= 200
    assert train[0]["messages"][0]["content"].split() == ["the"] * longest, "the longest comes first"
    assert len(dev) >= noted["asked"] == 8
    assert len({row["id"].partition("-")[0] for row in dev[:8]}) == 8


@pytest.mark.slow
def test_rows_that_will_be_cut_may_be_longer(run: Run) -> None:
    train, _, noted = choose(run, excess_length_strategy="truncate")
    assert noted["tokens"] > 590


@pytest.mark.slow
def test_no_row_that_fits_is_said(run: Run) -> None:
    with pytest.raises(ValueError, match="no train row has at most 3 tokens"):
        choose(run, sequence_len=3)
