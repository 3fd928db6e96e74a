"""Train the run in RUN with Axolotl; with --evaluate, evaluate it in the same process afterwards.

Started by `tunebook recipe`, not by hand. One process for both pays the heavy import once. Training
runs in a fork, made before any torch operation: Axolotl keeps its plugins and process state in
singletons, and its memory goes back to the system when the fork ends.

    .venv/bin/python scripts/run_training.py RUN [--train] [--evaluate]
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from pathlib import Path


def train(run: Path) -> int:
    """Fork and train; return the exit code of the fork."""
    import axolotl.cli.train
    import axolotl.common.datasets
    import axolotl.core.builders
    import axolotl.train  # noqa: F401 (imported here so that evaluation finds it loaded)

    from tunebook.train import die_with_parent

    child = os.fork()
    if child == 0:
        code = 1
        try:
            die_with_parent()
            sys.argv = ["axolotl"]
            axolotl.cli.train.do_cli(str(run / "config.yaml"))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--evaluate", action="store_true")
    options = parser.parse_args(argv)

    from tunebook.run import Run, write_json
    from tunebook.train import finish_training, usage

    run = Run(options.run.resolve())
    if options.train:
        with run.stage("train"):
            code = train(run.folder)
            if code:
                return 1
            finish_training(run)
    if options.evaluate:
        from tunebook.evaluate import Evaluation

        with run.stage("evaluate"):
            events = os.environ.get("TUNEBOOK_EVENTS")
            Evaluation(run, Path(events) if events else None).everything()
        write_json(run / "eval" / "usage.json", usage())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
