"""Write the merged model of a run; started by `merge_adapter.ensure`.

python -m tunebook.pipeline.merge_worker RUN TARGET
"""

from __future__ import annotations

import sys
from pathlib import Path

from tunebook.core.files import write_json
from tunebook.core.ranks import Ranks
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.engines.token_lm import TokenLM
from tunebook.pipeline.merge_adapter import MADE_OF, made_of
from tunebook.runs.run import Run


def merge(run: Run, target: Path) -> None:
    """Write the merged fine-tuned model of `run` and its tokenizer to `target`."""
    config = run.config()
    models = Models(config, run / "model", Ranks())
    model = models.open("tuned", engine=False)
    assert isinstance(model, TokenLM)
    model.net.save_pretrained(target)
    models.tokenizer.save_pretrained(target)
    write_json(target / MADE_OF, made_of(run))


if __name__ == "__main__":
    merge(Run(Path(sys.argv[1])), Path(sys.argv[2]))
