"""What a person sees at the command line: exit codes, one clear message, nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.commands import make, tunebook
from tunebook.core.paths import ROOT
from tunebook.hardware import machine

NAME = "classify-lora"
TRIAL = ("--tier", "trial", "--hardware", "cpu")
SOURCE = ROOT / "datasets" / "kettlewick-intents" / "source"


def refused(code: int, runs: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that must be refused with `code`, in words, leaving nothing below `runs`."""
    result = tunebook(*words, TUNEBOOK_RUNS=str(runs), **environment)
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert result.stderr.strip()
    assert not runs.exists() or not [*runs.iterdir()]
    return result


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the dataset's source rows, to be damaged; give its root as TUNEBOOK_SOURCES."""
    folder = tmp_path / "sources" / "kettlewick-intents" / "source"
    folder.mkdir(parents=True)
    for path in SOURCE.glob("*.jsonl"):
        shutil.copy(path, folder)
    return folder


# Help and imports


def test_help_lists_the_verbs_and_is_quick() -> None:
    took = []
    for _ in range(2):  # the first may have to compile
        start = time.monotonic()
        result = tunebook("--help")
        took.append(time.monotonic() - start)
        assert result.returncode == 0
    assert all(verb in result.stdout for verb in ("recipe", "recipes", "check", "data", "results"))
    assert min(took) < 5, "half a minute means that it imports Axolotl"


def test_the_parent_process_imports_no_training_stack() -> None:
    modules = """commands.cli pipeline.recipe pipeline.evaluate_model check.run plan.show commands.bench commands.verify
    commands.launch commands.fetch commands.data commands.sweep commands.fork.fork commands.predict
    commands.review report.leaderboard report.publish""".split()
    code = "import sys\n" + "".join(f"import tunebook.{name}\n" for name in modules)
    code += "print([name for name in ('torch', 'axolotl', 'transformers') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


# Refusals


@pytest.mark.parametrize(
    ("verb", "name"), [("recipe", "nothing-like-it"), ("recipe", "../x"), ("check", "../x"), ("data", "../x")]
)
def test_an_unknown_recipe(verb: str, name: str, runs: Path) -> None:
    assert NAME in refused(2, runs, verb, name).stderr


def test_a_misspelt_recipe_is_suggested(runs: Path) -> None:
    assert "Did you mean classify-lora" in refused(2, runs, "recipe", "clasify-lora").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("learning_rat=1e-4", ["learning_rat", "Did you mean learning_rate"]),
        ("lora_r=big", ["lora_r", "expected a whole number", "'big'"]),
        ("seed=null", ["seed"]),
        ("datasets=null", ["datasets"]),
        ("base_model=Qwen/Qwen3-1.7B", ["base_model", "Qwen/Qwen3-1.7B"]),
    ],
)
def test_a_bad_set(words: str, said: list[str], runs: Path) -> None:
    error = refused(2, runs, "recipe", NAME, *TRIAL, "--set", words).stderr
    assert all(part in error for part in said), error


def test_every_problem_of_set_is_shown_at_once(runs: Path) -> None:
    words = "learning_rat=1e-4 lora_r=big"
    error = refused(2, runs, "recipe", NAME, *TRIAL, "--set", words).stderr
    assert "learning_rat:" in error and "lora_r:" in error


@pytest.mark.parametrize(
    "words",
    [
        ("recipe",),
        ("recipe", NAME, "--seed", "many"),
        ("recipe", NAME, "--steps", "0"),
        ("recipe", NAME, "--tier", "other"),
        ("recipe", NAME, "--no-such-option"),
        ("recipe", NAME, "--hardware", "no-such-card"),
        ("no-such-verb",),
        ("results", "classify-lora/none"),
        ("results", ""),
    ],
    ids=" ".join,
)
def test_a_bad_command_line(words: tuple[str, ...], runs: Path) -> None:
    refused(2, runs, *words)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TUNEBOOK_JUDGE": "1"}, "TUNEBOOK_ENDPOINT: the judge needs an endpoint"),
        ({"TUNEBOOK_ENDPOINT": "localhost:8000"}, "TUNEBOOK_ENDPOINT: must be like https"),
        ({"TUNEBOOK_ENDPOINT": "http://localhost:8000/v1"}, "TUNEBOOK_ENDPOINT_MODEL: Field required"),
    ],
    ids=str,
)
def test_a_bad_endpoint_is_found_before_the_training(
    environment: dict[str, str], said: str, runs: Path
) -> None:
    error = refused(2, runs, "recipe", "chat-lora", *TRIAL, **environment).stderr
    assert said in error


@pytest.mark.skipif(bool(machine.gpus()), reason="a GPU is here: the real tier would start")
def test_the_real_tier_without_hub_and_gpu_is_the_machines_fault(runs: Path, tmp_path: Path) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    error = refused(4, runs, "recipe", NAME, "--tier", "real", **offline).stderr
    assert "base_model" in error and "Qwen/Qwen3-1.7B" in error


# Rows


def test_a_missing_rows_file(runs: Path, sources: Path) -> None:
    (sources / "dev.jsonl").unlink()
    root = str(sources.parent.parent)
    error = refused(2, runs, "recipe", NAME, *TRIAL, TUNEBOOK_SOURCES=root).stderr
    assert str(sources / "dev.jsonl") in error


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b'{"id": "x", "customer": ', "not JSON"),
        (b'{"id": "x", "customer": "c", "tone": "calm", "text": "Hello.", "label": "no_such"}', "no_such"),
    ],
)
def test_a_broken_row(line: bytes, field: str, runs: Path, sources: Path) -> None:
    path = sources / "train.jsonl"
    rows = path.read_bytes().splitlines()
    rows[6] = line
    path.write_bytes(b"\n".join(rows) + b"\n")
    root = str(sources.parent.parent)
    error = refused(2, runs, "recipe", NAME, *TRIAL, TUNEBOOK_SOURCES=root).stderr
    assert f"{path}:7: " in error
    assert field in error


def test_data_writes_nothing_when_a_row_is_broken(runs: Path, tmp_path: Path) -> None:
    rendered = ROOT / "datasets" / "banking77" / "rows"
    before = {path.name: path.stat().st_mtime_ns for path in rendered.glob("*")}
    shutil.copytree(ROOT / "tests" / "twins", tmp_path / "twins")
    broken = tmp_path / "twins" / "banking77" / "test.jsonl"
    with broken.open("a") as file:
        file.write("{\n")
    line = len(broken.read_text().splitlines())
    error = refused(2, runs, "data", NAME, TUNEBOOK_SOURCES=str(tmp_path / "twins")).stderr
    assert f"test.jsonl:{line}: " in error
    assert {path.name: path.stat().st_mtime_ns for path in rendered.glob("*")} == before


# DEBUG


def test_debug_shows_where(runs: Path) -> None:
    result = tunebook("recipe", "nothing-like-it", TUNEBOOK_RUNS=str(runs), DEBUG="1")
    assert "Traceback" in result.stderr
    assert "nothing-like-it" in result.stderr
    assert result.returncode != 0


# make


def test_make_alone_lists_the_targets() -> None:
    result = make()
    assert result.returncode == 0
    for target in ("setup", "recipe", "recipes", "check", "data", "results", "test", "lint"):
        assert f"make {target} " in result.stdout


@pytest.mark.parametrize("word", ["MAXSTEPS=10", "name=x", "LR=1e-4"])
def test_make_refuses_a_variable_it_does_not_know(word: str) -> None:
    result = make("-n", "recipe", f"NAME={NAME}", word)
    assert result.returncode != 0
    assert f"unknown variable {word.partition('=')[0]}" in result.stderr
    assert "STEPS" in result.stderr, "says which there are"


def test_make_refuses_a_smoke_that_is_neither_1_nor_0() -> None:
    result = make("-n", "recipe", f"NAME={NAME}", "SMOKE=yes")
    assert result.returncode != 0 and "SMOKE is 1" in result.stderr


def test_make_refuses_a_missing_name() -> None:
    result = make("-n", "recipe")
    assert result.returncode != 0
    assert "NAME is missing" in result.stderr


def test_a_name_from_the_environment_is_somebody_elses() -> None:
    result = make("-n", "recipe", NAME="chat-lora")
    assert result.returncode != 0
    assert "NAME is missing" in result.stderr
    assert "chat-lora'" not in result.stdout


def test_make_passes_everything_on_to_the_console_entry() -> None:
    words = ["SET=lora_r=8 base_model='a b'", "SEED=3", "STEPS=5", "TIER=trial", "HARDWARE=cpu"]
    result = make("-n", "recipe", f"NAME={NAME}", *words, "EVAL=quick", "NEW=1")
    assert result.returncode == 0, result.stderr
    line = next(line for line in result.stdout.splitlines() if "/tunebook recipe " in line)
    shown = subprocess.run(
        ["sh", "-c", line.replace(f"{sys.prefix}/bin/tunebook", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert shown[:2] == ["recipe", NAME]
    pairs = dict(zip(shown[2:-1:2], shown[3:-1:2], strict=True))
    assert pairs == {
        "--set": "lora_r=8 base_model='a b'",
        "--seed": "3",
        "--steps": "5",
        "--tier": "trial",
        "--hardware": "cpu",
        "--eval": "quick",
    }
    assert shown[-1] == "--new"


def test_make_fork_passes_on_what_the_command_line_says_only() -> None:
    words = ["FROM=chat-lora", "NAME=mine", "DATA=a b.jsonl", "FIELDS=text=body label=topic"]
    result = make("-n", "fork", *words, GROUP="staff", TIME="5", TASK="chat")
    lines = result.stdout.replace("\\\n", " ").splitlines()
    line = next(line for line in lines if "/tunebook fork " in line)
    shown = subprocess.run(
        ["sh", "-c", line.replace(f"{sys.prefix}/bin/tunebook", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert shown == ["fork", "chat-lora", "mine", "a b.jsonl", "--fields", "text=body label=topic"]


def test_fork_says_which_variable_is_missing(runs: Path) -> None:
    assert "DATA is missing: make fork FROM=" in refused(2, runs, "fork", "chat-lora", "mine", "").stderr


def test_make_hands_on_a_name_without_running_it() -> None:
    result = make("-n", "check", "NAME=x'; touch broken; '")
    line = next(line for line in result.stdout.splitlines() if "/tunebook check " in line)
    shown = subprocess.run(
        ["sh", "-c", line.replace(f"{sys.prefix}/bin/tunebook", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert shown == ["check", "x'; touch broken; '"]


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        (("check", "JSON=1"), ["--json"]),
        (("recipe", "SMOKE=0"), ["--no-smoke"]),
        (("verify", "SEED=3", "SMOKE=1"), ["--seed", "3", "--smoke"]),
        (("data", "SHOW=20", "TIER=trial"), ["--show", "20", "--tier", "trial"]),
    ],
)
def test_make_passes_the_options_of_a_verb(words: tuple[str, ...], passed: list[str]) -> None:
    result = make("-n", words[0], f"NAME={NAME}", *words[1:])
    assert result.returncode == 0, result.stderr
    lines = result.stdout.replace("\\\n", " ").splitlines()
    line = next(line for line in lines if f"/tunebook {words[0]} " in line)
    assert line.replace("'", "").split()[3:] == passed
