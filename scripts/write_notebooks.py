"""Execute the sources in docs/notebooks and write them as notebooks with their outputs: `make notebooks`.

    make notebooks                      # all of them; the trainings take minutes each
    make notebooks ARGS=qa              # docs/notebooks/qa.ipynb only
    make notebooks ARGS="qa --prose"    # only text changed, no code: the outputs stay
    make notebooks ARGS="qa --steps 4"  # shorter, for a test: written with --to FOLDER

It runs with the packages of docs/notebooks/requirements.txt and neither imports torch nor Tunebook: the
cells call `make`, as a reader does. They run in a copy of the checkout, so that the recipe, dataset and run
that a notebook makes do not stay in it. Never edit an .ipynb by hand; edit the .py file and run this.

A cell that is tagged `trial` is left out of the notebook for Colab, and one that is tagged `t4` is only
there: docs/notebooks/classification.py is the source of both.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("docs/notebooks")
ON_T4 = "classification"  # the source of the notebook for Colab as well
CELL_TIMEOUT = 1800  # seconds
# Set by make for the programs that it starts, or a person's own settings: neither is the reader's.
LEFT_OUT = re.compile(r"^(TUNEBOOK_(?!CACHE$)|MAKE|MFLAGS|VENV$|PYTHON|JUPYTER|COLUMNS$|FORCE_COLOR$)")
TOOK = re.compile(r"  \d+\.\d s$")
WAITING = re.compile(r" +seconds for Axolotl's import")
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def sources() -> list[str]:
    """Return the names of the notebooks: the Python files in docs/notebooks."""
    return sorted(path.stem for path in (ROOT / FOLDER).glob("*.py"))


def notebook(name: str, variant: str) -> Any:
    """Return the notebook of a source without outputs; `variant` is `trial` or `t4`."""
    made = jupytext.read(ROOT / FOLDER / f"{name}.py", fmt="py:percent")
    other = "t4" if variant == "trial" else "trial"
    made.cells = [cell for cell in made.cells if other not in cell.metadata.get("tags", [])]
    for at, cell in enumerate(made.cells):
        cell["id"] = f"cell-{at}"
        cell["metadata"] = {}
    made["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    if variant == "t4":
        made.metadata |= {"accelerator": "GPU", "colab": {"gpuType": "T4"}}
    made["nbformat"], made["nbformat_minor"] = 4, 5
    return made


def copy_checkout(folder: Path, venv: Path) -> None:
    """Copy the files that git knows, or would add, into `folder`, with the packages of `venv`.

    `folder/.venv` is not a link to `venv` but a folder of links with a stamp of its own: make finds it
    complete and never installs the copy into `venv`.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").mkdir()
    for path in venv.resolve().iterdir():
        if path.name != ".tunebook-installed":
            (folder / ".venv" / path.name).symlink_to(path)
    (folder / ".venv" / ".tunebook-installed").touch()


def execute(made: Any, checkout: Path, scratch: Path) -> None:
    """Run the cells of a notebook in `checkout`, and keep their outputs in it.

    Raises:
        CellExecutionError: a cell failed.
    """
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    variables = {name: value for name, value in os.environ.items() if not LEFT_OUT.match(name)}
    variables |= {
        "PYTHONPATH": str(checkout),  # before the checkout that is installed in .venv
        "TUNEBOOK_COMMIT": commit,
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "JUPYTER_CONFIG_DIR": str(scratch / "config"),
        "IPYTHONDIR": str(scratch / "ipython"),
    }
    (scratch / "ipython").mkdir(parents=True)
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        where = {"metadata": {"path": str(checkout / FOLDER)}}
        client = NotebookClient(made, timeout=CELL_TIMEOUT, kernel_name="python3", resources=where)
        client.execute(env=variables)
    finally:
        os.environ.clear()
        os.environ.update(before)


def clean(made: Any, checkout: Path) -> None:
    """Leave out of the outputs what differs each time: folders, colours, how long a stage took, waiting
    lines, the time of each cell, and how a long output was cut into pieces."""
    places = {f"{checkout}/": "", str(checkout): "~/tunebook", str(Path.home()): "~"}
    for cell in made.cells:
        cell["metadata"] = {}
        if cell.cell_type != "code":
            continue
        joined: list[Any] = []
        for output in cell.outputs:
            if output.output_type == "stream":
                output.name = "stdout"  # the order of the two as they came; both are what the command says
                if joined and joined[-1].output_type == "stream":
                    joined[-1].text += output.text
                    continue
            joined.append(output)
        for output in joined:
            if output.output_type == "stream":
                text = ANSI.sub("", output.text)
                for place, shown in places.items():
                    text = text.replace(place, shown)
                lines = [TOOK.sub("", line.rstrip()) for line in text.splitlines() if not WAITING.match(line)]
                output.text = "".join(f"{line}\n" for line in lines)
        cell.outputs = joined


def run(made: Any, venv: Path, always: Path | None) -> None:
    """Run the cells of a notebook in a copy of the checkout; also after a failure, write it to `always`."""
    with tempfile.TemporaryDirectory() as folder:
        checkout, scratch = Path(folder).resolve() / "tunebook", Path(folder) / "jupyter"
        copy_checkout(checkout, venv)
        try:
            execute(made, checkout, scratch)
        finally:
            clean(made, checkout)
            if always:
                nbformat.write(made, always)


def with_steps(made: Any, steps: int | None) -> Any:
    """Return the notebook with another number of training steps, for a test.

    A model that was trained that little may miss a gate, which is an error of `make recipe`; the other cells
    run all the same.
    """
    for cell in made.cells if steps else ():
        if cell.cell_type == "code" and "STEPS=" in cell.source:
            cell.source = re.sub(r"\bSTEPS=\d+", f"STEPS={steps}", cell.source)
            cell.metadata["tags"] = ["raises-exception"]
    return made


def take_outputs(made: Any, path: Path) -> None:
    """Give a notebook whose text changed the outputs of the file at `path`.

    Raises:
        SystemExit: its code is not that of the file, so it has to be executed.
    """
    done = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    if [cell.source for cell in done] != [cell.source for cell in code]:
        raise SystemExit(f"{path}: its code changed, too. Execute it: leave out --prose.")
    for cell, before in zip(code, done, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *sources()], help="default: all")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="the environment of Tunebook")
    parser.add_argument("--steps", type=int, help="train for this many steps instead")
    parser.add_argument("--prose", action="store_true", help="keep the outputs: only text changed")
    parser.add_argument("--to", type=Path, default=ROOT / FOLDER, help="the folder of the notebooks")
    asked = parser.parse_args()
    if asked.steps and asked.to == parser.get_default("to"):
        parser.error("--steps changes a source: write the result elsewhere, with --to")
    for name in asked.names or sources():
        made = with_steps(notebook(name, "trial"), asked.steps)
        if asked.prose:
            take_outputs(made, asked.to / f"{name}.ipynb")
        else:
            run(made, asked.venv, asked.to / f"{name}.ipynb" if asked.steps else None)
        if not asked.steps:
            nbformat.write(made, asked.to / f"{name}.ipynb")
        if name == ON_T4 and not asked.steps:
            nbformat.write(notebook(name, "t4"), asked.to / f"{name}-t4.ipynb")
        print(f"wrote {asked.to / name}.ipynb")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
