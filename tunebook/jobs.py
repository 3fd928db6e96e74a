"""One evaluation job: rows cut into batches beforehand, results written batch by batch.

A killed evaluation goes on at the border of a batch, so that it ends with the same results as an
undisturbed one (batches decide rounding). Finished jobs of a base model are kept in the cache folder,
under everything that decides their result, and copied into the run on a hit.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tunebook.paths import cache_folder
from tunebook.resolve import digest

Kind = Literal["generate", "rank", "score"]
BATCH = {"generate": 24, "rank": 12, "score": 12}
Record = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What one contender is asked on one split. `contexts` and `answers` are token ids by row."""

    contender: str
    split: str
    kind: Kind
    ids: list[str]
    contexts: list[list[int]]
    answers: list[list[int]] = field(default_factory=list)
    choices: list[list[int]] = field(default_factory=list)
    max_new: int = 0

    @property
    def name(self) -> str:
        return f"{self.contender}.{self.split}.{self.kind}"

    def batches(self) -> list[list[int]]:
        """Return row numbers by batch, rows of like length together."""
        order = sorted(range(len(self.ids)), key=lambda i: (len(self.contexts[i]), i))
        size = BATCH[self.kind]
        return [order[start : start + size] for start in range(0, len(order), size)]


def run(
    job: Job,
    open_lm: Callable[[], Any],
    folder: Path,
    fingerprint: dict[str, Any],
    shared: bool,
    progress: Callable[[int, int], None],
) -> list[Record]:
    """Run what is left of `job` and return its records in row order.

    Args:
        open_lm: returns the TokenLM; called only when something is left to do.
        folder: where `<job>.jsonl` is kept: a header line, then one line a batch.
        fingerprint: what decides the result beside the job: weights, dtype, attention, versions.
        shared: keep the finished file in the cache folder, and take it from there.
        progress: called with (rows done, rows) after each batch.
    """
    from tunebook.lm import common_prefix

    key = digest({"job": {**asdict(job), "contender": ""}, "batch": BATCH[job.kind], **fingerprint})
    path = folder / f"{job.name}.jsonl"
    cached = cache_folder() / "base_results" / f"{key}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    batches = job.batches()
    done = _read_done(path, key)
    if shared and len(done) < len(batches) and cached.is_file():
        shutil.copyfile(cached, path)
        done = _read_done(path, key)
    counted = sum(len(batches[index]) for index in done)
    progress(counted, len(job.ids))
    if len(done) < len(batches):
        model = open_lm()
        prefix = common_prefix(job.contexts) if len(job.contexts) > 1 else []
        _rewrite(path, key, done)
        with path.open("a", encoding="utf-8") as file:
            for index, rows in enumerate(batches):
                if index in done:
                    continue
                done[index] = _ask(job, model, rows, prefix)
                file.write(json.dumps({"batch": index, "records": done[index]}) + "\n")
                file.flush()
                os.fsync(file.fileno())
                counted += len(rows)
                progress(counted, len(job.ids))
    if shared and not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(f".{os.getpid()}")
        shutil.copyfile(path, partial)
        os.replace(partial, cached)
    by_row = {row: record for index in done for row, record in zip(batches[index], done[index], strict=True)}
    return [by_row[row] for row in range(len(job.ids))]


def _ask(job: Job, lm: Any, rows: list[int], prefix: list[int]) -> list[Record]:
    contexts = [job.contexts[row] for row in rows]
    if job.kind == "generate":
        answers = lm.generate(contexts, prefix, job.max_new)
        return [{"tokens": answer.ids, "stopped": answer.stopped} for answer in answers]
    if job.kind == "rank":
        return [{"scores": scores} for scores in lm.rank(contexts, job.choices, prefix)]
    answers = [job.answers[row] for row in rows]
    return [{"logprob": value} for value in lm.score(contexts, answers, prefix)]


def _read_done(path: Path, key: str) -> dict[int, list[Record]]:
    """Return the whole batches in `path`; {} if it belongs to another plan."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    done: dict[int, list[Record]] = {}
    for number, line in enumerate(lines):
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            break  # the batch that was being written when the process was killed
        if number == 0:
            if value.get("plan") != key:
                return {}
        else:
            done[value["batch"]] = value["records"]
    return done


def _rewrite(path: Path, key: str, done: dict[int, list[Record]]) -> None:
    lines = [{"plan": key}, *({"batch": i, "records": records} for i, records in done.items())]
    partial = path.with_suffix(".partial")
    partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    os.replace(partial, path)
