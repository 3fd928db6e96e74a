"""An evaluation job: rows divided into batches in advance, results written batch by batch.

Batches affect rounding. A killed evaluation resumes at the next batch, and several processes share the
batches of the same plan, so that both give the same results as one uninterrupted process. Finished jobs of a
base model are kept in the cache folder, under the hash of everything that affects their result.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tunebook.core.files import digest, write_text
from tunebook.core.paths import cache_folder
from tunebook.core.ranks import Ranks
from tunebook.evaluation.engines import harness
from tunebook.evaluation.engines.protocol import Engine, common_prefix
from tunebook.evaluation.records import JobRecord

Kind = Literal["generate", "rank", "score", "classify", "harness"]
# Rows per batch, if they are short.
BATCH = {"generate": 24, "rank": 12, "score": 12, "classify": 24, "harness": 1}
# Batches of longer rows are smaller, because memory grows with the number of tokens (padding included;
# key-value cache and activations), with the number of tokens whose logits are kept, and, if attention is a
# matrix (eager, ranking), with the square of the length. Batches are the same on every machine, because they
# affect rounding. There is always at least one row.
TOKENS, SCORED_TOKENS, RANKED_TOKENS, SQUARES = 32_768, 12_288, 4_096, 2**26
ALONE = Ranks()


@dataclass(frozen=True)
class Job:
    """The prompts of one contender on one split. `contexts` and `answers` are token ids by row; `spans` says
    which parts of an answer are scored (default: all of it); `task` names a task of lm-evaluation-harness,
    which has its own items."""

    contender: str
    split: str
    kind: Kind
    ids: list[str]
    contexts: list[list[int]]
    answers: list[list[int]] = field(default_factory=list)
    choices: list[list[int]] = field(default_factory=list)
    spans: list[list[tuple[int, int]]] = field(default_factory=list)
    max_new: int = 0
    task: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.contender}.{self.split}.{self.kind}"

    def batches(self, times: int = 1) -> list[list[int]]:
        """Return the row indices of each batch, with rows of similar length together; batches are `times` as
        large."""
        batches: list[list[int]] = []
        answer = 0
        ranked = sum(map(len, self.choices))
        lengths = [len(context) for context in self.contexts] or [0] * len(self.ids)
        if self.spans:  # most of a conversation follows its first prompt
            lengths = [size + len(rest) for size, rest in zip(lengths, self.answers, strict=True)]
        for row in sorted(range(len(self.ids)), key=lambda i: (lengths[i], i)):
            own = len(self.answers[row]) if self.answers else 0
            longest = max(answer, own)
            prompt = lengths[row] - (longest if self.spans else 0)  # the longest so far
            most = batch_rows(self.kind, prompt, longest or self.max_new or ranked, times)
            if not batches or len(batches[-1]) >= most:
                batches.append([])
                answer = 0
            batches[-1].append(row)
            answer = max(answer, own)
        return batches


def batch_rows(kind: Kind, prompt: int, answer: int, times: int = 1) -> int:
    """Return the maximum number of rows in a batch of `kind`, at least 1.

    Args:
        prompt: tokens of the batch's longest prompt.
        answer: tokens of its longest answer: the scored tokens, the limit for generation, or all ranked
            labels together.
        times: batch size relative to transformers.
    """
    length = max(1, prompt + answer)
    most = min(BATCH[kind], TOKENS // length, SQUARES // length**2)
    if kind == "score":
        most = min(most, SCORED_TOKENS // max(1, answer))
    if kind == "rank":  # tokens whose logits are computed in fp32
        most = min(most, RANKED_TOKENS // max(1, answer))
    return max(1, most) * times


def run(
    job: Job,
    open_lm: Callable[[], Engine],
    folder: Path,
    fingerprint: dict[str, Any],
    shared: bool,
    progress: Callable[[int, int], None],
    here: Ranks = ALONE,
    times: int = 1,
) -> list[JobRecord]:
    """Run the remaining part of `job` and return its records in row order.

    Args:
        open_lm: returns the engine; only called if something is left to do.
        folder: the folder of `<job>.<rank>.jsonl`: a header line, then one line per batch.
        fingerprint: what affects the result in addition to the job: weights, dtype, attention, versions.
        shared: keep the finished job in the cache folder, and reuse it from there.
        progress: called with (rows done, rows) of this process's share after each batch.
        here: this process; batch i belongs to the rank i modulo the number of processes.
        times: batch size relative to transformers.
    """

    batches = job.batches(times)
    sizes = list(map(len, batches))
    key = digest({"job": {**asdict(job), "contender": ""}, "batches": sizes, **fingerprint})
    path = folder / f"{job.name}.{here.rank}.jsonl"
    cached = cache_folder() / "base_results" / f"{key}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)

    def saved() -> dict[int, list[JobRecord]]:
        # The files of all processes, including those of an earlier attempt with more processes.
        files = [cached] * shared + sorted(folder.glob(f"{job.name}.*.jsonl"))
        every = (item for file in files for item in _read_done(file, key).items())
        return {index: records for index, records in every if sizes[index : index + 1] == [len(records)]}

    done = saved()
    mine = range(here.rank, len(batches), here.world)
    total = sum(len(batches[index]) for index in mine)
    counted = sum(len(batches[index]) for index in mine if index in done)
    progress(counted, total)
    # The first process also takes over results from the cache or an earlier attempt.
    keep = done if here.first else {index: done[index] for index in mine if index in done}
    _rewrite(path, key, keep)
    if any(index not in done for index in mine):
        model = open_lm()
        prefix = common_prefix(job.contexts) if len(job.contexts) > 1 else []
        with path.open("a", encoding="utf-8") as file:
            for index in mine:
                if index in done:
                    continue
                done[index] = _answer(job, model, batches[index], prefix)
                file.write(json.dumps({"batch": index, "records": done[index]}) + "\n")
                file.flush()
                os.fsync(file.fileno())
                counted += len(batches[index])
                progress(counted, total)
    here.wait()
    done = saved()
    if shared and here.first and len(_read_done(cached, key)) < len(batches):
        if cached.is_file():
            print(f"{cached} was damaged; it is written again", file=sys.stderr)
        _rewrite(cached, key, done)
    by_row = {row: record for index in done for row, record in zip(batches[index], done[index], strict=True)}
    return [by_row[row] for row in range(len(job.ids))]


def _answer(job: Job, lm: Engine, rows: list[int], prefix: list[int]) -> list[JobRecord]:
    if job.kind == "harness":
        return [{"items": harness.evaluate_task(lm, **job.task)}]
    contexts = [job.contexts[row] for row in rows]
    if job.kind == "generate":
        generations = lm.generate(contexts, prefix, job.max_new)
        return [{"tokens": one.ids, "stopped": one.stopped} for one in generations]
    if job.kind == "rank":
        return [{"scores": scores} for scores in lm.rank_choices(contexts, job.choices, prefix)]
    if job.kind == "classify":
        return [{"scores": scores} for scores in lm.classify(contexts)]
    answers = [job.answers[row] for row in rows]
    if not job.spans:
        return [{"logprob": value} for value in lm.score(contexts, answers, prefix)]
    spans = [job.spans[row] for row in rows]
    return [{"logprobs": values} for values in lm.score_spans(contexts, answers, spans, prefix)]


def seconds_alone(job: Job, lm: Engine) -> list[float]:
    """Return the seconds that each row of `job` takes as the only request."""
    seconds = []
    for row in range(len(job.ids)):
        start = time.perf_counter()
        _answer(job, lm, [row], [])
        seconds.append(time.perf_counter() - start)
    return seconds


def _read_done(path: Path, key: str) -> dict[int, list[JobRecord]]:
    """Return the complete batches in `path`; {} if the file belongs to another plan."""
    if not path.is_file():
        return {}
    lines = path.read_bytes().split(b"\n")
    done: dict[int, list[JobRecord]] = {}
    for number, line in enumerate(lines):
        try:
            value = json.loads(line)
        except ValueError:
            break  # the batch that was being written when the process was killed
        if number == 0:
            if not isinstance(value, dict) or value.get("plan") != key:
                return {}
        elif not (isinstance(value, dict) and isinstance(value.get("records"), list)):
            break
        else:
            done[value["batch"]] = value["records"]
    return done


def _rewrite(path: Path, key: str, done: dict[int, list[JobRecord]]) -> None:
    lines = [{"plan": key}, *({"batch": i, "records": records} for i, records in done.items())]
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
