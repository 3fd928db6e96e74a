"""Train the run in RUN with Axolotl; with --evaluate, evaluate it in the same process afterwards.

Started by `tunebook recipe`, not by hand; for several GPUs by torchrun, once a GPU. One process for
training and evaluation pays the heavy import once. Axolotl runs in a fork, made before any torch
operation: it keeps its plugins and process state in singletons, and its memory goes back to the system
when the fork ends.

    .venv/bin/python scripts/run_training.py RUN [--tokenise] [--train] [--evaluate]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunebook.child import describe, die_with_parent
from tunebook.ranks import ranks


def fork(command: Callable[[str], Any], run: Path) -> int:
    """Fork and call an Axolotl command on the run's config; return the exit code of the fork."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            die_with_parent()
            sys.argv = ["axolotl"]
            command(str(run / "config.yaml"))
            code = 0
        except SystemExit as end:  # a training that was asked to stop, and has saved
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        print(f"ChildProcessError: process {ranks().rank} {describe(code)}", file=sys.stderr)
    return code


def tokenise(run: Path) -> int:
    import axolotl.cli.preprocess

    return fork(axolotl.cli.preprocess.do_cli, run)


def train(run: Path) -> int:
    import axolotl.cli.train
    import axolotl.common.datasets
    import axolotl.core.builders
    import axolotl.train  # noqa: F401 (imported here so that evaluation finds it loaded)

    return fork(axolotl.cli.train.do_cli, run)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--tokenise", action="store_true")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--evaluate", action="store_true")
    options = parser.parse_args(argv)
    die_with_parent()

    from tunebook.run import Run, write_json
    from tunebook.train import finish_training, usage

    run, here = Run(options.run.resolve()), ranks()
    if options.tokenise:
        with run.stage("tokenise"):
            if tokenise(run.folder):
                raise SystemExit(1)  # a plain return would mark the stage done
    if options.train:
        with run.stage("train") if here.first else contextlib.nullcontext():
            if code := train(run.folder):
                raise SystemExit(code)
            if here.first:
                finish_training(run)
    if options.evaluate:
        from tunebook.evaluate import Evaluation

        events = os.environ.get("TUNEBOOK_EVENTS")
        with run.stage("evaluate") if here.first else contextlib.nullcontext(), here.together():
            Evaluation(run, Path(events) if events else None, here).everything()
        if here.first:
            write_json(run / "eval" / "usage.json", usage())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
