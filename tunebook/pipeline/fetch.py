"""Bring what a run reads from the Hub onto this machine before anything is trained: the weights of its base
model, and the data of lm-evaluation-harness's tasks.

What the Hub refuses or breaks off is then known before the expensive part, with exit code 4, and a run that
has been set up needs no network (`HF_HUB_OFFLINE=1`).
"""

from __future__ import annotations

import json
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

from tunebook.core.console import Console
from tunebook.core.errors import MachineError, Problem
from tunebook.core.files import AxolotlConfig, read_json
from tunebook.core.paths import child_environment
from tunebook.core.process import ChildError, last_error, running
from tunebook.evaluation.suite import Suite
from tunebook.models.hub import cached, hub_error, patiently, place, unreachable
from tunebook.models.methods import METHODS, uses_head
from tunebook.runs.run import Run

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLE = ("model.safetensors", "pytorch_model.bin")
WEIGHTS = ("model*.safetensors*", "pytorch_model*.bin*")  # the first kind that a model has is loaded
SMALL = ("*.json", "*.jinja", "*.txt", "*.model")
# With these, Axolotl would look for the commit of the base model elsewhere, or refuses it.
OWN_REVISION = ("tokenizer_config", "base_model_config", "gptq")
CHILD = "tunebook.evaluation.engines.harness_data"


def fetch(config: AxolotlConfig, suite: Suite, run: Run, evaluation: str, console: Console) -> AxolotlConfig:
    """Bring the base model of `config` and the data of the suite's tasks onto this machine, unless `run` has
    been evaluated with the settings whose hash is `evaluation`, and return the config with the commit of the
    base model: the Hub's `main` may move while a run is stopped.

    Raises:
        MachineError: the Hub refuses, cannot be reached or breaks off, and the cache has not all of it.
    """
    base, revision = str(config["base_model"]), config.get("revision_of_model")
    pins = revision is None and not any(config.get(key) for key in OWN_REVISION)
    if pins and (run / "config.yaml").is_file():
        revision = run.config().get("revision_of_model")
    if not run.done("evaluate") or run.state().get("evaluation") != evaluation:
        commit = base_model(base, revision, console)
        revision = commit if pins else revision
        method = METHODS.get(str(config.get("adapter")))
        if not uses_head(config) and not (method and method.virtual):  # these do not run the harness's tasks
            harness_tasks([task.harness for task in suite.retention.values() if task.harness], console)
    return config | {"revision_of_model": revision} if revision else config


def base_model(base: str, revision: str | None, console: Console) -> str | None:
    """Bring weights, tokenizer and config of `base` into the Hub's cache and return their commit; None for a
    folder.

    Raises:
        MachineError: as `fetch`.
    """
    if Path(base).is_dir():
        return None
    config = cached(base, "config.json", revision)
    if config and config.parent.name == revision and not lacking(config.parent):
        return revision  # a commit does not change
    problem = unreachable()
    if problem is None:
        try:
            return patiently(lambda: _download(base, revision, console), console.note).name
        except Exception as error:  # the Hub client lets through many kinds of connection errors
            problem = error
    config = cached(base, "config.json", revision)
    missing = "config.json" if config is None else lacking(config.parent)
    if config is None or missing:
        what = repr(base) if config is None else f"{missing} of {base!r}"
        raise hub_error("base_model", what, problem) from None
    return config.parent.name


def _download(base: str, revision: str | None, console: Console) -> Path:
    from huggingface_hub import model_info, snapshot_download

    info = model_info(base, revision=revision, timeout=15)
    names = wanted([file.rfilename for file in info.siblings or []])
    if not all(cached(base, name, info.sha) for name in names):
        console.stage("set-up", f"downloading {base} from {place()}")
    folder = Path(snapshot_download(base, revision=revision, allow_patterns=names))
    for name in names:  # where the Hub fails between the two calls, it returns what is there
        if not (folder / name).is_file():
            raise ConnectionError(f"{name} has not arrived")
    return folder


def wanted(files: list[str]) -> list[str]:
    """Return those of a repository's files that loading the model reads: not its copies in other formats."""
    top = [name for name in files if "/" not in name]
    kinds = ([name for name in top if fnmatch(name, kind)] for kind in WEIGHTS)
    weights = next((names for names in kinds if names), [])
    small = [
        name
        for name in top
        if any(fnmatch(name, kind) for kind in SMALL) and not name.endswith(".index.json")
    ]
    return [*weights, *small]


def lacking(folder: Path) -> str | None:
    """Return a file of weights that the model in `folder` lacks, or None if all are there."""
    for index in INDEXES:
        if (folder / index).is_file():
            shards = json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values()
            return next((name for name in sorted(set(shards)) if not (folder / name).is_file()), None)
    return None if any((folder / name).is_file() for name in SINGLE) else SINGLE[0]


def harness_tasks(tasks: list[str], console: Console) -> None:
    """Load tasks of lm-evaluation-harness once, in a child process, so that their data is on this machine.

    Raises:
        MachineError: as `fetch`; or the child crashed.
    """
    if not tasks:
        return
    console.stage("set-up", f"loading the tasks of lm-evaluation-harness: {', '.join(tasks)}")
    with tempfile.TemporaryDirectory(prefix="tunebook-") as scratch:
        log, answer = Path(scratch) / "log.txt", Path(scratch) / "problems.json"
        with running([sys.executable, "-m", CHILD, str(answer), *tasks], child_environment(), log) as (
            child,
            _,
        ):
            child.wait()
        problems = [Problem(**one) for one in read_json(answer, [])]
        if problems:
            raise MachineError("\n".join(map(str, problems)), problems=problems)
        if child.returncode:
            text = f"lm-evaluation-harness could not load its tasks: {last_error(log, 0) or ChildError()}"
            raise MachineError(Problem(text, key="retention", code="eval.no_harness"))
