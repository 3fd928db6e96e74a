"""`tunebook check` as a whole: stages, exit codes, JSON, and what an offline machine leaves out."""

from __future__ import annotations

import json
import shutil
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.support.commands import tunebook
from tunebook.check import access, axolotl_child, run, tokens
from tunebook.check.axolotl import Axolotl
from tunebook.check.axolotl_child import LATER
from tunebook.check.rows import Rows
from tunebook.check.run import run_check
from tunebook.config.overrides import Options
from tunebook.core.console import Console
from tunebook.core.errors import BAD_INPUT, BAD_MACHINE, GOOD, InputError, MachineError, TunebookError
from tunebook.core.paths import ROOT
from tunebook.models import trial_model

NAME = "mine"


def unreachable(base: str, revision: str | None) -> None:
    raise MachineError(f"base_model: the Hub cannot be reached for {base}")


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe on our own intents, whose base is not on this machine, and a Hub that cannot be reached."""
    text = (ROOT / "recipes" / "classify-lora" / "recipe.yaml").read_text()
    file = tmp_path / "recipes" / NAME / "recipe.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text.replace("datasets/banking77/", "datasets/kettlewick-intents/"))
    monkeypatch.setenv("TUNEBOOK_RECIPES", str(tmp_path / "recipes"))
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path / "runs"))
    for module in (access, tokens):
        monkeypatch.setattr(module, "cached", lambda *_: None)
        monkeypatch.setattr(module, "reach_hub", unreachable)
    return file


@pytest.fixture
def axolotl(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Axolotl's child answers, without the child; to be changed by a test."""
    answer: dict[str, Any] = {"refused": None, "effective": {}, "rows": None, "rows_failed": None}

    class Child(nullcontext[None]):
        def __init__(self, job: dict[str, Any], offline: bool) -> None:
            super().__init__()

        def answer(self, rows: Path | None, step: Any = None) -> dict[str, Any]:
            if answer["rows_failed"] == "down":
                raise TunebookError("Axolotl could not be asked: down")
            return answer

    monkeypatch.setattr(run, "Axolotl", Child)
    return answer


def checked(capsys: pytest.CaptureFixture[str], options: Options | None = None) -> tuple[int, dict[str, Any]]:
    code = run_check(NAME, options or Options(), Console(), as_json=True)
    return code, json.loads(capsys.readouterr().out)


def texts(answer: dict[str, Any]) -> str:
    return json.dumps(answer["kinds"])


def test_our_own_rows_have_no_errors_and_offline_items_are_marked(
    recipe: Path, axolotl: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = checked(capsys)
    assert (code, answer["exit_code"], answer["counts"]["error"]) == (GOOD, GOOD, 0)
    assert answer["facts"]["rows"] == {"train": 600, "dev": 120, "test": 300}
    assert answer["facts"]["steps"]["count"] == 112
    assert set(answer["not_checked"].values()) == {"offline"}
    assert not any(kind["kind"].startswith(("exact", "API keys")) for kind in answer["kinds"])


def test_what_a_person_sees(
    recipe: Path, axolotl: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_check(NAME, Options(set="lora_alpha=128"), Console()) == GOOD
    shown = capsys.readouterr().out
    assert "rows      datasets/kettlewick-intents: 600 train" in shown
    assert "warning   config" in shown and "--set (SET=): lora_alpha: alpha / rank is 8" in shown
    assert "not checked (offline): loss mask, end-of-turn token" in shown
    assert shown.splitlines()[-1].startswith("found     0 errors, 1 warning")


def test_a_config_that_cannot_be_composed_does_not_hide_the_rows(
    recipe: Path, axolotl: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, answer = checked(capsys, Options(set="learning_rat=1e-4 lora_r=big"))
    assert code == BAD_INPUT and answer["counts"]["error"] == 2
    assert "Did you mean learning_rate" in texts(answer)
    assert answer["facts"]["rows"]["train"] == 600


@pytest.mark.parametrize(
    ("changes", "options", "code", "finding"),
    [
        ({"refused": "early stopping needs steps"}, "", BAD_INPUT, "config.refused_by_axolotl"),
        ({"rows_failed": "ValueError: no such token"}, "", BAD_INPUT, "tokens.not_tokenized"),
        ({}, "seed=null", BAD_INPUT, "config.no_seed"),
        ({}, "max_steps=20", GOOD, "training.few_steps"),
        ({}, "sample_packing=true", GOOD, None),
    ],
)
def test_errors_give_exit_2_and_warnings_do_not(
    changes: dict[str, Any],
    options: str,
    code: int,
    finding: str | None,
    recipe: Path,
    axolotl: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    axolotl |= changes
    found, answer = checked(capsys, Options(set=options))
    assert found == code
    assert finding is None or finding in [one["code"] for kind in answer["kinds"] for one in kind["first"]]


@pytest.mark.slow
def test_a_child_that_breaks_down_is_said(
    recipe: Path, axolotl: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    axolotl["rows_failed"] = "down"
    code, answer = checked(capsys)
    assert code == GOOD and "down" in answer["not_checked"]["config and tokens by Axolotl"]


def test_broken_rows_give_exit_2_with_their_lines(
    recipe: Path,
    axolotl: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "sources" / "kettlewick-intents" / "source"
    shutil.copytree(ROOT / "datasets" / "kettlewick-intents" / "source", folder)
    with (folder / "dev.jsonl").open("a") as file:
        file.write('{"id": "odd"\n')
    monkeypatch.setenv("TUNEBOOK_SOURCES", str(tmp_path / "sources"))
    code, answer = checked(capsys)
    (kind,) = [kind for kind in answer["kinds"] if kind["grade"] == "error"]
    assert code == BAD_INPUT and kind["first"][0]["line"] == 121


def test_rows_that_were_not_read_give_exit_4_and_the_last_line_says_so(
    recipe: Path, axolotl: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(rows: Rows, split: str) -> NoReturn:
        raise MachineError("the Hub cannot be reached.", code="hub.unreachable")

    monkeypatch.setattr(Rows, "of", of)
    assert run_check(NAME, Options(), Console()) == BAD_MACHINE
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("found     0 errors") and "the rows were not read" in last


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(InputError, match="there is no recipe called 'nothing'"):
        run_check("nothing", Options(), Console())


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that stands in for Python, called as `python -m tunebook.check.axolotl_child JOB.json`."""
    script = tmp_path / "python"
    script.write_text(
        '#!/bin/sh\nread file || exit 0\n[ "$file" = bad ] && echo "no such token" >&2 && exit 1\n'
        'printf \'{"rows": "%s"}\' "$file" > "$(dirname "$3")/answer.json"\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr("tunebook.check.axolotl.sys.executable", str(script))
    return script


def test_the_child_is_told_the_rows_later(python: Path) -> None:
    with Axolotl({"rows": LATER}) as child:
        folder = child.scratch
        assert json.loads((folder / "job.json").read_text())["rows"] == LATER
        assert child.answer(Path("rows.jsonl")) == {"rows": "rows.jsonl"}
    assert not folder.exists()
    with Axolotl({}) as child, pytest.raises(TunebookError, match="could not check .*: no such token"):
        child.answer(Path("bad"))


def test_a_child_that_is_never_asked_ends_with_its_caller(python: Path) -> None:
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    with Axolotl({}) as child:
        pass
    assert child._child.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_the_real_thing_finds_what_was_planted(recipe: Path, tmp_path: Path) -> None:
    """With a base on this machine: Axolotl's validation and mask; a row too long, a leak and a secret."""
    text = recipe.read_text().replace("Qwen/Qwen3-1.7B", str(trial_model.ensure()))
    text = text.replace("chat_template_kwargs: {enable_thinking: false}", "#")
    recipe.write_text(text.replace("sequence_len: 256", "sequence_len: 96"))
    folder = tmp_path / "sources" / "kettlewick-intents" / "source"
    shutil.copytree(ROOT / "datasets" / "kettlewick-intents" / "source", folder)
    tested = json.loads((folder / "test.jsonl").read_text().splitlines()[4])
    planted = [
        {**tested, "id": "leak", "customer": "leaky"},
        {**tested, "id": "long", "customer": "wordy", "text": "on and on " * 60},
        {**tested, "id": "mail", "customer": "m", "text": "I am ada@analytical.co.uk and my door jams."},
    ]
    with (folder / "train.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in planted)
    result = tunebook(
        *("check", NAME, "--json"),
        timeout=600,
        TUNEBOOK_RECIPES=str(recipe.parent.parent),
        TUNEBOOK_SOURCES=str(tmp_path / "sources"),
        TUNEBOOK_RUNS=str(tmp_path / "runs"),
    )
    assert result.returncode == BAD_INPUT, result.stdout + result.stderr
    answer = json.loads(result.stdout)
    found = {(kind["grade"], kind["kind"]): kind for kind in answer["kinds"]}
    errors = [kind for grade, kind in found if grade == "error"]
    assert set(errors) == {"rows over sequence_len", "lengths"}
    assert found[("error", "rows over sequence_len")]["first"][0]["line"] == 602
    assert found[("warning", "exact duplicates across splits")]["first"][0]["line"] == 601
    assert found[("warning", "e-mail addresses in rows")]["first"][0]["line"] == 603
    assert answer["facts"]["lengths"]["tokenizer"] == "the recipe's own tokenizer"
    assert answer["facts"]["effective"]["lora_mlp_kernel"] == "True"


def test_a_plugin_whose_package_is_missing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def validate(*_: Any) -> None:
        raise ModuleNotFoundError("No module named 'swanlab'")

    job = tmp_path / "job.json"
    job.write_text(json.dumps({"config": {}, "machine": {"gpus": 1}, "scratch": str(tmp_path)}))
    monkeypatch.setattr(axolotl_child, "validate", validate)
    monkeypatch.setattr("sys.argv", ["axolotl_child", str(job)])
    assert axolotl_child.main() == 0
    assert "swanlab" in json.loads((tmp_path / "answer.json").read_text())["refused"]


@pytest.mark.slow
def test_what_waits_for_the_child_is_called_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child"
    child.write_text('#!/bin/sh\nsleep 1.5; read rows; echo "\\"$rows\\"" > "${3%job.json}answer.json"\n')
    child.chmod(0o755)
    monkeypatch.setattr("tunebook.check.axolotl.sys.executable", str(child))
    steps: list[int] = []
    with Axolotl({}) as axolotl:
        assert axolotl.answer(Path("rows.jsonl"), lambda: steps.append(1)) == "rows.jsonl"
    assert steps
