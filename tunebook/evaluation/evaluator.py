"""Load, prompt, score, write: the jobs of an evaluation, for one set of models.

Writes `eval/jobs/*.jsonl` (raw, resumable) and `eval/answers/<contender>.<split>.jsonl` in the run folder.
evaluate.py defines the order of the stages; tunebook/report/verdict.py turns answers into metrics.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunebook.core.ranks import Ranks
from tunebook.data.prompt import PromptEncoder
from tunebook.data.thinking import setting
from tunebook.data.thinking.answers import plain
from tunebook.data.thinking.form import USUAL, Said
from tunebook.evaluation import jobs
from tunebook.evaluation.answer_scores import learned, row_entry, scored, turn_losses
from tunebook.evaluation.contenders import ENDPOINT, TUNED, Contender, JobMaker, Prompting, that_fit
from tunebook.evaluation.endpoint.batch import endpoint_answers
from tunebook.evaluation.endpoint.client import Settings
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.engines.protocol import ModelSource
from tunebook.evaluation.inputs import Inputs, load_inputs
from tunebook.evaluation.jobs import ALONE, Job
from tunebook.evaluation.records import JobRecord
from tunebook.metrics import scoring
from tunebook.metrics.answers import Answer, Value, write_answers, write_values
from tunebook.models.shapes import positions
from tunebook.runs.rows import RenderedRow
from tunebook.runs.run import Run


def encoder_of(
    tokenizer: Any, template_kwargs: dict[str, Any] | None, thinking: setting.Thinking | None
) -> PromptEncoder:
    """Return the encoder of a model that takes part in an evaluation: it thinks if the setting shows
    reasoning and its template has any."""
    encoder = PromptEncoder(tokenizer, template_kwargs, thinking)
    if not encoder.shows_reasoning:
        return encoder
    switched = {**encoder.template_kwargs, setting.SWITCH: True}
    if encoder.thinking_on() is None:
        return PromptEncoder(tokenizer, template_kwargs, "off")
    return PromptEncoder(tokenizer, switched, thinking)


class Evaluator:
    """Generates and scores the answers of one `ModelSource` to the rows of a run."""

    def __init__(
        self,
        inputs: Inputs,
        models: ModelSource,
        events: Path | None = None,
        here: Ranks = ALONE,
        template_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """
        Args:
            events: file to which progress is appended, or None.
            here: this process among those that share the jobs.
            template_kwargs: arguments of the models' chat template.
        """
        self.inputs, self.models, self.events, self.here = inputs, models, events, here
        self.run, self.suite, self.dataset, self.rows = inputs.run, inputs.suite, inputs.dataset, inputs.rows
        encoder = encoder_of(models.tokenizer, template_kwargs, setting.of(inputs.config))
        held_out = self.rows["dev"] + self.rows["test"]
        most = positions(models.config)
        room = most - self.suite.max_new_tokens if most else None
        examples = that_fit(inputs.examples, held_out, encoder, room)
        self.maker = JobMaker(self.dataset, self.suite, encoder, examples)

    @classmethod
    def of_run(
        cls,
        run: Run,
        events: Path | None = None,
        here: Ranks = ALONE,
        models: Callable[[dict[str, Any]], ModelSource] | None = None,
    ) -> Evaluator:
        """Return the evaluator of a run. `models` creates its models from the config; default: the models
        saved by the run."""
        inputs = load_inputs(run)
        config = inputs.config
        source = models(config) if models else Models(config, run / "model", here)
        return cls(inputs, source, events, here, config.get("chat_template_kwargs"))

    def for_models(self, models: ModelSource, template_kwargs: dict[str, Any] | None) -> Evaluator:
        """Return an evaluator of other models on the same rows, with their own chat template."""
        return Evaluator(self.inputs, models, self.events, self.here, template_kwargs)

    def progress(self, job: str) -> Callable[[int, int], None]:
        """Return a function that reports the finished rows of `job` to the parent process."""

        def report(done: int, total: int) -> None:
            if self.events and self.here.first:
                event = {"stage": "evaluate", "job": job, "done": done, "total": total}
                with self.events.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**event, "time": time.time()}) + "\n")

        return report

    def records(self, job: Job, model: str) -> list[JobRecord]:
        """Run `job` with the model called `model`, reporting progress."""
        engine = job.kind != "harness"  # the harness's own tasks run on transformers
        return jobs.run(
            job,
            lambda: self.models.open(model, engine),
            self.run / "eval" / "jobs",
            self.models.fingerprint(model),
            shared=model == "base",
            progress=self.progress(job.name),
            here=self.here,
            times=self.models.times,
        )

    def write(self, name: str, records: list[Answer]) -> None:
        """Write answers/`name`.jsonl, in the first process only; all processes have the same records."""
        if self.here.first:
            write_answers(self.run / "eval" / "answers" / f"{name}.jsonl", records)

    def write_values(self, name: str, values: Sequence[Value]) -> None:
        """Write the scores of a forgetting or style task to answers/`name`.jsonl, as `write` does."""
        if self.here.first:
            write_values(self.run / "eval" / "answers" / f"{name}.jsonl", values)

    def answer_job(self, contender: Contender, split: str, rows: list[RenderedRow]) -> Job:
        """Return the job in which `contender` answers `rows`."""
        if self.models.head and contender.model != "base":
            return self.maker.classify(contender, split, rows)
        return self.maker.answer(contender, split, rows)

    def answers(self, contender: Contender, split: str, rows: list[RenderedRow]) -> list[Answer]:
        """Let `contender` answer `rows` and return one record per row."""
        job = self.answer_job(contender, split, rows)
        results = self.records(job, contender.model)
        if job.kind == "generate":
            return self.generated(rows, results)
        records: list[Answer] = []
        for row, result in zip(rows, results, strict=True):
            best = max(range(len(result["scores"])), key=result["scores"].__getitem__)
            label = self.dataset.labels[best]
            records.append({**row_entry(row), "answer": label, "label": label, "scores": result["scores"]})
        return records

    def text(self, tokens: list[int]) -> str:
        """Return generated tokens as text, without the reasoning before the answer."""
        return self.maker.encoder.said(tokens).answer

    def generated(self, rows: list[RenderedRow], results: list[JobRecord]) -> list[Answer]:
        """Return a scored record for each row from generated answers."""
        return [
            self.scored(row, self.maker.encoder.said(result["tokens"]), result["stopped"])
            for row, result in zip(rows, results, strict=True)
        ]

    def scored(self, row: RenderedRow, said: Said, stopped: bool) -> Answer:
        """Return the record of a generated answer with its scores."""
        return {**row_entry(row), **scored(row, said, stopped, self.dataset, self.maker.encoder)}

    def losses(self, contender: Contender, split: str, rows: list[RenderedRow]) -> list[Answer]:
        """Score the reference answer of each row, or all its trained turns together, in bits per byte, with
        the numbers of bits and bytes of each turn; for preference pairs, also return how much the chosen
        answer is preferred over the rejected one (nats)."""
        records: list[Answer] = []
        job = self.maker.score(contender, split, rows)
        chosen = self.records(job, contender.model)
        if job.spans:
            return turn_losses(rows, job, chosen, self.maker.encoder)
        for row, result in zip(rows, chosen, strict=True):
            text = learned(row, self.maker.encoder) if "rejected" not in row else row["gold"]["answer"]
            loss = scoring.bits_per_byte(result["logprob"], text)
            records.append({"id": row["id"], "group": row["group"], "loss": loss})
        if self.inputs.pairs:
            others: list[RenderedRow] = [
                {**row, "messages": [*row["messages"][:-1], *row["rejected"]]} for row in rows
            ]
            job = self.maker.score(contender, f"{split}-rejected", others)
            rejected = self.records(job, contender.model)
            for record, row, one, two in zip(records, rows, chosen, rejected, strict=True):
                texts = row["gold"]["answer"], row["rejected"][0]["content"]
                record.update(scoring.margins(one["logprob"], two["logprob"], *texts))
        return records

    def evaluate(
        self,
        contender: Contender,
        split: str,
        reference: dict[str, float] | None = None,
        rows: list[RenderedRow] | None = None,
    ) -> list[Answer]:
        """Let `contender` answer a split, write its answers file and return the records.

        Args:
            reference: for preference pairs, the reference margin of each row, from which rewards are measured
                (`margins` of the base model with its plain prompt); default: the contender's own margins, so
                that its rewards are 0.
            rows: rows to use instead of the whole split.
        """
        some = self.inputs.ask(split, self.suite.generate_rows if self.inputs.chat else None, rows)
        rows = self.rows[split] if rows is None else rows
        if self.inputs.chat:
            by_id = {record["id"]: record for record in self.losses(contender, split, rows)}
            if self.inputs.pairs:
                reference = reference or margins([*by_id.values()])
                for id, record in by_id.items():
                    record["reward"] = record["margin"] - reference[id]
            for record in self.answers(contender, split, some):
                by_id[record["id"]] |= record
            records = [by_id[row["id"]] for row in rows]
        else:
            records = self.answers(contender, split, some)
        self.write(f"{contender.name}.{split}", records)
        return records

    def endpoint_records(
        self, settings: Settings, prompting: Prompting, rows: list[RenderedRow], folder: Path
    ) -> list[Answer]:
        """Let an endpoint answer `rows` with `prompting` and return one record per row. A row without an
        answer keeps its error and is not measured."""
        prompts = [plain(self.maker.messages(row, prompting)[:-1]) for row in rows]
        limits = {"max_tokens": self.suite.max_new_tokens, "seed": self.inputs.seed}
        named = settings.model_copy(update=limits)
        results = endpoint_answers(rows, prompts, named, folder, self.progress(ENDPOINT))
        return [
            {**row_entry(row), "error": result["error"]}
            if "error" in result
            else self.scored(row, self._read(result["text"]), result["stopped"])
            for row, result in zip(rows, results, strict=True)
        ]

    def _read(self, text: str) -> Said:
        """Return the text of another model: its reasoning, if it wrote it, and its answer."""
        return USUAL.said(text) if self.maker.encoder.thinking else Said("", text, False)

    def ask_endpoint(self, settings: Settings, split: str) -> None:
        """Let an endpoint answer a split, and write its answers file."""
        rows = self.inputs.ask(split, self.suite.generate_rows if self.inputs.chat else None)
        prompting = Prompting(baseline_prompt=settings.prompt == "baseline")
        by_id = {row["id"]: Answer(id=row["id"], group=row["group"]) for row in self.rows[split]}
        for record in self.endpoint_records(settings, prompting, rows, self.run / "eval" / "endpoint"):
            by_id[record["id"]] |= record
        self.write(f"{ENDPOINT}.{split}", list(by_id.values()))

    def primary(self, contender: Contender, split: str, rows: list[RenderedRow]) -> float:
        """Return the mean of the primary metric over the `rows` for which it can be measured."""
        score = self.losses if self.inputs.chat else self.answers
        values = scoring.per_row(score(contender, split, rows), self.suite.primary)
        measured = [value for value in values if value is not None]
        return sum(measured) / len(measured)

    def agreement(self) -> float | None:
        """Return the share of equal tokens in the answers of the unmerged and the merged adapter."""
        if not self.models.merged or not self.suite.agreement_rows:
            return None
        rows = self.inputs.ask("dev", self.suite.agreement_rows)
        same = total = 0
        unmerged, merged = (
            self.records(self.maker.answer(contender, "agreement", rows), contender.model)
            for contender in (Contender("unmerged", "unmerged"), TUNED)
        )
        for one, other in zip(unmerged, merged, strict=True):
            a, b = [*one["tokens"], one["stopped"]], [*other["tokens"], other["stopped"]]
            same += sum(x == y for x, y in zip(a, b, strict=False))
            total += max(len(a), len(b))
        return same / total


def margins(records: list[Answer]) -> dict[str, float]:
    """Return how much a contender prefers the chosen answer of each row (nats), by row id; {} for data
    without pairs."""
    return {record["id"]: record["margin"] for record in records if "margin" in record}
