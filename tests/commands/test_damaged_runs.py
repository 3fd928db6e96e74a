"""Run folders that are damaged, in every file and by every verb: named, never "unexpected"."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from tests.support.commands import in_process
from tests.support.helpers import make_run
from tunebook.commands import review
from tunebook.core.errors import BAD_MACHINE, TunebookError
from tunebook.core.files import read_json, write_json
from tunebook.data.dataset import load_dataset_config
from tunebook.models.fingerprint import weights_hash
from tunebook.report import publish
from tunebook.report.report import write_report
from tunebook.report.verdict import compare
from tunebook.runs.run import Run


def whole_run(folder: Path) -> Run:
    """Write a finished run with weights that nobody loads; its base is beside it."""
    run, base = make_run(folder, "chat"), folder.with_name("base")
    shutil.copy2(run / "data" / "test.jsonl", run / "data" / "dev.jsonl")
    compare(run)
    write_report(run)
    for stage in ("compare", "report"):
        run.mark(stage, "done", 1.0)
    base.mkdir(exist_ok=True)
    (run / "model").mkdir(exist_ok=True)
    for path, name in ((base, "model"), (run / "model", "adapter_model")):
        save_file({"weight": np.zeros(4, dtype=np.float32)}, path / f"{name}.safetensors")
        write_json(path / "config.json", {"dtype": "float32"})
    write_json(run / "model" / "tokenizer_config.json", {})
    write_json(run / "model" / "tokenizer.json", {"model": {}})
    adapter = {"peft_type": "LORA", "r": 8, "base_model_name_or_path": str(base)}
    write_json(run / "model" / "adapter_config.json", adapter)
    config = {"base_model": str(base), "adapter": "lora", "lora_r": 8, "sequence_len": 128}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    settings = run.settings()
    dataset = load_dataset_config("kettlewick-chat").model_dump(mode="json", exclude={"folder"})
    settings |= {"base_model": str(base), "recipe": "chat-lora", "dataset": {**dataset, "rules": {}}}
    write_json(run / "settings.json", settings)
    more = {"base_weights": weights_hash(base), "versions": {"torch": "2"}, "lock": "l", "commit": "c"}
    write_json(run / "manifest.json", read_json(run / "manifest.json") | more)
    write_json(run / "sessions.json", [{"seconds": 1.0}])
    (run / "events.jsonl").write_text('{"stage": "train", "done": 1, "total": 1, "time": 1.0}\n')
    (run / "review").mkdir()
    vote = '{"key": "k", "id": "x", "choice": "tie", "tuned_first": true, "outcome": "tie"}\n'
    (run / "review" / "votes.jsonl").write_text(vote)
    return run


FILES = """state.json settings.json config.yaml manifest.json metrics.json sessions.json train/history.json
    eval/choice.json events.jsonl review/votes.jsonl data/train.jsonl data/test.jsonl
    eval/answers/tuned.test.jsonl eval/answers/base_generate_k.test.jsonl""".split()


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "null": lambda path: path.write_text("null\n"),
    "a list": lambda path: path.write_text("[]\n"),
    "numbers": lambda path: path.write_text("1\n2\n"),
    "too deep": lambda path: path.write_text("[" * 5000),
    "a folder": folder_instead,
    "other keys": lambda path: path.write_text('{"schema": 99, "stages": 3}\n'),
}
# The other kinds of damage take a minute together.
TIERS = {"other keys": [pytest.mark.slow], "cut off": [pytest.mark.slow], "a folder": [pytest.mark.slow]}
VERBS = {
    "compare": ("compare",),
    "compare RUNS": ("compare", "recipe/one", "recipe/two"),
    "review": ("review", "recipe/one"),
    "results": ("results", "recipe/one"),
    "predict": ("predict", "recipe/one", "new.jsonl", "OUT.jsonl"),
    "chat": ("chat", "recipe/one"),
    "merge": ("merge", "recipe/one"),
    "export": ("export", "recipe/one", "--to", "gguf"),
    "serve": ("serve", "recipe/one", "--port", "0"),
    "publish": ("publish", "recipe/one", "--repo", "me/model"),
    "evaluate": ("evaluate", "recipe/one"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("damaged")
    for name in ("one", "two"):
        whole_run(home / "recipe" / name)
    return home


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No child starts, no page is served, and nothing of the checkout is written."""

    def refuse(*_: object, **__: object) -> None:
        raise TunebookError("a child would start now", code="test.reached")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(review, "_serve", lambda reading, console: None)
    monkeypatch.setattr(publish, "fill", lambda *_: None)
    monkeypatch.setattr(publish, "load_recipe", refuse)
    monkeypatch.setattr("tunebook.report.leaderboard.points", lambda *_, **__: "")
    monkeypatch.setattr("tunebook.report.report._pictures", lambda *_: {})
    turns = '[{"role": "user", "content": "Hello?"}]'
    (tmp_path / "new.jsonl").write_text(f'{{"turns": {turns}, "member": "Ada", "hearth": "here"}}\n')
    return tmp_path


@pytest.mark.parametrize(
    "damage", [pytest.param(one, marks=TIERS.get(one, [pytest.mark.long])) for one in DAMAGE]
)
@pytest.mark.parametrize("name", FILES)
def test_no_verb_ends_in_unexpected(name: str, damage: str, made: Path, quiet: Path) -> None:
    wrong = []
    for verb, words in VERBS.items():
        home = quiet / verb.replace(" ", "-")
        shutil.copytree(made, home)
        path = home / "recipe" / "one" / name
        DAMAGE[damage](path)
        given = [
            {"new.jsonl": str(quiet / word), "OUT.jsonl": str(home / word)}.get(word, word) for word in words
        ]
        shown = in_process(*given, TUNEBOOK_RUNS=str(home))
        said = shown.stdout + shown.stderr
        shutil.rmtree(home)
        if "unexpected" in said or "Traceback" in said:
            wrong.append(f"{verb}: {shown.stderr.strip()[-200:]}")
        elif "[run." in said and str(home / "recipe" / "one") not in said and name != "state.json":
            wrong.append(f"{verb} names no path: {said.strip()[-200:]}")
    assert wrong == []


@pytest.mark.parametrize("name", ["state.json", "metrics.json", "eval/answers/tuned.test.jsonl"])
def test_compare_leaves_a_damaged_run_out_and_says_so(name: str, made: Path, quiet: Path) -> None:
    home = quiet / "some"
    shutil.copytree(made, home)
    shutil.copytree(home / "recipe" / "two", home / "recipe" / "three")
    DAMAGE["binary"](home / "recipe" / "one" / name)
    shown = in_process("compare", TUNEBOOK_RUNS=str(home))
    assert shown.returncode == 0, shown.stderr
    assert "skipped:" in shown.stdout and str(home / "recipe" / "one") in shown.stdout
    assert "two" in shown.stdout and "three" in shown.stdout


def test_recipes_lists_the_others_beside_a_damaged_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "recipes" / "chat-lora" / "results").mkdir(parents=True)
    (tmp_path / "recipes" / "chat-lora" / "results" / "trial.json").write_text("{")
    monkeypatch.setattr("tunebook.report.published.ROOT", tmp_path)
    shown = in_process("recipes", "--json")
    assert shown.returncode == 0, shown.stderr
    assert "left out:" in shown.stdout and "trial.json" in shown.stdout and "classify-lora" in shown.stdout


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="another user is needed")
@pytest.mark.parametrize("verb", ["evaluate", "review", "compare"])
def test_a_folder_that_cannot_be_written_is_the_machines_fault(verb: str, made: Path, quiet: Path) -> None:
    with tempfile.TemporaryDirectory() as text:
        home = Path(text)
        for name in ("runs", "other"):
            shutil.copytree(made, home / name)
        for path in [home, *home.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        variables = {"TUNEBOOK_CACHE": f"{home}/cache", "TUNEBOOK_RUNS": f"{home}/other"}
        in_process(*VERBS[verb], **variables)  # imports what the other user may not read
        os.seteuid(65534)
        try:
            shown = in_process(*VERBS[verb], **{**variables, "TUNEBOOK_RUNS": f"{home}/runs"})
        finally:
            os.seteuid(0)
    assert shown.returncode == BAD_MACHINE, shown.stderr
    assert "machine.not_writable" in shown.stderr and f"{home}/runs" in shown.stderr
