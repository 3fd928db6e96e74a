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

IN_MAKE_TEST = ("classify-lora", "qa-lora", "chat-full")
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


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in IN_MAKE_TEST else pytest.mark.long)
        for name in RECIPES
    ],
)
def test_every_recipe_runs_on_the_real_tier(name: str, machine: Machine, hub: Hub) -> None:
    """From its base model and rows on the Hub to the report, with a checkpoint chosen on dev."""
    result = machine.run(name)
    assert result.returncode in (0, 3), result.stderr + result.stdout
    run = machine.latest(name)
    assert set(stages(run).values()) == {"done"}
    settings, measured = run.settings(), read_metrics(run / "metrics.json")
    assert settings["tier"] == "real" and settings["base_model"] == load_recipe(name).config["base_model"]
    assert settings["hardware"] == "cpu" and "tier real" in result.stdout
    manifest = read_json(run / "manifest.json")
    source = run.settings()["dataset"]["source"]
    if source.get("hub"):
        assert manifest["data"]["revision"] == hub.commit(f"datasets/{source['hub']}")
    assert measured["tier"] == "real" and measured["verdict"]
    assert (run / "report.html").is_file() and (run / "model").is_dir()
    chosen = run.choice()["checkpoints"]
    assert chosen and set(chosen["dev"]) == {"1", "2"} and str(chosen["shipped"]) in chosen["dev"]
    losses = [entry["loss"] for entry in run.history()["log"] if "loss" in entry]
    assert len(losses) == 2


@pytest.mark.slow
def test_nothing_is_asked_of_the_network_after_the_set_up(machine: Machine, hub: Hub) -> None:
    """The weights, the rows and the tokenizer come from the cache; nothing looks whether there are others."""
    first = machine.run("classify-lora")
    assert first.returncode in (0, 3), first.stderr + first.stdout
    machine.env["HF_HUB_OFFLINE"] = "1"
    machine.network()
    hub.asked.clear()
    try:
        result = machine.run("classify-lora", "--seed", "7")
        assert result.returncode in (0, 3), result.stderr + result.stdout
        assert hub.asked == [] and machine.network() == []
    finally:
        del machine.env["HF_HUB_OFFLINE"]
    revision = machine.latest("classify-lora").config()["revision_of_model"]
    assert revision == hub.commit(load_recipe("classify-lora").config["base_model"])
