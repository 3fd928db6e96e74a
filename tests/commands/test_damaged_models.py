"""A damaged `model/` of a run, and another run's adapter in it: named by every verb that would load it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.commands.test_damaged_runs import VERBS, made, quiet  # noqa: F401 (fixtures)
from tests.support.commands import in_process
from tunebook.core.errors import BAD_INPUT
from tunebook.core.files import read_json, write_json

LOADING = ("predict", "chat", "merge", "export", "serve", "publish", "evaluate")
WEIGHTS, ADAPTER = "adapter_model.safetensors", "adapter_config.json"


def changed(key: str, value: object) -> Callable[[Path], object]:
    return lambda path: write_json(path, read_json(path) | {key: value})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


# The file that is damaged, the one that the message names where it is another, and the error's code.
CASES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "weights cut off": (WEIGHTS, cut, "run.damaged_model"),
    "weights empty": (WEIGHTS, lambda path: path.write_bytes(b""), "run.damaged_model"),
    "weights missing": (WEIGHTS, Path.unlink, "run.damaged_model"),
    "adapter not JSON": (ADAPTER, lambda path: path.write_text("{"), "run.damaged_model"),
    "adapter a list": (ADAPTER, lambda path: path.write_text("[]"), "run.damaged_model"),
    "adapter missing": (ADAPTER, Path.unlink, "run.damaged_model"),
    "another rank": (ADAPTER, changed("r", 16), "run.foreign_adapter"),
    "another base": (ADAPTER, changed("base_model_name_or_path", "some/base"), "run.foreign_adapter"),
    "tokenizer missing": ("tokenizer.json", Path.unlink, "run.damaged_model"),
    "tokenizer binary": ("tokenizer.json", lambda path: path.write_bytes(b"\xff\x00"), "run.damaged_model"),
    "its settings missing": ("tokenizer_config.json", Path.unlink, "run.damaged_model"),
}


def refused(verb: str, home: Path, quiet: Path, named: Path, code: str) -> str:  # noqa: F811
    """Return what is wrong with how `verb` refuses a run; empty if nothing is."""
    given = {"new.jsonl": str(quiet / "new.jsonl"), "OUT.jsonl": str(quiet / "never.jsonl")}
    shown = in_process(*(given.get(word, word) for word in VERBS[verb]), TUNEBOOK_RUNS=str(home))
    said = shown.stdout + shown.stderr
    if "Traceback" in said or "unexpected" in said or shown.returncode != BAD_INPUT:
        return f"{verb}: exit {shown.returncode}: {said[-300:]}"
    missing = [word for word in (f"[{code}]", str(named), "make fetch", "NEW=1") if word not in said]
    return f"{verb} does not say {missing}: {said[-300:]}" if missing else ""


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_model_is_named_before_it_is_loaded(case: str, made: Path, quiet: Path) -> None:  # noqa: F811
    name, damage, code = CASES[case]
    shutil.copytree(made, quiet / "runs")
    path = quiet / "runs" / "recipe" / "one" / "model" / name
    damage(path)
    assert [said for verb in LOADING if (said := refused(verb, quiet / "runs", quiet, path, code))] == []


@pytest.mark.parametrize(
    ("index", "named"),
    [
        (None, "model.safetensors"),
        ({"weight_map": {"a": "model-00001-of-00001.safetensors"}}, "model-00001-of-00001.safetensors"),
        ({"weight_map": 3}, "model.safetensors.index.json"),
    ],
)
def test_a_full_model_has_all_its_shards(
    index: dict | None,
    named: str,
    made: Path,  # noqa: F811
    quiet: Path,  # noqa: F811
) -> None:
    shutil.copytree(made, quiet / "runs")
    run = quiet / "runs" / "recipe" / "one"
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({"base_model": config["base_model"]}))
    if index is not None:
        write_json(run / "model" / "model.safetensors.index.json", index)
    assert refused("predict", quiet / "runs", quiet, run / "model" / named, "run.damaged_model") == ""


def test_verbs_that_load_no_model_do_not_ask_for_one(made: Path, quiet: Path) -> None:  # noqa: F811
    shutil.copytree(made, quiet / "runs")
    shutil.rmtree(quiet / "runs" / "recipe" / "one" / "model")
    shown = in_process("compare", "recipe/one", "recipe/two", TUNEBOOK_RUNS=str(quiet / "runs"))
    assert "run.damaged_model" not in shown.stdout + shown.stderr
