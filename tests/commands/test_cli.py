"""What a person sees at the command line: exit codes, one clear message, nothing left behind."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.support.commands import in_process, make, tunebook
from tunebook.commands.cli import VERBS, app, load, run
from tunebook.commands.options import from_make, split_words, variables
from tunebook.core.errors import InputError
from tunebook.core.paths import ROOT
from tunebook.hardware import machine

NAME = "classify-lora"
TRIAL = ("--tier", "trial", "--hardware", "cpu")
SOURCE = ROOT / "datasets" / "kettlewick-intents" / "source"


def refused(code: int, runs: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that must be refused with `code`, in words, leaving nothing below `runs`."""
    result = in_process(*words, TUNEBOOK_RUNS=str(runs), **environment)
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


def test_help_lists_the_verbs_and_imports_none_of_them() -> None:
    code = "import sys; from tunebook.commands import cli\ntry: cli.main()\nexcept SystemExit: pass\n"
    code += "heavy = ('jinja2', 'numpy', 'torch', 'tunebook.commands.recipe')\n"
    code += "print([name for name in heavy if name in sys.modules])"
    words = [sys.executable, "-c", code, "--help"]
    result = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert all(verb in result.stdout for verb in ("recipe", "recipes", "check", "data", "results"))
    assert result.stdout.splitlines()[-1] == "[]", "help waits for no library that a verb needs"


def test_the_parent_process_imports_no_training_stack() -> None:
    modules = """commands.cli pipeline.recipe pipeline.evaluate_model check.run plan.show commands.bench
    commands.verify commands.recipe commands.check commands.evaluate
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
        ("recipe", NAME, "--set", "lora_r=4", "--set", "lora_alpha=8"),
        ("recipe", NAME, "--seed=1", "--seed=2"),
        ("recipe", NAME, "--smoke", "--no-smoke"),
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
        (b'{"id": "x", "customer": ', "rows.not_json"),
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
    assert f"{path}:7" in error
    assert field in error


def test_data_writes_nothing_when_a_row_is_broken(runs: Path, tmp_path: Path) -> None:
    rendered = ROOT / "datasets" / "banking77" / "rows"
    before = {path.name: path.stat().st_mtime_ns for path in rendered.glob("*")}
    shutil.copytree(ROOT / "tests" / "twins", tmp_path / "twins")
    broken = tmp_path / "twins" / "banking77" / "test.jsonl"
    with broken.open("a") as file:
        file.write("{\n")
    line = len(broken.read_text().splitlines())
    error = refused(2, runs, "data", NAME, "--tier", "real", TUNEBOOK_SOURCES=str(tmp_path / "twins")).stderr
    assert f"test.jsonl:{line}: " in error
    assert {path.name: path.stat().st_mtime_ns for path in rendered.glob("*")} == before


# DEBUG


def test_debug_shows_where(runs: Path) -> None:
    result = tunebook("recipe", "nothing-like-it", TUNEBOOK_RUNS=str(runs), DEBUG="1")
    assert "Traceback" in result.stderr
    assert "nothing-like-it" in result.stderr
    assert result.returncode != 0


# The console entry itself


def entry(*words: str) -> Result:
    """Run `tunebook WORDS` in this process."""
    return CliRunner().invoke(app, words, prog_name="tunebook")


def test_the_help_of_each_verb_is_its_docstring() -> None:
    for verb, line in VERBS.items():
        command = load(verb)
        assert command.help.splitlines()[0] == line.help, verb
        for parameter in command.params:
            assert parameter.help or parameter.name in ("name", "quiet"), (verb, parameter.name)


def test_the_help_groups_the_verbs() -> None:
    text = entry("--help").stdout
    for section in ("Run", "Look", "Data", "After training", "Rented GPUs", "Maintain"):
        assert f"─ {section} ─" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_help_imports_no_verb() -> None:
    code = "import sys; from tunebook.commands.cli import run; run(['--help'])\n"
    code += "print([name for name in sys.modules if name.startswith('tunebook.pipeline')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip().endswith("[]"), result.stderr


def test_version() -> None:
    assert entry("--version").stdout.split() == ["tunebook", importlib.metadata.version("tunebook")]


@pytest.mark.parametrize(
    ("words", "close"), [(("recipee",), "'recipe'"), (("recipe", NAME, "--sead", "3"), "'--seed'")]
)
def test_a_mistyped_verb_or_option_is_suggested(words: tuple[str, ...], close: str) -> None:
    result = entry(*words)
    assert result.exit_code == 2
    assert "Did you mean" in result.stderr and close in result.stderr


@pytest.mark.parametrize("words", [("--quiet", "recipes"), ("recipes", "-q")])
def test_quiet_prints_nothing(words: tuple[str, ...]) -> None:
    result = entry(*words)
    assert (result.exit_code, result.stdout) == (0, "")


def test_recipes_as_json() -> None:
    rows = json.loads(entry("recipes", "--json").stdout)
    assert NAME in [row["name"] for row in rows]


def test_tables_are_plain_and_whole_where_nobody_sees_frames() -> None:
    lines = entry("recipes").stdout.splitlines()
    assert not set("".join(lines)) & set("┃│━─|")
    line = next(line for line in lines if line.startswith("chat-lora-8b "))
    assert "Qwen/Qwen3-8B" in line, "a recipe is one line"


@pytest.mark.parametrize("no_color", [True, False])
def test_no_color(no_color: bool, runs: Path) -> None:
    environment = {"FORCE_COLOR": "1"} | ({"NO_COLOR": "1"} if no_color else {})
    result = tunebook("--help", **environment)
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", result.stdout)) is not no_color


def test_an_error_ends_with_its_code(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", NAME, "--set", "lora_r"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "[option.bad_set] see docs/errors.md"
    assert "--set (SET=)" in lines[0]


# make


def make_command(*words: str, **environment: str) -> list[str]:
    """Return the words that make hands to the console entry."""
    result = make("-n", *words, **environment)
    assert result.returncode == 0, result.stderr
    line = next(line for line in result.stdout.splitlines() if "/tunebook make " in line)
    line = line.replace(f"{sys.prefix}/bin/tunebook", "printf '%s\\n'", 1)
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True).stdout.splitlines()


def words_of(*words: str) -> list[str]:
    """Return the words of the console entry that make's words stand for."""
    verb, given = split_words(make_command(*words)) or ("", [])
    return from_make(verb, load(verb), given)


def test_make_alone_lists_the_targets() -> None:
    result = make()
    assert result.returncode == 0
    for target in [*VERBS, "setup", "test", "lint"]:
        assert f"make {target} " in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    sections = [line for line in result.stdout.splitlines() if line and not line.startswith((" ", "make"))]
    assert sections == list(dict.fromkeys(verb.section for verb in VERBS.values()))


def test_makes_targets_and_their_variables_are_those_of_the_console_entry() -> None:
    text = (ROOT / "Makefile").read_text()
    verbs = re.search(r"^VERBS := (.*)$", text, re.MULTILINE)
    assert verbs and sorted(verbs[1].split()) == sorted(VERBS)
    for verb in VERBS:
        line = re.search(rf"^{verb}: .*## (.*)$", text, re.MULTILINE)
        assert line, verb
        assert set(re.findall(r"([A-Z_]+)=", line[1])) <= set(variables(load(verb))), verb


def refused_by_make(*words: str) -> InputError:
    with pytest.raises(InputError) as error:
        words_of(*words)
    return error.value


@pytest.mark.parametrize(
    ("word", "close"), [("STEP=10", "STEPS"), ("sed=x", "SEED"), ("LR=1e-4", ""), ("ON=ssh", "")]
)
def test_make_refuses_a_variable_that_the_verb_does_not_know(word: str, close: str) -> None:
    error = refused_by_make("recipe", f"NAME={NAME}", word)
    assert error.code == "option.unknown_variable"
    assert f"unknown variable {word.partition('=')[0]}" in str(error)
    assert f"Did you mean {close}?" in str(error) if close else "STEPS" in str(error)


def test_make_refuses_a_variable_of_its_own_targets() -> None:
    result = make("-n", "lint", "LR=1")
    assert result.returncode != 0 and "unknown variable LR" in result.stderr


def test_make_refuses_a_value_of_two_lines() -> None:
    """The shell would get half of a quoted text."""
    result = make("-n", "launch", "NAME=x", "IMAGE=a\nb: c")
    assert result.returncode == 2 and "IMAGE: has a line break" in result.stderr


def test_before_set_up_make_refuses_an_unknown_variable_itself(tmp_path: Path) -> None:
    """Set-up takes minutes, so a typing mistake must not wait for it."""
    venv = f"VENV={tmp_path / 'none'}"
    for verb, word in (("recipe", "NAEM=x"), ("env", "NAME=x"), ("fetch", "FROM=x")):
        result = make("-n", verb, word, venv)
        assert result.returncode == 2 and f"unknown variable {word.partition('=')[0]}." in result.stderr
        assert "set_up.sh" not in result.stdout
    for words in (
        ("recipe", "NAME=x", "HELP=1"),
        ("check", "NAME=x", "JSON=1"),
        ("recipe", "NAME=x", "SMOKE=0"),
    ):
        result = make("-n", *words, venv)
        assert result.returncode == 0 and "set_up.sh" in result.stdout, result.stderr


def test_make_refuses_a_flag_that_is_neither_1_nor_0() -> None:
    error = refused_by_make("recipe", f"NAME={NAME}", "SMOKE=yes")
    assert error.code == "option.bad_flag" and "SMOKE must be 1 or 0" in str(error)


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (("recipe",), "NAME is missing: make recipe NAME=..."),
        (("fetch", "RUN=chat-lora/latest"), "STORE is missing: make fetch RUN=... STORE=..."),
        (("predict", "DATA=x"), "RUN is missing: make predict RUN=... DATA=... OUT=..."),
        (("launch", f"NAME={NAME}"), "ON is missing: make launch NAME=... ON=..."),
    ],
)
def test_make_names_a_missing_variable(words: tuple[str, ...], usage: str) -> None:
    error = refused_by_make(*words)
    assert (error.code, str(error)) == ("option.missing_variable", usage)


def test_what_stands_in_the_environment_is_somebody_elses() -> None:
    assert make_command("recipe", NAME="chat-lora", HOST="here") == ["make", "recipe"]


def test_a_mistyped_target_reaches_the_console_entry(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(make_command("recipee", "NAME=x")) == 2
    assert "'recipe'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        (("check", "NAME=x", "JSON=1"), ["--json", "x"]),
        (("recipe", "NAME=x", "SMOKE=0", "NEW=1"), ["--new", "--no-smoke", "x"]),
        (("verify", "NAME=x", "SEED=3", "SMOKE=1"), ["--seed=3", "--smoke", "x"]),
        (("data", "NAME=x", "SHOW=20", "TIER=trial"), ["--show=20", "--tier=trial", "x"]),
        (("recipe", "NAME=-x", "NEW=0"), ["--", "-x"]),
        (("compare", "RUNS=a/latest b/latest"), ["a/latest", "b/latest"]),
        (("recipe", "NAME=x", "SET=lora_r=8 base_model='a b'"), ["--set=lora_r=8 base_model='a b'", "x"]),
        (("fork", "FROM=a", "NAME=b", "DATA=c d.csv", "GROUP=g"), ["--group=g", "a", "b", "c d.csv"]),
        (("fork", "HELP=1"), ["--help"]),
    ],
)
def test_make_passes_arguments_and_options(words: tuple[str, ...], passed: list[str]) -> None:
    assert words_of(*words) == passed


@pytest.mark.parametrize("value", ["x'; touch broken; '", "$(shell touch broken) $HOME $$ `id`", 'a"b\\c'])
def test_a_value_reaches_the_program_as_typed(value: str) -> None:
    assert make_command("check", f"NAME={value}") == ["make", "check", f"NAME={value}"]
    assert not (ROOT / "broken").exists()


def test_fork_says_which_argument_is_missing(runs: Path) -> None:
    assert "[option.missing]" in refused(2, runs, "fork", "chat-lora", "mine", "").stderr
