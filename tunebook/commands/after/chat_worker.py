"""The models of a run for `tunebook chat`, which starts this module; not to be run by hand.

python -m tunebook.commands.after.chat_worker RUN

Reads one request per line, {"model": "tuned" or "base", "messages": [...]}. Writes {"text": piece} for each
piece and {"stopped": bool} at the end, or {"error": text}. SIGUSR1 stops the answer.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tunebook.core.process import begin_worker
from tunebook.core.ranks import Ranks
from tunebook.data.prompt import PromptEncoder
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.engines.token_lm import TokenLM
from tunebook.evaluation.inputs import load_inputs
from tunebook.models.shapes import USUAL_POSITIONS, positions
from tunebook.runs.rows import Messages
from tunebook.runs.run import Run


class Answers:
    """Answers requests with the models of a run, each loaded when first needed."""

    def __init__(self, run: Run, out: Any) -> None:
        inputs = load_inputs(run)
        self.config, self.labels, self.most = (
            inputs.config,
            inputs.dataset.labels,
            inputs.suite.max_new_tokens,
        )
        self.folder, self.out = run / "model", out
        self.models: dict[str, Models] = {}
        self.interrupted = False
        signal.signal(signal.SIGUSR1, self._interrupt)

    def _interrupt(self, *_: Any) -> None:
        self.interrupted = True

    def write(self, **value: Any) -> None:
        self.out.write(json.dumps(value) + "\n")
        self.out.flush()

    def answer(self, model: str, messages: Messages) -> None:
        """Answer one request. Both models stay loaded once both have answered."""
        models = self.models.setdefault(model, Models(self.config, self.folder, Ranks()))
        encoder = PromptEncoder.of(models.tokenizer, self.config)
        context = encoder.context(encoder.as_said(messages))
        most = (positions(self.config) or USUAL_POSITIONS) - len(context)
        if most < 1:
            self.write(error=f"the conversation has {len(context)} tokens, more than the model's positions.")
            return
        self.interrupted = False
        engine = models.open(model, engine=False)
        if isinstance(engine, TokenLM):
            stopped, _ = engine.stream(
                context,
                min(most, max(self.most, 512)),
                lambda text: self.write(text=text),
                lambda: self.interrupted,
            )
            self.write(stopped=stopped)
            return
        scores = sorted(zip(engine.classify([context])[0], self.labels, strict=True), reverse=True)[:3]
        self.write(text=", ".join(f"{label} ({math.exp(score):.1%})" for score, label in scores))
        self.write(stopped=True)


def main(run: Run) -> None:
    # Output of libraries must not appear between the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answers = Answers(run, out)
    answers.write(ready=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answers.answer(request["model"], request["messages"])
        except Exception as error:
            answers.write(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    begin_worker()
    main(Run(Path(sys.argv[1])))
