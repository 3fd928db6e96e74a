"""What `tunebook results` publishes of a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.helpers import make_run
from tunebook.core.console import Console
from tunebook.core.errors import GOOD, InputError
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import ROOT
from tunebook.models import trial_model
from tunebook.report import publish
from tunebook.report.published import last_published
from tunebook.report.verdict import compare
from tunebook.runs.run import Run


def line(folder: Path, model: str) -> str:
    """Return the first line of a card's table about `model`."""
    return next(line for line in (folder / "README.md").read_text().splitlines() if f"| {model} " in line)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished run of a recipe in a folder of the test's own, which is all that is written to."""
    root = tmp_path / "root"
    own = ("recipes/classify-lora/recipe.yaml", "recipes/classify-lora/trial.yaml")
    for name in ("README.md", "recipes/README.md", "docs/plan.md", *own):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    shutil.copy(ROOT / "recipes" / "classify-lora" / "README.md", root / "recipes" / "classify-lora")
    monkeypatch.setattr(publish, "ROOT", root)
    monkeypatch.setattr(publish, "shelf", lambda: "the table")
    monkeypatch.setattr(publish, "front_page", lambda: "six rows")
    monkeypatch.setenv("TUNEBOOK_RECIPES", str(root / "recipes"))
    made = make_run(tmp_path / "run")
    settings, manifest = read_json(made / "settings.json"), read_json(made / "manifest.json")
    more = {"lock": "1a", "versions": {"torch": "2"}, "base_model": trial_model.NAME}
    write_json(made / "settings.json", settings | {"recipe": "classify-lora"})
    write_json(made / "manifest.json", manifest | more)
    compare(made)
    made.mark("report", "done", 1.0)
    return made


def test_numbers_are_published_and_what_nobody_reads_there_is_not(run: Run) -> None:
    assert publish.publish(str(run.folder), Console()) == GOOD
    folder = publish.ROOT / "recipes" / "classify-lora"
    (file,) = (folder / "results").glob("*.json")
    assert file.name == "trial-handmade-cpu-2-cores-seed42.json"
    published, measured = read_json(file), read_json(run / "metrics.json")
    assert measured["details"] and measured["confusion"]
    assert measured.keys() - published.keys() == {"details", "confusion"}
    assert all(published[key] == measured[key] for key in published.keys() & measured.keys())
    assert published["run"]["command"] == "tunebook recipe handmade-lora"
    value = measured["contenders"]["tuned"]["accuracy"]["value"]
    assert f"{value * 100:.1f}" in line(folder, "fine-tuned")
    assert str(last_published(folder)).startswith(f"trial: accuracy 25.0 % to {value * 100:.1f} %")


def test_a_recipe_that_fails_a_gate_is_listed_as_an_experiment(run: Run) -> None:
    publish.publish(str(run.folder), Console())
    folder = publish.ROOT / "recipes" / "classify-lora"
    (file,) = (folder / "results").glob("*.json")
    found = read_json(file)
    said = []
    for passed in (None, False):
        gate = found["gates"][0] | {"name": "retention_general", "passed": passed}
        write_json(file, found | {"gates": [gate]})
        said.append(last_published(folder))
    assert said[1] == f"{said[0]} (experiment: fails a gate, loss of ability: general texts)"


def test_another_base_than_the_recipes_own_is_named(run: Run) -> None:
    publish.publish(str(run.folder), Console())
    manifest = read_json(run / "manifest.json")
    write_json(run / "manifest.json", manifest | {"base_model": "/home/me/models/my-base"})
    compare(run)
    publish.publish(str(run.folder), Console())
    folder = publish.ROOT / "recipes" / "classify-lora"
    own, other = sorted((folder / "results").glob("*.json"))
    assert other.name == "trial-handmade-my-base-cpu-2-cores-seed42.json"
    assert read_json(other)["model"] == "my-base"
    assert "| trial, my-base " in (folder / "README.md").read_text()
    assert last_published(folder).startswith("trial: "), "the recipe's own base speaks for it"
    own.unlink()
    assert last_published(folder).startswith("trial, my-base: ")


def test_folders_of_whoever_publishes_are_not(run: Run) -> None:
    said = "tunebook recipe a --set 'base_model=/home/me/base x=1' --model /home/me/my-base"
    write_json(run / "manifest.json", read_json(run / "manifest.json") | {"command": said})
    publish.publish(str(run.folder), Console())
    (file,) = (publish.ROOT / "recipes" / "classify-lora" / "results").glob("*.json")
    shown = "tunebook recipe a --set 'base_model=.../base x=1' --model .../my-base"
    assert read_json(file)["run"]["command"] == shown


def test_an_unfinished_run_is_not_published(run: Run) -> None:
    run.mark("report", "failed")
    with pytest.raises(InputError, match="has not finished the stage `report`"):
        publish.publish(str(run.folder), Console())
