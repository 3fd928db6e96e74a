"""The settings and rows of an evaluation, read from the run folder once."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property

from tunebook.core.files import AxolotlConfig
from tunebook.data.dataset import Dataset
from tunebook.data.formats.turns import to_generate
from tunebook.data.prompt import Messages
from tunebook.evaluation.contenders import choose_examples
from tunebook.evaluation.suite import Suite
from tunebook.runs.rows import RenderedRow, read_rows
from tunebook.runs.run import Run


@dataclass(frozen=True)
class Inputs:
    """The settings and rows of a run's evaluation. `config` is the Axolotl config, `examples` are the
    few-shot examples."""

    run: Run
    suite: Suite
    dataset: Dataset
    config: AxolotlConfig
    seed: int
    rows: dict[str, list[RenderedRow]]
    examples: list[Messages]

    @property
    def pairs(self) -> bool:
        """Whether rows are preference pairs."""
        return self.dataset.task == "preference"

    @property
    def chat(self) -> bool:
        """Whether answers are free text, scored by the loss of a reference answer."""
        return self.dataset.task == "chat" or self.pairs

    def sample(self, rows: list[RenderedRow], count: int | None) -> list[RenderedRow]:
        """Return `count` rows drawn with the run's seed, in the order of `rows`; None returns all rows."""
        if count is None or count >= len(rows):
            return rows
        chosen = set(random.Random(self.seed).sample([row["id"] for row in rows], count))
        return [row for row in rows if row["id"] in chosen]

    def ask(
        self, split: str, count: int | None = None, rows: list[RenderedRow] | None = None
    ) -> list[RenderedRow]:
        """Return `count` rows of `split` (None: all), drawn as in `sample`, or `rows` of it, each up to the
        turn to be answered: the last one, or with `evaluate_turns: all` one that is drawn by its content
        (tunebook/data/formats/turns.py)."""
        chosen = self.sample(self.rows[split] if rows is None else rows, count)
        if self.suite.evaluate_turns == "last":
            return chosen
        return [self._asked[split][row["id"]] for row in chosen]

    @cached_property
    def _asked(self) -> dict[str, dict[str, RenderedRow]]:
        # Which turns are repeated is judged over the whole split.
        return {split: {row["id"]: row for row in to_generate(self.rows[split])} for split in ("dev", "test")}


def load_inputs(run: Run) -> Inputs:
    """Read settings.json, config.yaml and data/ of `run`."""
    settings = run.settings()
    suite = Suite.model_validate(settings["suite"])
    dataset = Dataset.model_validate({**settings["dataset"], "folder": run / "data"})
    config = run.config()
    rows = {split: read_rows(run / "data" / f"{split}.jsonl") for split in ("train", "dev", "test")}
    examples = choose_examples(rows["train"], dataset, suite.shots, settings["seed"])
    return Inputs(run, suite, dataset, config, settings["seed"], rows, examples)
