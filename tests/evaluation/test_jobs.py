"""Evaluation jobs on a counting stand-in for the model: order, going on after a kill, shared results."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunebook.core.ranks import Ranks
from tunebook.evaluation.engines.protocol import common_prefix
from tunebook.evaluation.jobs import BATCH, TOKENS, Job, Kind, batch_rows, run

Ids = list[int]
PREFIX = [7, 8, 9]


@dataclass
class Model:
    """Answers from the ids alone, and remembers what it was asked."""

    asked: list[list[Ids]] = field(default_factory=list)
    opened: int = 0

    def open(self) -> Model:
        self.opened += 1
        return self

    def _ask(self, contexts: list[Ids], prefix: Ids) -> None:
        assert all(context[: len(prefix)] == prefix != context for context in contexts)
        self.asked.append(contexts)

    def generate(self, contexts: list[Ids], prefix: Ids, max_new: int) -> list[Any]:
        self._ask(contexts, prefix)
        return [SimpleNamespace(ids=ids[-1:] * max_new, stopped=ids[-1] % 2 == 0) for ids in contexts]

    def rank_choices(self, contexts: list[Ids], choices: list[Ids], prefix: Ids) -> list[list[float]]:
        self._ask(contexts, prefix)
        return [[-(sum(ids) + sum(choice)) / 3 for choice in choices] for ids in contexts]

    def score(self, contexts: list[Ids], answers: list[Ids], prefix: Ids) -> list[float]:
        self._ask(contexts, prefix)
        return [-(sum(ids) + sum(answer)) / 3 for ids, answer in zip(contexts, answers, strict=True)]


def job(kind: Kind = "score", count: int = 30, name: str = "tuned", shift: int = 0) -> Job:
    """Make a job whose rows are not in order of length."""
    contexts = [PREFIX + [1] * (i * 7 % 5) + [100 + i + shift] for i in range(count)]
    answers = [[i, i] for i in range(count)] if kind == "score" else []
    choices = [[1], [2, 3]] if kind == "rank" else []
    ids = [f"r{i}" for i in range(count)]
    return Job(name, "test", kind, ids, contexts, answers, choices, max_new=2 if kind == "generate" else 0)


def go(
    what: Job, model: Model, folder: Path, *, shared: bool = False, **fingerprint: Any
) -> list[dict[str, Any]]:
    return run(what, model.open, folder, fingerprint, shared, lambda done, total: None)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("kind", ["generate", "rank", "score"])
def test_records_are_in_row_order(kind: Kind, tmp_path: Path) -> None:
    what, model = job(kind, 60), Model()
    records = go(what, model, tmp_path)
    last = [context[-1] for context in what.contexts]
    sums = [sum(context) for context in what.contexts]
    expected: list[dict[str, Any]] = {
        "generate": [{"tokens": [i, i], "stopped": i % 2 == 0} for i in last],
        "rank": [{"scores": [-(total + 1) / 3, -(total + 5) / 3]} for total in sums],
        "score": [{"logprob": -(total + 2 * i) / 3} for i, total in enumerate(sums)],
    }[kind]
    assert records == expected
    assert len(model.asked) == -(-60 // BATCH[kind])
    assert max(map(len, model.asked)) == BATCH[kind]
    assert go(what, Model(), tmp_path) == records, "read back"


@dataclass(frozen=True)
class Thread(Ranks):
    """A process of several that is a thread here."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(2), compare=False)

    def wait(self) -> None:
        self.barrier.wait(10)


def in_two(what: Job, models: list[Model], folder: Path, shared: bool = False) -> list[list[dict[str, Any]]]:
    barrier = threading.Barrier(2)

    def one(rank: int) -> list[dict[str, Any]]:
        here = Thread(rank, 2, rank, barrier)
        return run(what, models[rank].open, folder, {}, shared, lambda done, total: None, here)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(2)))


@pytest.mark.parametrize("kind", ["generate", "rank", "score"])
@pytest.mark.parametrize("shared", [False, True])
def test_two_processes_share_the_batches_and_agree_with_one(kind: Kind, shared: bool, tmp_path: Path) -> None:
    what, alone, models = job(kind, 60), Model(), [Model(), Model()]
    expected = go(what, alone, tmp_path / "one")
    assert in_two(what, models, tmp_path / "two", shared) == [expected] * 2
    assert models[0].asked == alone.asked[::2] and models[1].asked == alone.asked[1::2]
    again = Model()
    assert go(what, again, tmp_path / ("other" if shared else "two"), shared=shared) == expected
    assert not again.asked, "one process takes over what two have done"


def test_two_processes_go_on_from_one(tmp_path: Path) -> None:
    what, alone = job(count=120), Model()
    expected = go(what, alone, tmp_path)
    path = next(tmp_path.glob("*.jsonl"))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))  # three of ten batches
    models = [Model(), Model()]
    assert in_two(what, models, tmp_path) == [expected] * 2
    assert sorted(models[0].asked + models[1].asked) == sorted(alone.asked[3:])


def test_progress_counts_rows(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    run(job(), Model, tmp_path, {}, False, lambda done, total: seen.append((done, total)))
    assert seen == [(0, 30), (12, 30), (24, 30), (30, 30)]


def test_a_finished_job_opens_no_model(tmp_path: Path) -> None:
    model = Model()
    go(job(), model, tmp_path)
    go(job(), model, tmp_path)
    assert (model.opened, len(model.asked)) == (1, 3)


def test_goes_on_after_a_kill_at_any_byte(tmp_path: Path) -> None:
    whole = Model()
    expected = go(job(), whole, tmp_path)
    path = next(tmp_path.glob("*.jsonl"))
    raw = path.read_bytes()
    lines = raw.splitlines(keepends=True)
    assert len(lines) == 1 + 3
    ends = [sum(map(len, lines[: i + 1])) - 1 for i in range(4)]  # a line counts without its \n
    borders = {end + step for end in ends for step in range(-2, 4)}
    for size in sorted({0, len(raw), *range(1, len(raw), 13), *borders} & {*range(len(raw) + 1)}):
        path.write_bytes(raw[:size])
        model = Model()
        assert go(job(), model, tmp_path) == expected
        kept = max(0, sum(end <= size for end in ends) - 1)
        assert model.asked == whole.asked[kept:], f"cut after {size} bytes: the same batches as undisturbed"
        assert model.opened == (kept < 3)
        if kept < 3:
            assert path.read_bytes() == raw


@pytest.mark.parametrize("change", ["contexts", "kind of answers", "fingerprint"])
def test_another_plan_starts_anew(change: str, tmp_path: Path) -> None:
    go(job(), Model(), tmp_path, weights="a")
    other, weights = job(), "a"
    if change == "contexts":
        other = job(shift=1)
    elif change == "kind of answers":
        other = Job(other.contender, other.split, "score", other.ids, other.contexts, [[0]] * 30)
    else:
        weights = "b"
    model = Model()
    records = go(other, model, tmp_path, weights=weights)
    assert len(model.asked) == 3
    assert records == go(other, Model(), tmp_path / "fresh", weights=weights)


def test_shared_results_come_from_the_cache(tmp_path: Path, cache: Path) -> None:
    first, second = Model(), Model()
    expected = go(job(name="base_plain"), first, tmp_path / "one", shared=True, weights="a")
    assert len(first.asked) == 3
    # A contender's name does not decide a result, so another name finds it too.
    assert go(job(name="base_other"), second, tmp_path / "two", shared=True, weights="a") == expected
    assert (second.opened, second.asked) == (0, [])
    assert any(cache.rglob("*.jsonl"))
    third = Model()
    go(job(name="base_plain"), third, tmp_path / "three", shared=True, weights="b")
    assert len(third.asked) == 3


def test_own_results_are_not_shared(tmp_path: Path, cache: Path) -> None:
    go(job(), Model(), tmp_path / "one")
    assert not cache.exists()
    model = Model()
    go(job(), model, tmp_path / "two")
    assert len(model.asked) == 3


def test_shared_results_replace_those_of_another_plan(tmp_path: Path) -> None:
    expected = go(job(), Model(), tmp_path / "one", shared=True)
    go(job(shift=1), Model(), tmp_path / "two", shared=True)
    model = Model()
    assert go(job(), model, tmp_path / "two", shared=True) == expected
    assert model.asked == []


@pytest.mark.parametrize(
    ("sequences", "shared"),
    [
        ([[1, 2, 3, 4], [1, 2, 5, 6]], [1, 2]),
        ([[1, 2, 9], [1, 2, 3, 4], [1, 2]], [1]),
        ([[1, 2], [1, 2]], [1]),
        ([[1, 5, 0], [1, 7, 0], [2, 0, 0]], []),
        ([[1], [1, 2, 3]], []),
        ([[10, 2, 1], [10, 2, 1, 1], [10, 2, 0, 5]], [10, 2]),
    ],
)
def test_common_prefix(sequences: list[Ids], shared: Ids) -> None:
    assert common_prefix(sequences) == shared
    assert common_prefix(list(reversed(sequences))) == shared


@pytest.mark.parametrize(
    ("kind", "prompt", "answer", "rows"),
    [
        ("generate", 300, 64, 24),
        ("generate", 4000, 64, 4),
        ("generate", 11_000, 64, 1),
        ("rank", 2000, 300, 12),
        ("rank", 7000, 300, 1),
        ("rank", 300, 600, 6),  # 77 labels: their logits in fp32
        ("score", 100, 900, 12),
        ("score", 100, 6000, 1),  # logits over the whole vocabulary for each token of the answer
        ("classify", 3000, 0, 7),
    ],
)
def test_long_rows_come_in_smaller_batches(kind: Kind, prompt: int, answer: int, rows: int) -> None:
    assert batch_rows(kind, prompt, answer) == rows
    assert batch_rows(kind, prompt, answer, times=3) == 3 * rows


def test_batches_are_cut_by_the_tokens_of_their_longest_row(tmp_path: Path) -> None:
    lengths = [10] * 30 + [3000] * 9 + [30_000, 31_000]
    contexts = [[1] * (length - 1) + [2] for length in lengths]
    what = Job("tuned", "test", "generate", [f"r{i}" for i in range(len(lengths))], contexts, max_new=8)
    batches = what.batches()
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert [len(batch) for batch in batches][-2:] == [1, 1]
    for batch in batches:
        tokens = len(batch) * (max(lengths[row] for row in batch) + 8)
        assert len(batch) == 1 or tokens <= TOKENS
    assert len(go(what, Model(), tmp_path)) == len(lengths)


def test_a_long_answer_shrinks_its_batch_of_scores() -> None:
    answers = [[1] * 10] * 11 + [[1] * 6000] * 2
    contexts = [[1, 2, 3]] * 13
    what = Job("tuned", "test", "score", [f"r{i}" for i in range(13)], contexts, answers)
    for batch in what.batches():
        kept = len(batch) * max(len(answers[row]) for row in batch)
        assert kept <= 12_288 or len(batch) == 1
