"""Train the run in RUN with Axolotl; with --evaluate, evaluate it in the same process afterwards.

Started by `tunebook recipe`, not by hand; for several GPUs by torchrun, once per GPU. A single process for
training and evaluation pays for the slow import only once. Axolotl itself runs in a child process: it keeps
its plugins and process state in singletons, and its memory is released when the process ends. --longest and
--ask are the first and the last part of the smoke test (tunebook/pipeline/smoke.py).

    .venv/bin/python -m tunebook.pipeline.worker RUN [--longest] [--tokenise] [--train] [--evaluate] [--ask]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from tunebook.core.environment import environment
from tunebook.core.process import begin_worker, describe, die_with_parent, run_command
from tunebook.core.ranks import ranks
from tunebook.runs.run import Run
from tunebook.training.launch import finish_training, note_usage

# Each stage's function by name, imported when the stage runs: the evaluation imports torch, transformers and
# lm_eval, for which a training in a separate program would have to wait.
STAGES = {
    "longest": "tunebook.pipeline.smoke_worker:choose_rows",
    "evaluate": "tunebook.evaluation.evaluate:evaluate_run",
    "ask": "tunebook.pipeline.smoke_answers:answer_longest",
}


def stage(name: str) -> Callable[..., None]:
    """Return the function of a stage."""
    return pkgutil.resolve_name(STAGES[name])


def axolotl(command: str, run: Path) -> int:
    """Run Axolotl's `train` or `preprocess` on the run's config and return its exit code.

    Without a GPU, in a fork, so that the evaluation need not repeat the imports. With a GPU, as a new
    program, because Axolotl's imports touch the GPU, which a fork cannot use afterwards.
    """
    import torch

    module, config = f"axolotl.cli.{command}", str(run / "config.yaml")
    if torch.cuda.is_available():
        words = [sys.executable, "-m", module, config]
        code = run_command(words).returncode
    else:
        code = fork(module, config)
    if code < 0:
        # on a line of its own, even behind a progress bar: tunebook/core/process.py reads it there
        print(f"\nChildProcessError: process {ranks().rank} {describe(code)}", file=sys.stderr)
    return code


def fork(module: str, config: str) -> int:
    """Call `do_cli(config)` of an Axolotl module in a fork and return its exit code."""
    # With `dataset_num_proc: 0` Axolotl takes this number when it saves the prepared rows.
    os.environ["AXOLOTL_DATASET_NUM_PROC"] = "0"
    import axolotl.common.datasets
    import axolotl.core.builders
    import axolotl.train  # noqa: F401 (imported here so that evaluation finds it loaded)

    do_cli = importlib.import_module(module).do_cli
    gc.freeze()  # what is imported stays: Axolotl looks for garbage by hand, at each checkpoint and often
    child = os.fork()
    if child == 0:
        code = 1
        try:
            die_with_parent()
            sys.argv = ["axolotl"]
            do_cli(config)
            code = 0
        except SystemExit as end:  # training was stopped after saving
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train(run: Path) -> int:
    return axolotl("train", run)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    for flag in ("longest", "tokenise", "train", "evaluate", "ask"):
        parser.add_argument(f"--{flag}", action="store_true")
    options = parser.parse_args(argv)
    begin_worker()

    run, here = Run(options.run.resolve()), ranks()
    events = environment().events
    if options.longest:
        stage("longest")(run)
    if options.tokenise:
        with run.stage("tokenise"):
            if axolotl("preprocess", run.folder):
                raise SystemExit(1)  # a normal return would mark the stage as done
    if options.train:
        with run.stage("train") if here.first else contextlib.nullcontext():
            if code := train(run.folder):
                raise SystemExit(code)
            if here.first:
                finish_training(run)
                note_usage(run)
    if options.evaluate:
        with run.stage("evaluate") if here.first else contextlib.nullcontext(), here.together():
            stage("evaluate")(run, events, here)
        if here.first:
            note_usage(run)
    if options.ask:
        stage("ask")(run, events, here)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
