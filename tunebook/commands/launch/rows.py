"""Which files of a recipe a rented machine needs, and how they get there.

A machine has what its target copies: the checkout without some folders, and nothing from elsewhere. So every
file named by the recipe's dataset must be in the checkout, as a file and not as a link, in a place that is
copied; otherwise the launch is refused before anything is rented. On the machine, sha256sum verifies the
files before training. Slurm reads them in place, from a file system that its nodes share.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tunebook.commands.launch.order import On
from tunebook.config.recipe import Recipe
from tunebook.core.environment import environment
from tunebook.core.errors import InputError, Problem, raise_all
from tunebook.core.files import file_sha256
from tunebook.core.paths import ROOT, show
from tunebook.core.process import run_command
from tunebook.core.yaml_file import line_of, read_yaml
from tunebook.data.dataset import Dataset, load_dataset_config
from tunebook.data.sources import source_file

# Left out by launch/ssh/start.sh.j2 and .dockerignore: parts of paths, and folders of the checkout.
LEFT_OUT = re.compile(r"\.env.*|.*\.pem|.*\.key|__pycache__|.*\.egg-info|\..*_cache|last_run_prepared")
FOLDERS_LEFT_OUT = (".git", ".venv", "runs")
LARGE = 1_000_000_000  # bytes; fork copies smaller files into the checkout itself
TRAVELS = {
    "skypilot": "uploaded with the checkout, including uncommitted files; verified there before set-up",
    "slurm": "read in place, from the file system shared by the nodes; verified on the node before training",
    "kubernetes": (
        "in the image, as of `make image` (build and push it again after a change); verified in the pod "
        "before training"
    ),
    "ssh": (
        "sent by rsync with the checkout, including ignored and uncommitted files; verified there before "
        "training"
    ),
}


@dataclass(frozen=True)
class Needed:
    """A file that the machine needs; `rows` is False for the recipe's own YAML files."""

    path: Path
    rows: bool


@dataclass(frozen=True)
class Hashed:
    """A file as it was when the launch was written; `name` is relative to the checkout if it is inside."""

    name: str
    size: int
    sha256: str
    rows: bool

    def __str__(self) -> str:
        return f"{self.name}, {size(self.size)}, SHA-256 {self.sha256[:12]}"


def size(count: int) -> str:
    """Return a number of bytes formatted for people."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} bytes"


def needed(recipe: Recipe, on: On) -> list[Needed]:
    """Return every file that the recipe's real run reads, row files first.

    Raises:
        InputError: a file is missing, or would not be on the machine (`launch.rows_outside`).
    """
    dataset = load_dataset_config(recipe.dataset)
    yaml = dataset.folder.absolute() / "dataset.yaml"
    _, lines = read_yaml(yaml)
    problems: list[Problem] = []
    found: dict[Path, Needed] = {}
    for key, path in _named(dataset, on):
        where = line_of(lines, tuple(key.split(".")))
        inside = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
        if not inside:
            inside = [path / "*"]  # an empty folder has no rows
        why = next((text for one in inside if (text := _stays_here(one, on))), None)
        if why:
            text = f"{why}. {_mend(path, key, dataset, yaml)}"
            problems.append(Problem(text, show(yaml), where, key, "launch.rows_outside"))
        found |= {one: Needed(one, True) for one in inside}
    for path, place in _settings(recipe, yaml):
        if why := _stays_here(path, on):
            text = f"{why}. {place}"
            problems.append(Problem(text, show(path), code="launch.rows_outside"))
        found.setdefault(path, Needed(path, False))
    raise_all(problems)
    return list(found.values())


def hashed(files: list[Needed]) -> list[Hashed]:
    """Return name, size and SHA-256 of each file."""
    return [Hashed(show(one.path), one.path.stat().st_size, file_sha256(one.path), one.rows) for one in files]


def refuse_model_outside(base_model: str, on: On) -> None:
    """Raise InputError if the base model is a local folder that the machine would not have."""
    folder = Path(os.path.abspath(ROOT / base_model))
    if on == "slurm" or not folder.is_dir():
        return
    if why := _stays_here(folder / "config.json", on):
        raise InputError(
            f"base_model: {why}. Use a model on the Hub, or copy the folder into the checkout, outside "
            f"{', '.join(FOLDERS_LEFT_OUT)}.",
            code="launch.model_outside",
        )


def describe(recipe: Recipe, files: list[Hashed], on: On) -> list[str]:
    """Return the lines about the rows: each file, the total, and how they get to the machine."""
    rows = [one for one in files if one.rows]
    dataset = load_dataset_config(recipe.dataset)
    told = [str(one) for one in rows]
    if rows:
        noun = "file" if len(rows) == 1 else "files"
        told.append(f"{len(rows)} {noun}, {size(sum(one.size for one in rows))}: {TRAVELS[on]}")
    else:
        told.append(f"{dataset.source.hub} on the Hub: downloaded by the machine, nothing is sent")
    if (elsewhere := environment().sources) and on != "slurm":
        told.append(
            f"TUNEBOOK_SOURCES={elsewhere} is not used on the machine, which reads {show(dataset.folder)}"
        )
    return told


def _named(dataset: Dataset, on: On) -> Iterator[tuple[str, Path]]:
    """Yield the key and the path of each file or folder named in dataset.yaml. TUNEBOOK_SOURCES only applies
    to Slurm, which passes the environment on."""
    source = dataset.source
    for split in source.splits if source.hub else source.files:
        if on == "slurm":
            path = source_file(source, dataset.folder.absolute(), split)
        else:
            path = None if source.hub else dataset.folder.absolute() / source.files[split]
        if path is not None:
            yield f"source.{'splits' if source.hub else 'files'}.{split}", Path(os.path.abspath(path))


def _settings(recipe: Recipe, yaml: Path) -> Iterator[tuple[Path, str]]:
    """Yield the recipe's own files, and what to do if one would not be on the machine."""
    move = "Move its folder into {} of the checkout."
    folder = recipe.folder.absolute()
    for name in ("recipe.yaml", "eval.yaml"):
        if (folder / name).is_file():
            yield folder / name, move.format("recipes/")
    yield yaml, move.format("datasets/")
    tasks = recipe.eval.get("retention")
    for task in tasks.values() if isinstance(tasks, dict) else []:
        file = task.get("file") if isinstance(task, dict) else None
        if isinstance(file, str) and "$" not in file:
            path = Path(os.path.abspath(ROOT / file))
            yield path, f"Copy it into {show(folder)} and name it there in eval.yaml."


def _stays_here(path: Path, on: On) -> str | None:
    """Return why the machine would not have the file `path`, or None if it would."""
    if not path.is_file():
        return f"{show(path)} is missing"
    if re.search(r"[\\\x00-\x1f]", str(path)):
        return f"{str(path)!r} has a backslash or a control character in its name"
    if on == "slurm":
        return None
    about = ""
    if path.stat().st_size > LARGE:
        about = f" ({size(path.stat().st_size)}, SHA-256 {file_sha256(path)[:12]})"
    if not path.is_relative_to(ROOT):
        return f"{path}{about} lies outside the checkout, and the rented machine only gets the checkout"
    real, inside = path.resolve(), path.relative_to(ROOT)
    if real != ROOT.resolve() / inside:
        return f"{show(path)}{about} is a link to {real}, and the rented machine would only get the link"
    parts = inside.parts
    rendered = len(parts) > 3 and (parts[0], parts[2]) == ("datasets", "rows")
    if parts[0] in FOLDERS_LEFT_OUT or rendered or any(LEFT_OUT.fullmatch(part) for part in parts):
        return f"{show(path)}{about} is in a folder that is not copied to a rented machine"
    if on == "skypilot" and _ignored(inside):
        return f"git ignores {show(path)}{about}, and SkyPilot leaves out what git ignores"
    return None


def _ignored(path: Path) -> bool:
    """Return whether git ignores `path` of the checkout and does not track it: SkyPilot skips such files
    (sky/data/storage_utils.py, get_excluded_files), unless a .skyignore says otherwise."""
    if (ROOT / ".skyignore").is_file():
        return False  # SkyPilot interprets its patterns itself; sha256sum notices skipped files before set-up
    words = ["git", "check-ignore", "--quiet", "--", str(path)]
    try:
        return run_command(words, cwd=ROOT, capture_output=True).returncode == 0
    except FileNotFoundError:  # git is not installed
        return False


def _mend(path: Path, key: str, dataset: Dataset, yaml: Path) -> str:
    """Return the next step for the user."""
    home = f"datasets/{dataset.name}/source"
    if not path.exists():
        return f"Put it there, or correct {key}, or create the recipe again with `make fork`."
    return (
        f"Copy it: `mkdir -p {home} && cp -rL {shlex.quote(str(path))} {home}/`, and set {key} in "
        f"{show(yaml)} to source/{path.name}; or create the recipe again with `make fork`, which copies "
        "files of up to 1 GB."
    )
