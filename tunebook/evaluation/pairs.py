"""Two answers to the same row, the fine-tuned model's and the baseline's, and how often each was preferred.

People (tunebook/commands/review.py) and a judge (endpoint/judge.py) compare the same pairs; outcomes are
`tuned`, `baseline` or `tie`. A pair is identified by its row and both texts, so that a vote never counts for
answers generated later.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from tunebook.core import files
from tunebook.core.errors import InputError, Problem
from tunebook.core.files import digest
from tunebook.core.paths import show
from tunebook.data.formats.turns import ordinal
from tunebook.data.prompt import Messages
from tunebook.data.tool_calls import written
from tunebook.metrics.answers import read_answer_file
from tunebook.metrics.intervals import SHARE, group_sums, mean, mean_interval, permutation_p
from tunebook.runs.rows import read_rows
from tunebook.runs.run import Run

SCORE = {"tuned": 1.0, "tie": 0.5, "baseline": 0.0}


@dataclass(frozen=True)
class Pair:
    """A row with two different answers. `tuned_first` says whether the fine-tuned model's answer is shown
    first, or on the left; `place` says which answer of its conversation the row is ("" for the only one)."""

    key: str
    id: str
    group: str
    asked: Messages
    reference: str
    tuned: str
    baseline: str
    tuned_first: bool
    place: str = ""

    @property
    def texts(self) -> tuple[str, str]:
        """Both answers in the order in which they are shown."""
        return (self.tuned, self.baseline) if self.tuned_first else (self.baseline, self.tuned)

    def outcome(self, choice: str) -> str:
        """Return the outcome of `choice` (`first`, `second` or `tie`): `tuned`, `baseline` or `tie`."""
        if choice == "tie":
            return "tie"
        return "tuned" if (choice == "first") == self.tuned_first else "baseline"


def pairs(run: Run) -> tuple[list[Pair], int]:
    """Return the pairs of an evaluated run, in an order drawn with its seed, and the number of rows omitted
    because both answers are the same.

    Raises:
        InputError: a file is damaged, or has other rows than the others.
    """
    choice, seed = run.choice(), run.settings()["seed"]
    split = choice["split"]
    folder = run / "eval" / "answers"
    rows = {row["id"]: row for row in read_rows(run / "data" / f"{split}.jsonl")}
    of_base = read_answer_file(folder / f"{choice['baseline']}.{split}.jsonl")
    baseline = {record["id"]: record for record in of_base}
    found, same = [], 0
    for record in read_answer_file(folder / f"tuned.{split}.jsonl"):
        if record["id"] not in baseline or record["id"] not in rows:
            text = f"has answers to other rows (got {record['id']!r}). Evaluate the run again: make evaluate."
            raise InputError(Problem(text, show(folder), code="run.other_rows"))
        other = baseline[record["id"]]
        if "answer" not in record or "answer" not in other:
            continue
        texts = record["answer"].strip(), other["answer"].strip()
        if texts[0] == texts[1]:
            same += 1
            continue
        key = digest({"id": record["id"], "texts": texts})[:16]
        group = record["group"]
        messages, place = rows[record["id"]]["messages"], record.get("turn")
        before = messages[: -1 if place is None else place]
        asked: Messages = [{**turn, "content": written(turn)} for turn in before]
        first = random.Random(f"{seed} {key}").random() < 0.5
        gold, turn = record["gold"], ordinal(messages, place)
        found.append(Pair(key, record["id"], group, asked, gold, *texts, tuned_first=first, place=turn))
    random.Random(seed).shuffle(found)
    return found, same


def tally(outcomes: list[str], groups: list[str]) -> dict[str, Any]:
    """Return wins, losses and ties of the fine-tuned model; its win rate, counting a tie as half a win, with
    the 95 % interval by group; and the p-value of a sign test that flips whole groups.

    There is no interval if all are ties, because its width of 0 would suggest certainty.
    """
    values = np.array([SCORE[outcome] for outcome in outcomes])
    bounds = mean_interval(values, groups, SHARE) if len(values) else None
    # Swapping the two models in a group flips its sign.
    sides = [
        group_sums(np.stack([side, np.ones(len(side))], axis=1), groups) for side in (values, 1 - values)
    ]
    if bounds and bounds[0] == bounds[1]:
        bounds = None
    return {
        "n": len(values),
        "groups": len(set(groups)),
        **_counts(outcomes),
        "win_rate": float(values.mean()) if len(values) else None,
        "low": bounds[0] if bounds else None,
        "high": bounds[1] if bounds else None,
        "p": permutation_p(mean, *sides) if len(values) else None,
    }


def _counts(outcomes: list[str]) -> dict[str, int]:
    return {
        "wins": outcomes.count("tuned"),
        "losses": outcomes.count("baseline"),
        "ties": outcomes.count("tie"),
    }


def votes_of_each(run: Run) -> dict[str, dict[str, str]]:
    """Return the outcome of every pair that a reviewer voted on, by the reviewer's name ("" without one) and
    the pair's key; the last vote of a reviewer counts."""
    found: dict[str, dict[str, str]] = {}
    for vote in files.read_records(run / "review" / "votes.jsonl"):
        if vote.get("outcome") in SCORE and "key" in vote:
            found.setdefault(vote.get("reviewer", ""), {})[vote["key"]] = vote["outcome"]
    return found


def votes(run: Run) -> dict[str, str]:
    """Return the outcome of every pair with a vote, by the pair's key: what more of its reviewers preferred,
    and `tie` if as many preferred either."""
    scores: dict[str, list[float]] = {}
    for cast in votes_of_each(run).values():
        for key, outcome in cast.items():
            scores.setdefault(key, []).append(SCORE[outcome] - SCORE["tie"])
    return {
        key: "tuned" if sum(each) > 0 else "baseline" if sum(each) < 0 else "tie"
        for key, each in scores.items()
    }


def agreement(one: dict[str, str], other: dict[str, str]) -> dict[str, Any] | None:
    """Return on how many of the pairs that both voted on two reviewers agree, or people and a judge, with
    Cohen's kappa over tuned, baseline and tie (scikit-learn); None if there is no such pair, and kappa None
    if all outcomes are equal."""
    from sklearn.metrics import cohen_kappa_score

    both = [(one[key], other[key]) for key in one if key in other]
    if not both:
        return None
    first, second = zip(*both, strict=True)
    alike = len({*first, *second}) == 1
    kappa = None if alike else float(cohen_kappa_score(first, second, labels=[*SCORE]))
    return {"n": len(both), "same": sum(a == b for a, b in both), "kappa": kappa}


def review_summary(run: Run) -> dict[str, Any] | None:
    """Return the counts of people's votes, or None if no pair of this evaluation has a vote.

    In addition to the result of `tally`: the number of `pairs`, of rows with the `same` text twice, and of
    `older` votes on other answers, which do not count; of several reviewers, the votes of each (`reviewers`)
    and how far each two agree (`agreement`).
    """
    cast = votes(run)
    if not cast:
        return None
    found, same = pairs(run)
    read = [pair for pair in found if pair.key in cast]
    if not read:
        return None
    counted = tally([cast[pair.key] for pair in read], [pair.group for pair in read])
    keys = {pair.key for pair in read}
    each = {name: {k: v for k, v in own.items() if k in keys} for name, own in votes_of_each(run).items()}
    each = {name or "(no name)": own for name, own in sorted(each.items()) if own}
    reviewers, agree = [], []
    if len(each) > 1:
        reviewers = [{"name": name, "n": len(own), **_counts([*own.values()])} for name, own in each.items()]
        for one, other in combinations(each, 2):
            if common := agreement(each[one], each[other]):
                agree.append({"between": [one, other], **common})
    more = {"reviewers": reviewers, "agreement": agree}
    return {**counted, "pairs": len(found), "same": same, "older": len(cast) - len(read), **more}


def in_words(counted: dict[str, Any]) -> str:
    """Return the counts of `tally` in one sentence without a full stop."""
    noun = "pair" if counted["n"] == 1 else "pairs"
    text = (
        f"of {counted['n']} {noun} the fine-tuned model was preferred in {counted['wins']}, the baseline in "
        f"{counted['losses']}, neither in {counted['ties']}"
    )
    if not counted["n"]:
        return text
    text += f"; win rate {counted['win_rate'] * 100:.1f} %"
    if counted["low"] is not None:
        text += f" (95 % interval {counted['low'] * 100:.1f} to {counted['high'] * 100:.1f} %)"
    p = counted["p"]
    if p is None:
        return text + ", too few groups for a test"
    return text + (", p < 0.0001" if p < 0.0001 else f", p = {p:.4f}")


def agreement_in_words(found: dict[str, Any]) -> str:
    """Return how far two reviewers of `review_summary` agree, in one sentence without a full stop."""
    one, other = found["between"]
    text = f"{one} and {other} agree on {found['same']} of the {found['n']} pairs that both read"
    return text if found["kappa"] is None else f"{text} (Cohen's kappa {found['kappa']:.2f})"
