"""Real-tier runs against the Hub's stand-in that are stopped, cut off from the network, evaluated in full."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import hub_contents, hub_server
from tests.support.hub_files import Fault
from tests.support.hub_server import Hub
from tests.support.real_tier import Machine, stages
from tunebook.core.files import read_json, write_jsonl
from tunebook.core.paths import ROOT, recipes_folder
from tunebook.metrics.schema import read_metrics
from tunebook.runs.run import Run

pytestmark = pytest.mark.long
RECIPES = sorted(path.parent.name for path in recipes_folder().glob("*/recipe.yaml"))
ORDER = ("first", "second", "third", "fourth", "fifth")
TASKS = ("arc_easy", "gsm8k", "hellaswag", "ifeval", "mmlu")
SETS = ("allenai/ai2_arc", "openai/gsm8k", "Rowan/hellaswag", "google/IFEval", "cais/mmlu")


@pytest.fixture(scope="module")
def filled() -> dict[str, dict[str, bytes]]:
    repos: dict[str, dict[str, bytes]] = {}
    hub_contents.fill(repos, harness=True)
    return repos


@pytest.fixture
def hub(filled: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    with hub_server.serving() as one:
        one.repos |= filled
        yield one


def comparable(run: Run) -> dict[str, Any]:
    measured = read_json(run / "metrics.json")
    kept = ("contenders", "comparisons", "dev", "baseline", "verdict", "steps", "trained_tokens")
    return {key: measured[key] for key in kept}


@pytest.mark.parametrize("name", RECIPES)
def test_killed_once_in_each_stage(name: str, hub: Hub, tmp_path: Path) -> None:
    """kill -9 in the set-up, in each later stage, and then the same command to the end: as never killed."""
    undisturbed, machine = Machine(tmp_path / "one", hub), Machine(tmp_path / "two", hub)
    result = undisturbed.run(name)
    assert result.returncode in (0, 3), result.stderr + result.stdout
    command = machine.command(name)

    def there(*parts: str) -> Callable[[], bool]:
        """Return whether the run has such a file."""
        return lambda: any((machine.runs / name).glob("/".join(("*", *parts))))

    hub.faults.append(Fault("slow", "GET /Qwen", times=1, seconds=2))
    hub.fetched.clear()
    machine.kill_when(lambda: any(file.endswith(".safetensors") for file in hub.fetched), command)
    assert not (machine.runs / name).exists(), "nothing is written before all of the base model is there"
    for ready in (
        there("data", "train.jsonl"),
        there("train", "checkpoint-1", "trainer_state.json"),
        there("eval", "jobs", "*.jsonl"),
        there("metrics.json"),
    ):
        machine.kill_when(ready, command)
    result = machine.call(command)
    assert result.returncode in (0, 3), result.stderr + result.stdout
    run = machine.latest(name)
    assert set(stages(run).values()) == {"done"}
    assert comparable(run) == comparable(undisturbed.latest(name))


def test_the_harness_asks_its_own_tasks_and_a_model_is_published(hub: Hub, tmp_path: Path) -> None:
    """EVAL=full with the five public sets by their own ids; the checkpoint chosen; then the network gone."""
    machine = Machine(tmp_path, hub)
    machine.know_sentences()
    result = machine.run("chat-lora", "--eval", "full")
    assert result.returncode in (0, 3), result.stderr + result.stdout
    run = machine.latest("chat-lora")
    measured = read_metrics(run / "metrics.json")
    lines = {line["task"]: line for line in measured["retention"]}
    assert {name: lines[name]["items"] for name in TASKS} == {
        "arc_easy": 3,
        "gsm8k": 2,
        "hellaswag": 3,
        "ifeval": 3,
        "mmlu": 57,
    }
    assert {f"datasets/{name}" for name in SETS} <= {line.split("/resolve")[0][5:] for line in hub.asked}
    chosen = run.choice()["checkpoints"]
    assert (run / "report.html").is_file() and chosen and chosen["shipped"] in (1, 2)

    machine.env |= {"HF_TOKEN": hub.token}
    words = ["publish", "chat-lora/latest", "--repo", "me/mine", "--licence", "apache-2.0", "--send"]
    sent = machine.call([*machine.command("chat-lora")[:3], *words])
    assert sent.returncode == 0, sent.stderr + sent.stdout
    assert {"README.md", "adapter_model.safetensors", "adapter_config.json"} <= set(hub.repos["me/mine"])

    places = {line.split()[1].rpartition(":")[0] for line in machine.network()}
    assert {place.removeprefix("datasets-server.") for place in places} == {"127.0.0.1"}
    machine.env |= {"HF_HUB_OFFLINE": "1"}
    hub.asked.clear()
    result = machine.run("chat-lora", "--eval", "full", "--seed", "7")
    assert result.returncode in (0, 3), result.stderr + result.stdout
    assert hub.asked == [] and machine.network() == []


def test_data_of_the_harness_that_is_refused_ends_the_run_before_it_trains(hub: Hub, tmp_path: Path) -> None:
    machine = Machine(tmp_path, hub)
    hub.gated.add("datasets/cais/mmlu")
    result = machine.run("chat-lora", "--eval", "full")
    assert result.returncode == 4, result.stderr + result.stdout
    assert "the data of mmlu" in result.stderr and "retention: {mmlu: null}" in result.stderr
    assert "ifeval splits sentences" in result.stderr and "[hub.refused]" in result.stderr
    assert not (machine.runs / "chat-lora").exists()


def test_the_network_gone_after_the_set_up(hub: Hub, tmp_path: Path) -> None:
    """The Hub is gone while the model trains: the run ends as if it were there."""
    machine = Machine(tmp_path, hub)
    result = machine.run("classify-lora")
    assert result.returncode in (0, 3), result.stderr + result.stdout
    machine.env |= {"HF_ENDPOINT": "http://127.0.0.1:9"}
    result = machine.run("classify-lora", "--seed", "7")
    assert result.returncode in (0, 3), result.stderr + result.stdout
    other = Machine(tmp_path / "other", hub, HF_ENDPOINT="http://127.0.0.1:9")
    result = other.run("classify-lora")
    assert result.returncode == 4 and "[hub.unreachable]" in result.stderr, result.stderr


def sum_with_reasoning(number: int) -> dict[str, Any]:
    """Return a conversation about a sum of its own, answered after reasoning."""
    one, two = 3 * number + 1, 7 * number % 41
    answer = {"role": "assistant", "content": f"That makes {one + two}."}
    thought = f"I add {two} to {one}, which is {one + two}."
    asked = f"The {ORDER[number % 5]} shelf holds {one} jars, the one below it {two}. How many are there?"
    return {"messages": [{"role": "user", "content": asked}, {**answer, "reasoning_content": thought}]}


@pytest.mark.parametrize("thinking", ["keep", "mask"])
def test_a_fork_with_reasoning_runs_to_its_report(
    thinking: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answers are read behind the reasoning, and those that end inside it are counted."""
    folders = {f"TUNEBOOK_{kind.upper()}": str(tmp_path / kind) for kind in ("datasets", "recipes")}
    for kind in ("datasets", "recipes"):
        (tmp_path / kind).mkdir()
    for kind, name in (("recipes", "chat-lora"), ("datasets", "oasst2"), ("datasets", "kettlewick-chat")):
        (tmp_path / kind / name).symlink_to(ROOT / kind / name)
    for variable, folder in folders.items():
        monkeypatch.setenv(variable, folder)
    write_jsonl(tmp_path / "sums.jsonl", [sum_with_reasoning(number) for number in range(80)])
    machine = Machine(tmp_path, hub, **folders)
    words = ["fork", "chat-lora", "sums", str(tmp_path / "sums.jsonl"), "--thinking", thinking]
    forked = machine.call([sys.executable, "-m", "tunebook.commands.cli", *words, "--near", "off"])
    assert forked.returncode in (0, 4), forked.stderr + forked.stdout
    # Random weights never end a turn.
    (tmp_path / "recipes" / "sums" / "eval.yaml").write_text("thinking_tokens: 8\nmax_new_tokens: 8\n")
    result = machine.run("sums")
    assert result.returncode in (0, 3), result.stderr + result.stdout
    run = machine.latest("sums")
    measured = read_metrics(run / "metrics.json")
    assert set(stages(run).values()) == {"done"} and measured["verdict"]
    unfinished = measured["contenders"]["tuned"]["unfinished_rate"]
    assert unfinished["n"] == 8 and unfinished["value"] == 0, "random weights begin no reasoning"
    assert "reasoning" in (run / "report.html").read_text()
    losses = [entry["loss"] for entry in run.history()["log"] if "loss" in entry]
    assert len(losses) == 2
