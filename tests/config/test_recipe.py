"""Every recipe in recipes/ has the one form that readers and tools rely on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import in_process
from tests.support.forked import with_axolotl
from tunebook.check.config import check_config
from tunebook.config import recipe as recipes
from tunebook.config.keys import check_keys
from tunebook.config.overrides import Options
from tunebook.config.replay import GENERAL, KEY
from tunebook.config.resolve import resolve
from tunebook.core.errors import InputError
from tunebook.core.paths import ROOT
from tunebook.core.yaml_file import read_yaml
from tunebook.data import dataset
from tunebook.hardware import gpus
from tunebook.hardware.capabilities import too_much
from tunebook.models.methods import METHODS

BLOCKS = [
    "Model",
    "Adapter",
    "Data",
    "Length and batch",
    "Optimizer",
    "Precision and memory",
    "Logging and saving",
]
FILES = sorted((ROOT / "recipes").rglob("recipe.yaml"))
each_recipe = pytest.mark.parametrize("file", FILES, ids=lambda path: path.parent.name)
each_trial = pytest.mark.parametrize(
    "file", sorted((ROOT / "recipes").rglob("trial.yaml")), ids=lambda path: path.parent.name
)


def header(file: Path) -> list[str]:
    """Return the comment lines that the file starts with."""
    lines = file.read_text().splitlines()
    end = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return lines[:end]


def empty(value: Any, path: str = "") -> list[str]:
    """Return the dotted paths of everything in `value` that says nothing: null, "", [] or {}."""
    if isinstance(value, dict) and value:
        return [name for key, item in value.items() for name in empty(item, f"{path}.{key}")]
    if isinstance(value, list) and value:
        return [name for index, item in enumerate(value) for name in empty(item, f"{path}[{index}]")]
    return [path] if value is None or value in ("", [], {}) else []


def test_there_are_recipes_and_all_are_found() -> None:
    assert len(FILES) > 0
    assert [path.parent.name for path in FILES] == recipes.names(), "recipes/NAME/recipe.yaml, no deeper"
    assert all(path.parent.parent == ROOT / "recipes" for path in FILES)


def test_recipes_are_called_yaml_not_yml() -> None:
    assert not [*(ROOT / "recipes").rglob("*.yml")]


@each_recipe
def test_length(file: Path) -> None:
    assert 40 <= len(file.read_text().splitlines()) <= 80


@each_recipe
def test_header_says_how_to_run_it(file: Path) -> None:
    lines = header(file)
    assert 6 <= len(lines) <= 15
    assert re.search(rf"make recipe NAME={re.escape(file.parent.name)}(\s|$)", "\n".join(lines), re.M)
    for other in set(recipes.names()) - {file.parent.name}:
        assert f"NAME={other} " not in "\n".join(lines) + " ", "copied from another recipe"


@each_recipe
def test_blocks_have_titles_in_the_fixed_order(file: Path) -> None:
    lines = file.read_text().splitlines()[len(header(file)) :]
    titles = [line.removeprefix("# ") for line in lines if re.match(r"# \S", line)]
    assert titles == BLOCKS
    first = next(line for line in lines if line.strip())
    assert first == f"# {BLOCKS[0]}", "no key stands before the first title"


@each_recipe
def test_keys(file: Path) -> None:
    config, lines = read_yaml(file)
    assert [str(problem) for problem in check_keys(config, lines, file.parent.name)] == []
    assert empty(config) == []
    assert isinstance(config["seed"], int)
    assert not config.get("val_set_size")
    assert file.parent.name in Path(config["output_dir"]).parts


def test_no_two_recipes_share_an_output_folder() -> None:
    folders = [read_yaml(file)[0]["output_dir"] for file in FILES]
    assert len(set(folders)) == len(folders)


@each_recipe
def test_its_data_exists_and_training_sees_no_test_rows(file: Path) -> None:
    recipe = recipes.load_recipe(file.parent.name)
    data = dataset.load_dataset_config(recipe.dataset)
    own = dataset.load_dataset_config(data.stand_in) if data.stand_in else data
    assert own.task == data.task
    assert own.source.files
    for path in own.source.files.values():
        assert (own.folder / path).is_file()
    paths = [entry["path"] for key in ("datasets", "test_datasets") for entry in recipe.config[key]]
    paths = [
        path for path in paths if path != GENERAL
    ]  # which holds no test rows: datasets/tests/test_general.py
    assert paths == [f"datasets/{data.name}/rows/{split}.jsonl" for split in ("train", "dev")]


@each_recipe
def test_it_has_a_trial_and_a_readme(file: Path) -> None:
    assert (file.parent / "trial.yaml").is_file()
    readme = file.parent / "README.md"
    assert readme.is_file()
    assert f"NAME={file.parent.name}" in readme.read_text()


def refused_by_axolotl(cases: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> list[str]:
    """Return what Axolotl's own validation says against (name, config, machine), by name."""
    from axolotl.integrations.base import PluginManager

    from tunebook.check.axolotl_child import validate

    found = []
    for name, config, machine in cases:
        PluginManager.get_instance().plugins.clear()  # one for the whole process: those of the recipe before
        try:
            validate(config, machine)
        except ValueError as error:
            found.append(f"{name} {error}")
    return found


def capabilities(overlay: str) -> list[float]:
    """Return the compute capabilities of the GPUs that `make plan` knows and the overlay is for."""
    cards = gpus.gpus().values()
    return sorted({card.capability for card in cards if overlay.removeprefix("8x").startswith(card.overlay)})


@pytest.mark.slow
def test_axolotl_accepts_every_recipe_on_every_overlay() -> None:
    """Keys are held by resolve and check_config, what they say together by Axolotl's own validation, which
    is told of each kind of card that the overlay is for: of T4 to H200."""
    cases, refused = [], 0
    overlays = sorted(path.stem for path in (ROOT / "hardware").glob("*.yaml") if path.stem != "cpu")
    for name in recipes.names():
        for overlay in overlays:
            try:
                resolved = resolve(
                    recipes.load_recipe(name), Options("real", overlay), for_this_machine=False
                )
            except InputError as error:  # a recipe for one GPU, of four rows a step
                assert "cannot be shared by 8 GPUs" in str(error)
                refused += len(capabilities(overlay))
                continue
            whole = resolved.config.get("adapter") in METHODS or resolved.config.get("rl")
            shared = [key for key in ("fsdp_version", "deepspeed") if resolved.config.get(key)]
            if whole and shared:
                refused += len(capabilities(overlay))
                with pytest.raises(InputError, match=shared[0]):
                    check_config(resolved)
                continue
            check_config(resolved)
            assert resolved.overlay and resolved.overlay.machine
            machine = resolved.overlay.machine.model_dump()
            for capability in capabilities(overlay):
                assert too_much(resolved.config, capability) == {}
                pretended = machine | {"compute_capability": capability}
                cases.append((f"{name} {overlay} {capability}", resolved.config, pretended))
    kinds = sum(len(capabilities(overlay)) for overlay in overlays)
    assert len(cases) + refused == kinds * len(recipes.names())
    assert refused < len(cases) / 4
    assert with_axolotl(refused_by_axolotl, cases) == []


@each_trial
def test_trial_is_short_and_known(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 17
    recipe = recipes.load_recipe(file.parent.name)
    plugins = {"plugins": recipe.config.get("plugins", [])}
    keys = {key: value for key, value in recipe.trial.items() if key != KEY}
    assert [str(p) for p in check_keys({**plugins, **keys}, recipe.trial_lines, "trial.yaml")] == []
    assert recipe.rows, "a trial names how many rows it takes"


# Loading


@pytest.mark.parametrize("name", ["", ".", "..", "../recipes/classify-lora", "../x", "/etc", "no such"])
def test_load_takes_names_of_recipes_only(name: str) -> None:
    with pytest.raises(InputError, match="NAME: ") as caught:
        recipes.load_recipe(name)
    assert caught.value.exit_code == 2
    assert repr(name) in str(caught.value)


def test_load_lists_what_there_is_or_suggests_what_is_meant() -> None:
    with pytest.raises(InputError) as caught:
        recipes.load_recipe("zzz")
    assert all(name in str(caught.value) for name in recipes.names())
    with pytest.raises(InputError, match=r"Did you mean (\S+ or )?classify-lora"):
        recipes.load_recipe("clasify-lora")


def test_a_recipe_added_in_a_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.yaml").write_text("seed: 7\n")
    (tmp_path / "not-a-recipe").mkdir()
    monkeypatch.setenv("TUNEBOOK_RECIPES", str(tmp_path))
    assert recipes.names() == ["mine"]
    assert recipes.load_recipe("mine").config == {"seed": 7}


@pytest.mark.parametrize("rows", ["{trian: 5}", "{train: 0}", "{train: many}", "{train: 1.5}", "5", "[5]"])
def test_bad_trial_rows_are_refused(rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.yaml").write_text("seed: 7\n")
    (tmp_path / "mine" / "trial.yaml").write_text(f"num_epochs: 1\nrows: {rows}\n")
    monkeypatch.setenv("TUNEBOOK_RECIPES", str(tmp_path))
    with pytest.raises(InputError, match="trial.yaml:2: rows: "):
        recipes.load_recipe("mine")


@pytest.mark.parametrize(
    "datasets", ["null", "[]", "rows.jsonl", "[rows.jsonl]", "[{path: rows.jsonl}]", "{path: rows.jsonl}"]
)
def test_a_recipe_that_names_no_dataset_is_refused(
    datasets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.yaml").write_text(f"seed: 7\ndatasets: {datasets}\n")
    monkeypatch.setenv("TUNEBOOK_RECIPES", str(tmp_path))
    with pytest.raises(InputError, match="recipe.yaml:2: datasets"):
        print(recipes.load_recipe("mine").dataset)


def test_the_list_shows_every_recipe() -> None:
    result = in_process("recipes")
    assert result.returncode == 0, result.stderr
    assert all(name in result.stdout for name in recipes.names())


@each_recipe
def test_the_best_checkpoint_can_ship(file: Path) -> None:
    """All checkpoints of an adapter are kept; of whole weights the best so far by the loss on dev, which is
    measured whenever one is saved."""
    config, _ = read_yaml(file)
    assert config["saves_per_epoch"] == config["evals_per_epoch"]
    if config.get("adapter"):
        assert config["save_total_limit"] >= config["saves_per_epoch"] * config["num_epochs"]
    else:
        assert (config["save_total_limit"], config["metric_for_best_model"]) == (2, "eval_loss")
