"""The evaluation stage, run in a child process: every contender answers, nothing is judged here.

Reads `config.yaml`, `settings.json`, `data/` and `model/` of the run folder; writes
`eval/jobs/*.jsonl` (raw, resumable), `eval/answers/<contender>.<split>.jsonl` and
`eval/choice.json`. tunebook/report/verdict.py turns those into metrics.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tunebook.core.files import Row, read_jsonl, write_jsonl
from tunebook.core.ranks import Ranks
from tunebook.data.dataset import Dataset
from tunebook.data.prompt import PromptEncoder
from tunebook.data.style_rules import rules_met
from tunebook.data.tool_calls import calls_met
from tunebook.evaluation import jobs
from tunebook.evaluation.contenders import ENDPOINT, PLAIN, PROMPTED, JobMaker, Way, base_ways, choose_shots
from tunebook.evaluation.endpoint.batch import endpoint_answers
from tunebook.evaluation.endpoint.client import Settings
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.jobs import ALONE, Job, Record
from tunebook.evaluation.suite import Suite
from tunebook.metrics import scoring
from tunebook.runs.run import Run


def _entry(row: Row) -> Row:
    return {"id": row["id"], "group": row["group"], "gold": row["gold"]["answer"]}


class Evaluator:
    """All jobs of one run. `models` makes them of the config; default: those that the run has saved."""

    def __init__(
        self,
        run: Run,
        events: Path | None,
        here: Ranks = ALONE,
        models: Callable[[dict[str, Any]], Models] | None = None,
    ) -> None:
        self.run, self.events, self.here = run, events, here
        settings = json.loads((run / "settings.json").read_text())
        self.tier, self.seed = settings["tier"], settings["seed"]
        self.suite = Suite.model_validate(settings["suite"])
        self.dataset = Dataset.model_validate({**settings["dataset"], "folder": run / "data"})
        config = yaml.safe_load((run / "config.yaml").read_text())
        self.models = models(config) if models else Models(config, run / "model", here)
        self.rows = {split: read_jsonl(run / "data" / f"{split}.jsonl") for split in ("train", "dev", "test")}
        shots = choose_shots(self.rows["train"], self.dataset, self.suite.shots, self.seed)
        encoder = PromptEncoder(self.models.tokenizer, config.get("chat_template_kwargs"))
        self.maker = JobMaker(self.dataset, self.suite, encoder, shots)
        self.pairs = self.dataset.task == "preference"
        self.chat = self.dataset.task == "chat" or self.pairs
        self.asked = "base"  # what the untuned model is called
        self.before: dict[str, float] = {}  # how much the base, asked plainly, prefers the chosen answers

    def progress(self, job: str) -> Callable[[int, int], None]:
        """Return what reports the rows done of `job` to the parent process."""

        def report(done: int, total: int) -> None:
            if self.events and self.here.first:
                event = {"stage": "evaluate", "job": job, "done": done, "total": total}
                with self.events.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**event, "time": time.time()}) + "\n")

        return report

    def ask(self, job: Job, model: str) -> list[Record]:
        """Run `job` on the model called `model`, reporting progress."""
        engine = job.kind != "harness"  # whose own tasks are asked through transformers
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

    def write(self, name: str, records: list[Row]) -> None:
        """Write answers/`name`.jsonl, in the first process; all processes have the same records."""
        if self.here.first:
            write_jsonl(self.run / "eval" / "answers" / f"{name}.jsonl", records)

    def sample(self, rows: list[Row], count: int | None) -> list[Row]:
        """Return `count` rows drawn with the run's seed, in the order of `rows`."""
        if count is None or count >= len(rows):
            return rows
        chosen = set(random.Random(self.seed).sample([row["id"] for row in rows], count))
        return [row for row in rows if row["id"] in chosen]

    def question(self, name: str, split: str, rows: list[Row], way: Way, model: str) -> Job:
        """Return the job that lets `model` answer `rows`."""
        if self.models.head and model != "base":
            return self.maker.classify(name, split, rows)
        return self.maker.answer(name, split, rows, way)

    def answers(self, name: str, split: str, rows: list[Row], way: Way, model: str) -> list[Row]:
        """Let `model` answer `rows` and return one record a row."""
        job = self.question(name, split, rows, way, model)
        found = self.ask(job, model)
        if job.kind == "generate":
            return self.generated(rows, found)
        records = []
        for row, record in zip(rows, found, strict=True):
            best = max(range(len(record["scores"])), key=record["scores"].__getitem__)
            label = self.dataset.labels[best]
            records.append({**_entry(row), "answer": label, "label": label, "scores": record["scores"]})
        return records

    def text(self, tokens: list[int]) -> str:
        """Return generated tokens as text."""
        return str(self.models.tokenizer.decode(tokens, skip_special_tokens=True)).strip()

    def generated(self, rows: list[Row], found: list[Record]) -> list[Row]:
        """Return one record a row from generated answers, with what is measured of each."""
        records = []
        for row, record in zip(rows, found, strict=True):
            scored = self.scored(row, self.text(record["tokens"]), record["stopped"])
            records.append({**_entry(row), **scored})
        return records

    def scored(self, row: Row, text: str, stopped: bool) -> Row:
        """Return what is measured of a generated answer."""
        found = {"answer": text, "stopped": stopped}
        if self.dataset.labels:
            return {**found, "label": scoring.read_label(text, self.dataset.labels)}
        if self.dataset.task == "qa":
            return found | scoring.squad(row["gold"]["answers"], text, self.dataset.no_answer)
        met = rules_met(self.dataset.rules, text, row["gold"])
        return found | {
            "chrf": scoring.chrf(text, row["gold"]["answer"]),
            "rules": sum(met.values()) / len(met) if met else None,
            "rules_met": met,
            "length_ratio": len(text) / len(row["gold"]["answer"]),
            "calls": calls_met(row["messages"][-1], text) if row.get("tools") else None,
        }

    def losses(self, name: str, split: str, rows: list[Row], way: Way, model: str) -> list[Row]:
        """Score the reference answer of each row, in bits per byte, and how much it is preferred to the
        rejected one."""
        records = []
        found = self.ask(self.maker.score(name, split, rows, way), model)
        for row, record in zip(rows, found, strict=True):
            loss = scoring.bits_per_byte(record["logprob"], row["gold"]["answer"])
            records.append({"id": row["id"], "group": row["group"], "loss": loss})
        if self.pairs:
            others = [{**row, "messages": [*row["messages"][:-1], *row["rejected"]]} for row in rows]
            rejected = self.ask(self.maker.score(name, f"{split}-rejected", others, way), model)
            for record, row, one, two in zip(records, rows, found, rejected, strict=True):
                texts = row["gold"]["answer"], row["rejected"][0]["content"]
                record |= scoring.margins(one["logprob"], two["logprob"], *texts)
        return records

    def contender(self, name: str, split: str, way: Way, model: str) -> None:
        """Run one contender on a split and write its answers file."""
        rows = self.rows[split]
        if self.chat:
            by_id = {record["id"]: record for record in self.losses(name, split, rows, way, model)}
            if self.pairs:
                self.before = self.before or {id: record["margin"] for id, record in by_id.items()}
                for id, record in by_id.items():
                    record["reward"] = record["margin"] - self.before[id]
            some = self.sample(rows, self.suite.generate_rows)
            for record in self.answers(name, split, some, way, model):
                by_id[record["id"]] |= record
            records = [by_id[row["id"]] for row in rows]
        else:
            records = self.answers(name, split, rows, way, model)
        self.write(f"{name}.{split}", records)

    def ask_endpoint(self, settings: Settings, split: str) -> None:
        """Let an endpoint answer what the base's prompted way asks, and write its answers file. A row
        without an answer keeps its error and is not measured."""
        rows = self.sample(self.rows[split], self.suite.generate_rows if self.chat else None)
        asked = [self.maker.messages(row, PROMPTED)[:-1] for row in rows]
        settings = settings.model_copy(update={"max_tokens": self.suite.max_new_tokens, "seed": self.seed})
        found = endpoint_answers(
            rows, asked, settings, self.run / "eval" / "endpoint", self.progress(ENDPOINT)
        )
        by_id = {row["id"]: {"id": row["id"], "group": row["group"]} for row in self.rows[split]}
        for row, record in zip(rows, found, strict=True):
            entry = by_id[row["id"]]
            entry["gold"] = row["gold"]["answer"]
            if "error" in record:
                entry["error"] = record["error"]
            else:
                entry |= self.scored(row, record["text"], record["stopped"])
        self.write(f"{ENDPOINT}.{split}", list(by_id.values()))

    def primary(self, name: str, split: str, rows: list[Row], way: Way, model: str) -> float:
        """Return the mean of the primary metric over the `rows` where it can be measured."""
        ask = self.losses if self.chat else self.answers
        values = scoring.per_row(ask(name, split, rows, way, model), self.suite.primary)
        measured = [value for value in values if value is not None]
        return sum(measured) / len(measured)

    def choose_baseline(self) -> tuple[Way, dict[str, float]]:
        """Try every way of prompting the untuned model on rows of dev; return the best and all scores."""
        rows = self.sample(self.rows["dev"], self.suite.dev_rows)
        tried = {}
        ways = base_ways(self.dataset)
        for way in ways:
            name = way.of(self.asked)
            tried[name] = self.primary(name, "choice", rows, way, "base")
        pick: Callable[..., str] = max if scoring.HIGHER_IS_BETTER[self.suite.primary] else min
        best = pick(tried, key=tried.__getitem__)
        return next(way for way in ways if way.of(self.asked) == best), tried

    def agreement(self) -> float | None:
        """Return the share of equal tokens between the unmerged and the merged adapter's answers."""
        if not self.models.merged or not self.suite.agreement_rows:
            return None
        rows = self.sample(self.rows["dev"], self.suite.agreement_rows)
        same = total = 0
        unmerged = self.ask(self.maker.answer("unmerged", "agreement", rows, PLAIN), "unmerged")
        merged = self.ask(self.maker.answer("tuned", "agreement", rows, PLAIN), "tuned")
        for one, other in zip(unmerged, merged, strict=True):
            a, b = [*one["tokens"], one["stopped"]], [*other["tokens"], other["stopped"]]
            same += sum(x == y for x, y in zip(a, b, strict=False))
            total += max(len(a), len(b))
        return same / total
