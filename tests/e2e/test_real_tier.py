"""The real tier of every recipe, from the Hub's stand-in to the report, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import hub_contents, hub_server
from tests.support.hub_server import Hub
from tests.support.real_tier import Machine, stages
from tunebook.config.recipe import load_recipe
from tunebook.core.files import read_json
from tunebook.core.paths import recipes_folder
from tunebook.metrics.schema import read_metrics
from tunebook.runs.run import Run

IN_MAKE_TEST = ("classify-lora", "qa-lora", "chat-full")
# Without the smoke test and the test split: half of the time. The long tests have both.
BRIEF = ("--eval", "quick", "--no-smoke")
RECIPES = sorted(path.parent.name for path in recipes_folder().glob("*/recipe.yaml"))


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """One stand-in with the recipes' base models and datasets."""
    with hub_server.serving() as one:
        hub_contents.fill(one.repos)
        yield one


@pytest.fixture(scope="module")
def machine(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """One machine for the module, which downloads a model and a dataset once, as a person's does."""
    return Machine(tmp_path_factory.mktemp("machine"), hub)


def checked(name: str, machine: Machine, hub: Hub, *words: str) -> Run:
    """Run a recipe from its base model and rows on the Hub to the report, and return the run."""
    result = machine.run(name, *words)
    assert result.returncode in (0, 3), result.stderr + result.stdout
    run = machine.latest(name)
    assert set(stages(run).values()) == {"done"}
    settings, measured = run.settings(), read_metrics(run / "metrics.json")
    assert (settings["tier"], settings["hardware"], measured["tier"]) == ("real", "cpu", "real")
    base = load_recipe(name).config["base_model"]
    manifest = read_json(run / "manifest.json")
    assert settings["base_model"] == manifest["base_model"] == base
    assert run.config()["revision_of_model"] == manifest["revision"] == hub.commit(base)
    if source := settings["dataset"]["source"]["hub"]:
        assert manifest["data"]["revision"] == hub.commit(f"datasets/{source}")
    assert measured["verdict"] and (run / "report.html").is_file() and any((run / "model").iterdir())
    chosen = run.choice()["checkpoints"]
    assert chosen and set(chosen["dev"]) == {"1", "2"} and str(chosen["shipped"]) in chosen["dev"]
    assert len([entry for entry in run.history()["log"] if "loss" in entry]) == 2
    return run


@pytest.mark.long
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_runs_on_the_real_tier(name: str, machine: Machine, hub: Hub) -> None:
    checked(name, machine, hub)


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_MAKE_TEST)
def test_the_real_tier_of_each_task(name: str, machine: Machine, hub: Hub) -> None:
    """Classification, questions and chat; LoRA and full fine-tuning."""
    run = checked(name, machine, hub, *BRIEF)
    assert read_metrics(run / "metrics.json")["split"] == "dev"


@pytest.mark.slow
def test_nothing_is_asked_of_the_network_after_the_set_up(machine: Machine, hub: Hub) -> None:
    """The weights, the rows and the tokenizer come from the cache; nothing looks whether there are others."""
    checked("classify-lora", machine, hub, *BRIEF)
    places = {line.split()[1].rpartition(":")[0] for line in machine.network()}
    assert {place.removeprefix("datasets-server.") for place in places} == {"127.0.0.1"}
    machine.env["HF_HUB_OFFLINE"] = "1"
    hub.asked.clear()
    try:
        checked("classify-lora", machine, hub, *BRIEF, "--seed", "7")
        assert hub.asked == [] and machine.network() == []
    finally:
        del machine.env["HF_HUB_OFFLINE"]
