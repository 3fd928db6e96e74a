"""Let a model answer the dev rows in RUN, and write sample.json there. Started by `tunebook advise`, not by
hand.

.venv/bin/python -m tunebook.commands.advise.ask_worker RUN [--endpoint]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tunebook.commands.advise.prompt_sample import NoModel, base_sample, endpoint_sample
from tunebook.core.environment import environment
from tunebook.core.files import write_json
from tunebook.core.process import begin_worker
from tunebook.core.ranks import ranks
from tunebook.evaluation.endpoint.client import from_environment
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.evaluator import Evaluator
from tunebook.runs.run import Run

RESULT = "sample.json"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--endpoint", action="store_true", help="not the base model of config.yaml")
    options = parser.parse_args(argv)
    run, events = Run(options.run), environment().events
    if options.endpoint:
        settings = from_environment()
        assert settings  # checked by `tunebook advise`
        evaluator = Evaluator.of_run(run, events, models=lambda config: NoModel(config["base_model"]))
        found = endpoint_sample(evaluator, settings)
    else:
        here = ranks()
        evaluator = Evaluator.of_run(
            run, events, here, lambda config: Models(config, Path(config["base_model"]), here)
        )
        found = base_sample(evaluator)
    write_json(run / RESULT, found)
    return 0


if __name__ == "__main__":
    begin_worker()
    raise SystemExit(main())
