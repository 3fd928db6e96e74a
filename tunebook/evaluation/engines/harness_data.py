"""Load tasks of lm-evaluation-harness, so that their data is on this machine before a training.

    python -m tunebook.evaluation.engines.harness_data PROBLEMS.json TASK...     # in a separate process

Writes what is missing as a list of problems (text, key and code); an empty list means that all is there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tunebook.core.errors import MachineError, Problem
from tunebook.core.files import write_json
from tunebook.core.process import begin_worker
from tunebook.evaluation.engines import harness
from tunebook.models.hub import cache_only, hub_error, patiently, unreachable

KEY = "retention"
SENTENCES = "tokenizers/punkt_tab"
SENTENCES_FROM = "https://github.com/nltk/nltk_data/raw/gh-pages/packages/tokenizers/punkt_tab.zip"


def load(task: str) -> Problem | None:
    """Load `task` with its data and return what keeps it from being measured, if anything."""
    instead = f"leave the task out in eval.yaml (retention: {{{task}: null}})"
    try:
        patiently(lambda: harness.load_tasks([task]), lambda text: print(text, file=sys.stderr))
    except MachineError as error:
        return error.problems[0]
    except Exception as error:  # the Hub client lets through many kinds of connection errors
        return hub_error(KEY, f"the data of {task}", unreachable() or error, instead).problems[0]
    if (nltk := sys.modules.get("nltk")) is None:
        return None
    try:
        nltk.data.find(SENTENCES)
    except LookupError:
        text = (
            f"{task} splits sentences with NLTK's punkt_tab, which is not on this machine and could not be "
            f"downloaded. Unpack {SENTENCES_FROM} into {_folder() / 'tokenizers'}, or {instead}."
        )
        return Problem(text, key=KEY, code="eval.no_sentence_data")
    return None


def _folder() -> Path:
    """Return the folder for NLTK's data, which it uses only if it exists."""
    folder = Path(os.environ["NLTK_DATA"].split(os.pathsep)[0])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main(answer: str, tasks: list[str]) -> None:
    begin_worker()
    _folder()
    cache_only()
    problems = [problem for task in tasks if (problem := load(task))]
    write_json(Path(answer), [{"text": one.text, "key": one.key, "code": one.code} for one in problems])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
