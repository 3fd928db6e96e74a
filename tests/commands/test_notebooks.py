"""The notebooks of the guide are their sources, executed: text, outputs, figures; and one is executed again.

A change of docs/notebooks/*.py needs `make notebooks ARGS=NAME`: an output is never written by hand.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
import yaml

from tunebook.commands.cli import app
from tunebook.commands.options import variables
from tunebook.config import recipe
from tunebook.core.paths import ROOT

FOLDER = ROOT / "docs" / "notebooks"
EXECUTED = sorted(path.stem for path in FOLDER.glob("*.py"))
NOTEBOOKS = [*EXECUTED, "classification-t4"]
MARKER = re.compile(r"^# %%(?: (.*))?$")
# As in the guide: a figure in prose would be one that was typed.
MEASUREMENT = re.compile(r"\d\s?(?:%|(?:s|ms|GiB|GB|MB|points|minutes|hours|tokens/s)\b)|\$\d")


class Cell(NamedTuple):
    kind: str
    text: str
    output: str = ""


def of_source(name: str, left_out: str) -> list[Cell]:
    """Return the cells of a source in the percent format, without those tagged `left_out`."""
    cells: list[Cell] = []
    for block in re.split(r"(?m)^(?=# %%(?: |$))", (FOLDER / f"{name}.py").read_text(encoding="utf-8"))[1:]:
        first, _, rest = block.partition("\n")
        marked = MARKER.match(first)
        assert marked, first
        options, lines = marked[1] or "", rest.strip("\n").split("\n")
        if f'tags=["{left_out}"]' in options:
            continue
        bare = [line.removeprefix("#").removeprefix(" ") for line in lines]
        if "[markdown]" in options:
            cells.append(Cell("markdown", "\n".join(bare)))
        elif 'language="bash"' in options:
            cells.append(Cell("code", "\n".join(["%%bash", *bare])))
        else:
            magic = [line.removeprefix("# ") if line.startswith("# %") else line for line in lines]
            cells.append(Cell("code", "\n".join(magic)))
    return cells


def of_notebook(path: Path) -> list[Cell]:
    """Return the cells of a notebook; the output of a cell is its text, and `ERROR` for an error."""
    cells = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        out = ""
        for output in cell.get("outputs", []):
            shown = output.get("text") or output.get("data", {}).get("text/plain") or ""
            out += "ERROR" if output["output_type"] == "error" else "".join(shown)
        cells.append(Cell(cell["cell_type"], "".join(cell["source"]), out))
    return cells


def output_of(name: str, command: str) -> str:
    """Return the output of the one cell of a notebook that has `command` in its text."""
    (found,) = (
        cell.output
        for cell in of_notebook(FOLDER / f"{name}.ipynb")
        if cell.kind == "code" and command in cell.text
    )
    return found


def one(pattern: str, text: str) -> str:
    """Return what the group of `pattern` holds in the first line that has it."""
    found = re.search(pattern, text, re.MULTILINE)
    assert found, pattern
    return found[1]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_has_the_text_of_its_source(name: str) -> None:
    left_out = "trial" if name.endswith("-t4") else "t4"
    cells = [(cell.kind, cell.text) for cell in of_notebook(FOLDER / f"{name}.ipynb")]
    source = [(cell.kind, cell.text) for cell in of_source(name.removesuffix("-t4"), left_out)]
    assert cells == source, f"run: make notebooks ARGS={name.removesuffix('-t4')}"


def test_every_notebook_has_a_source_and_a_link() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NOTEBOOKS)
    linked = "".join(path.read_text() for path in (ROOT / "docs" / "guide" / "case-studies").glob("*.md"))
    for name in NOTEBOOKS:
        assert f"notebooks/{name}.ipynb)" in linked
        assert f"(docs/notebooks/{name}.ipynb)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", EXECUTED)
def test_every_cell_was_executed_without_an_error(name: str) -> None:
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text())
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1)), "executed once, from top to bottom"
    for cell in of_notebook(FOLDER / f"{name}.ipynb"):
        assert "ERROR" not in cell.output and (cell.output or cell.kind == "markdown"), cell.text
        assert not re.search(r"/tmp/|/root/|/home/|\x1b|Traceback", cell.output), cell.text
    assert output_of(name, "subprocess.Popen") == "ready: True\n"
    assert output_of(name, "server.terminate()") == "the server no longer answers\n"


def test_the_notebook_for_colab_has_no_outputs_and_asks_for_a_gpu() -> None:
    notebook = json.loads((FOLDER / "classification-t4.ipynb").read_text())
    assert notebook["metadata"]["colab"] == {"gpuType": "T4"}
    cells = of_notebook(FOLDER / "classification-t4.ipynb")
    assert not [cell for cell in cells if cell.output]
    code = "\n".join(cell.text for cell in cells if cell.kind == "code")
    assert code.index("git clone") < code.index("make setup") < code.index("%cd tunebook")
    assert "TIER=trial" not in code and "STEPS=" not in code
    assert "make recipe NAME=my-desk HARDWARE=t4-16gb GPUS=1" in code


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_commands_and_links_name_what_exists(name: str) -> None:
    group = typer.main.get_command(app)
    context = typer.Context(group)
    gpus = yaml.safe_load((ROOT / "hardware" / "facts" / "gpus.yaml").read_text())
    text = "\n".join(cell.text for cell in of_notebook(FOLDER / f"{name}.ipynb")).replace("\\\n", " ")
    found = re.findall(r"(?:^|`)make ([a-z]+)((?: +[A-Z_]+=(?:\"[^\"]*\"|[^\s`]*))*)", text, re.MULTILINE)
    assert {"fork", "check", "plan", "recipe", "serve"} <= {verb for verb, _ in found}
    for verb, words in found:
        command = group.get_command(context, verb)  # type: ignore[attr-defined]
        if command is None:
            assert re.search(rf"^{verb}:", (ROOT / "Makefile").read_text(), re.MULTILINE), verb
            continue
        given = dict(re.findall(r"([A-Z_]+)=(\"[^\"]*\"|\S*)", words))
        assert given.keys() <= variables(command).keys(), (verb, words)
        assert given.get("FROM", recipe.names()[0]) in recipe.names()
        assert "GPU" not in given or given["GPU"] in gpus
        assert "HARDWARE" not in given or (ROOT / "hardware" / f"{given['HARDWARE']}.yaml").is_file()
        assert "/" not in given.get("DATA", "").removeprefix("runs/") or (
            (ROOT / given["DATA"]).is_file() or given["DATA"] in text_of_datasets()
        )
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert link.startswith("https://") or (FOLDER / link).is_file(), link


def text_of_datasets() -> str:
    """Return all dataset.yaml: they name the public datasets as the Hub does."""
    return "".join(path.read_text() for path in (ROOT / "datasets").glob("*/dataset.yaml"))


@pytest.mark.parametrize("name", EXECUTED)
def test_no_figure_is_typed(name: str) -> None:
    for cell in of_source(name, "none"):
        if cell.kind == "markdown":
            prose = re.sub(r"`[^`]*`|\]\([^)]*\)|95 % interval|about\sten\sminutes", "", cell.text)
            assert not MEASUREMENT.findall(prose), cell.text


@pytest.mark.parametrize("name", EXECUTED)
def test_the_raw_file_is_still_the_one_that_was_read(name: str) -> None:
    source = "\n".join(cell.text for cell in of_source(name, "t4"))
    file = one(r"\bDATA=(datasets/\S+)", source)
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    shown = output_of(name, "wc -l")
    assert one(r"^(\d+) datasets/", shown) == str(len(lines))
    rows = [line for line in shown.splitlines() if line.startswith("{")]
    assert rows and rows == lines[: len(rows)]
    if "grep -c" in source:
        assert shown.splitlines()[-1] == str(sum(not json.loads(line)["answers"] for line in lines))
    splits = re.findall(r"(\d+) (?:train|dev|test) \(", one(r"^rows +(.*)$", output_of(name, "make fork")))
    assert len(splits) == 3 and sum(map(int, splits)) == len(lines)


@pytest.mark.parametrize("name", EXECUTED)
def test_the_figures_of_the_cells_agree(name: str) -> None:
    """The table of the run, metrics.json, and the file measured after the run are of one and the same run."""
    (command,) = {
        one(r"(make recipe .*)$", cell.text)
        for cell in of_source(name, "t4")
        if "%%bash\nmake recipe" in cell.text
    }
    table = next(cell.text for cell in of_source(name, "t4") if "The same on a GPU" in cell.text)
    assert f"| `{command}` |" in table
    run, numbers = output_of(name, "%%bash\nmake recipe"), output_of(name, "metrics.json")
    steps = one(r"STEPS=(\d+)", command)
    assert one(r"^(\d+) steps$", numbers) == steps == one(r"^train +(\d+) steps,", run)
    assert re.search(r"^verdict +(better|worse|no difference shown)\.", run, re.MULTILINE)
    # The first row of the table is that of the primary metric, its first column the fine-tuned model.
    tuned = one(r"^[^\n]*, (?:higher|lower) is better +([\d.]+)", run)
    printed = one(r"^tuned .*?([\d.]+)(?:%| bits)", numbers)
    assert tuned == printed
    rows = one(r"^(\d+) dev", numbers)
    assert one(r" on (\d+) dev examples", run) == rows
    again = output_of(name, "%%bash\nmake merge")
    assert one(r"^run +([\d.]+)", again) == tuned


@pytest.mark.long
@pytest.mark.timeout(5400)
def test_a_notebook_runs_to_its_end(tmp_path: Path) -> None:
    """Trained for two steps, in its own environment: fork, check, train, predict, merge, serve, stop."""
    python = tmp_path / "venv-notebooks" / "bin" / "python"
    stamp = python.parent.parent / ".installed"
    make = ["make", "-C", str(ROOT), f"VENV={tmp_path / 'venv'}", f"PYTHON={sys.executable}", str(stamp)]
    subprocess.run(make, check=True, capture_output=True)
    script = [str(python), "scripts/write_notebooks.py", "classification", "--steps", "2"]
    before = {path: path.read_bytes() for path in FOLDER.iterdir() if path.is_file()}
    made, datasets = set(os.listdir(ROOT / "recipes")), set(os.listdir(ROOT / "datasets"))
    ended = subprocess.run(
        [*script, "--venv", sys.prefix, "--to", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    cells = of_notebook(tmp_path / "classification.ipynb")
    missed = [cell.text for cell in cells if "ERROR" in cell.output]
    assert missed in ([], ["%%bash\nmake recipe NAME=my-desk TIER=trial STEPS=2 EVAL=quick"])
    outputs = {cell.text.partition("\n")[2] or cell.text: cell.output for cell in cells}
    run = next(out for text, out in outputs.items() if text.startswith("make recipe"))
    assert "train     2 steps" in run and "verdict " in run
    assert any(out == "the server no longer answers\n" for out in outputs.values())
    other_code = subprocess.run(
        [str(python), "scripts/write_notebooks.py", "classification", "--prose", "--to", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert other_code.returncode == 1 and "its code changed" in other_code.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert (set(os.listdir(ROOT / "recipes")), set(os.listdir(ROOT / "datasets"))) == (made, datasets)
