"""The evaluation stage, run in a child process: every contender answers, nothing is judged here.

Reads `config.yaml`, `settings.json`, `data/` and `model/` of the run folder; writes
`eval/jobs/*.jsonl` (raw, resumable), `eval/answers/<contender>.<split>.jsonl` and
`eval/choice.json`. tunebook/compare.py turns those into metrics.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from tunebook import jobs, metrics
from tunebook.contenders import PLAIN, JobMaker, Way, base_ways, choose_shots, linear_svm, text_job
from tunebook.dataset import Dataset, Row, read_rows, write_rows
from tunebook.jobs import ALONE, Job, Record
from tunebook.models import Models
from tunebook.paths import ROOT
from tunebook.prompt import PromptEncoder
from tunebook.ranks import Ranks
from tunebook.rules import rules_met
from tunebook.run import Run, write_json
from tunebook.suite import Suite


class Evaluation:
    """All jobs of one run."""

    def __init__(self, run: Run, events: Path | None, here: Ranks = ALONE) -> None:
        self.run, self.events, self.here = run, events, here
        settings = json.loads((run / "settings.json").read_text())
        self.tier, self.seed = settings["tier"], settings["seed"]
        self.suite = Suite.model_validate(settings["suite"])
        self.dataset = Dataset.model_validate({**settings["dataset"], "folder": run / "data"})
        config = yaml.safe_load((run / "config.yaml").read_text())
        self.models = Models(config, run / "model", here)
        self.rows = {split: read_rows(run / "data" / f"{split}.jsonl") for split in ("train", "dev", "test")}
        shots = choose_shots(self.rows["train"], self.dataset, self.suite.shots, self.seed)
        encoder = PromptEncoder(self.models.tokenizer, config.get("chat_template_kwargs"))
        self.maker = JobMaker(self.dataset, self.suite, encoder, shots)
        self.chat = self.dataset.task == "chat"

    def ask(self, job: Job, model: str) -> list[Record]:
        """Run `job` on the model called `model`, reporting progress."""

        def progress(done: int, total: int) -> None:
            if self.events and self.here.first:
                event = {"stage": "evaluate", "job": job.name, "done": done, "total": total}
                with self.events.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**event, "time": time.time()}) + "\n")

        return jobs.run(
            job,
            lambda: self.models.open(model),
            self.run / "eval" / "jobs",
            self.models.fingerprint(model),
            shared=model == "base",
            progress=progress,
            here=self.here,
        )

    def write(self, name: str, records: list[Row]) -> None:
        """Write answers/`name`.jsonl, in the first process; all processes have the same records."""
        if self.here.first:
            write_rows(self.run / "eval" / "answers" / f"{name}.jsonl", records)

    def sample(self, rows: list[Row], count: int | None) -> list[Row]:
        """Return `count` rows drawn with the run's seed, in the order of `rows`."""
        if count is None or count >= len(rows):
            return rows
        chosen = set(random.Random(self.seed).sample([row["id"] for row in rows], count))
        return [row for row in rows if row["id"] in chosen]

    def answers(self, name: str, split: str, rows: list[Row], way: Way, model: str) -> list[Row]:
        """Let `model` answer `rows` and return one record a row."""
        job = self.maker.answer(name, split, rows, way)
        records = []
        for row, record in zip(rows, self.ask(job, model), strict=True):
            entry = {"id": row["id"], "group": row["group"], "gold": row["gold"]["answer"]}
            if way.ranked:
                best = max(range(len(record["scores"])), key=record["scores"].__getitem__)
                answer = self.dataset.labels[best]
                records.append({**entry, "answer": answer, "label": answer, "scores": record["scores"]})
            else:
                text = str(self.models.tokenizer.decode(record["tokens"], skip_special_tokens=True)).strip()
                records.append({**entry, "answer": text, "stopped": record["stopped"]})
                if self.dataset.labels:
                    records[-1]["label"] = metrics.read_label(text, self.dataset.labels)
                elif self.dataset.task == "qa":
                    records[-1] |= metrics.squad(row["gold"]["answers"], text, self.dataset.no_answer)
        return records

    def losses(self, name: str, split: str, rows: list[Row], way: Way, model: str) -> list[Row]:
        """Score the reference answer of each row, in bits per byte."""
        records = []
        for row, record in zip(rows, self.ask(self.maker.score(name, split, rows, way), model), strict=True):
            loss = metrics.bits_per_byte(record["logprob"], row["gold"]["answer"])
            records.append({"id": row["id"], "group": row["group"], "loss": loss})
        return records

    def contender(self, name: str, split: str, way: Way, model: str) -> None:
        """Run one contender on a split and write its answers file."""
        rows = self.rows[split]
        if self.chat:
            by_id = {record["id"]: record for record in self.losses(name, split, rows, way, model)}
            some = self.sample(rows, self.suite.generate_rows)
            for row, record in zip(some, self.answers(name, split, some, way, model), strict=True):
                met = rules_met(self.dataset.rules, record["answer"], row["gold"])
                by_id[row["id"]] |= record | {
                    "chrf": metrics.chrf(record["answer"], record["gold"]),
                    "rules": sum(met.values()) / len(met) if met else None,
                    "rules_met": met,
                    "length_ratio": len(record["answer"]) / len(record["gold"]),
                }
            records = [by_id[row["id"]] for row in rows]
        else:
            records = self.answers(name, split, rows, way, model)
        self.write(f"{name}.{split}", records)

    def choose_baseline(self) -> tuple[Way, dict[str, float]]:
        """Try every way of prompting the base on rows of dev; return the best and all their scores."""
        rows = self.sample(self.rows["dev"], self.suite.dev_rows)
        tried = {}
        ways = base_ways(self.dataset)
        for way in ways:
            ask = self.losses if self.chat else self.answers
            values = metrics.per_row(ask(way.name, "choice", rows, way, "base"), self.suite.primary)
            measured = [value for value in values if value is not None]
            tried[way.name] = sum(measured) / len(measured)
        pick: Callable[..., str] = max if metrics.HIGHER_IS_BETTER[self.suite.primary] else min
        best = pick(tried, key=tried.__getitem__)
        return next(way for way in ways if way.name == best), tried

    def agreement(self) -> float | None:
        """Return the share of equal tokens between the unmerged and the merged adapter's answers."""
        merged_once = self.models.config.get("adapter") and not self.models.quantised
        if not merged_once or not self.suite.agreement_rows:
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

    def retention(self, model: str) -> None:
        """Score the fixed general text; writes answers/<model>.retention.jsonl."""
        path = ROOT / "evals" / "retention" / f"{self.suite.retention}.jsonl"
        passages = read_rows(path)
        job = text_job(model, self.models.tokenizer, [row["text"] for row in passages])
        records = [
            {
                "id": row["id"],
                "group": row["id"],
                "loss": metrics.bits_per_byte(record["logprob"], row["text"]),
            }
            for row, record in zip(passages, self.ask(job, model), strict=True)
        ]
        self.write(f"{model}.retention", records)

    def everything(self) -> None:
        """Run all contenders. `EVAL=quick` stays on dev and skips retention."""
        split = "dev" if self.suite.mode == "quick" else "test"
        best, tried = self.choose_baseline()
        names = []
        for way in dict.fromkeys([PLAIN, best]):
            self.contender(way.name, split, way, "base")
            names.append(way.name)
        if split == "test" and self.suite.retention:
            self.retention("base")
        agreement = self.agreement()
        self.contender("tuned", split, PLAIN, "tuned")
        if split == "test" and self.suite.retention:
            self.retention("tuned")
        names.append("tuned")
        if self.dataset.labels:
            labels = linear_svm(self.rows["train"], self.rows[split])
            records = [
                {"id": r["id"], "group": r["group"], "gold": r["gold"]["answer"], "answer": x, "label": x}
                for r, x in zip(self.rows[split], labels, strict=True)
            ]
            self.write(f"svm.{split}", records)
            names.append("svm")
        choice = {
            "split": split,
            "baseline": best.name,
            "contenders": names,
            "tried_on_dev": tried,
            "dev_rows": min(self.suite.dev_rows, len(self.rows["dev"])),
            "shots": self.maker.shots,
            "baseline_prompt": self.dataset.baseline_prompt if best.prompted else None,
            "token_agreement_unmerged_merged": agreement,
        }
        if self.here.first:
            write_json(self.run / "eval" / "choice.json", choice)
