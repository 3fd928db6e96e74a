"""The smoke test in the child process, after training: load the saved model and let it answer."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tunebook.core.files import read_json
from tunebook.core.ranks import Ranks
from tunebook.evaluation.contenders import TUNED
from tunebook.evaluation.evaluator import Evaluator
from tunebook.runs.run import Run


def answer_longest(nested: Run, events: Path | None, here: Ranks) -> None:
    """Load the saved model as the evaluation will, and let it answer the longest rows of dev."""

    def stage(name: str) -> contextlib.AbstractContextManager[None]:
        return nested.stage(name) if here.first else contextlib.nullcontext()

    with here.together():
        with stage("reload"):
            evaluator = Evaluator.of_run(nested, events, here)
            evaluator.models.open("tuned")
            here.wait()
        with stage("evaluate"):
            count = read_json(nested / "longest.json")["asked"]
            evaluator.evaluate(TUNED, "dev", rows=evaluator.rows["dev"][:count])
