"""A language model as a judge of which of two answers is better.

Judges have position bias (Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", arXiv
2306.05685), so each pair is judged in both orders, and disagreement counts as a tie. How far the judge can be
trusted is shown by its agreement with people's votes (`make review`), if there are any.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from tunebook.core.files import Record, read_json, read_jsonl, write_json, write_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.prompt import Messages
from tunebook.evaluation.endpoint.batch import Progress, ask_all, summary
from tunebook.evaluation.endpoint.client import Settings
from tunebook.evaluation.pairs import Pair, agreement, pairs, tally, votes
from tunebook.runs.run import Run

MAX_TOKENS = 512
ORDERS = ("tuned first", "baseline first")
VERDICT = re.compile(r"VERDICT: (A|B|TIE)")


@functools.cache
def _template() -> Template:
    folder = FileSystemLoader(ROOT / "evals" / "judge")
    return Environment(loader=folder, undefined=StrictUndefined, trim_blocks=True).get_template(
        "pairwise.jinja"
    )


def question(pair: Pair, order: str) -> Messages:
    """Return the judge's prompt for `pair`, with the answers in one of `ORDERS`."""
    a, b = (pair.tuned, pair.baseline) if order == ORDERS[0] else (pair.baseline, pair.tuned)
    text = _template().render(
        system="\n".join(turn["content"] for turn in pair.asked if turn["role"] == "system"),
        turns=[turn for turn in pair.asked if turn["role"] != "system"],
        a=a,
        b=b,
    )
    return [{"role": "user", "content": text}]


def verdict(text: str) -> str | None:
    """Return A, B or TIE from the last line of a judge's reply; None unless it is exactly a verdict."""
    match = VERDICT.fullmatch(text.strip().splitlines()[-1].strip()) if text.strip() else None
    return match[1] if match else None


def outcome(pair: Pair, replies: dict[str, Record]) -> dict[str, Any]:
    """Return which side is preferred in both orders; `outcome` is None if one of the replies has no
    verdict."""
    verdicts = [verdict(replies[f"{pair.id}, {order}"].get("text", "")) for order in ORDERS]
    sides = [{"A": "tuned", "B": "baseline"}, {"A": "baseline", "B": "tuned"}]
    named = [side.get(one, "tie") if one else None for side, one in zip(sides, verdicts, strict=True)]
    consistent = named[0] == named[1]
    decided = None if None in named else named[0] if consistent else "tie"
    return {"key": pair.key, "id": pair.id, "group": pair.group, "said": verdicts, "outcome": decided}


def judge(run: Run, settings: Settings, progress: Progress) -> None:
    """Let the endpoint compare every pair of an evaluated run; writes eval/judge/.

    Raises:
        InputError, MachineError: as `ask_all`; replies received so far are kept.
    """
    to_judge, same = pairs(run)
    prompts = {f"{pair.id}, {order}": question(pair, order) for pair in to_judge for order in ORDERS}
    settings = settings.model_copy(update={"max_tokens": MAX_TOKENS})
    folder = run / "eval" / "judge"
    replies = ask_all(prompts, settings, folder / "replies.jsonl", progress)
    write_jsonl(folder / "verdicts.jsonl", [outcome(pair, replies) for pair in to_judge])
    write_json(folder / "asked.json", {**summary([*replies.values()], settings), "same": same})


def judge_summary(run: Run) -> dict[str, Any] | None:
    """Return the counts of the judge's verdicts and its agreement with people; None without a judge.

    In addition to the result of `tally`: `inconsistent` pairs (counted as ties), `unreadable` pairs (not
    counted), `first`, the share of verdicts for A among those for A or B (0.5 without position bias), the
    judge's model, tokens and cost (`asked`), and `people`, the agreement.
    """
    asked = read_json(run / "eval" / "judge" / "asked.json")
    if asked is None or not run.settings()["suite"]["judge"]:
        return None
    judged = read_jsonl(run / "eval" / "judge" / "verdicts.jsonl")
    kept = [item for item in judged if item["outcome"]]
    decisive = [one for item in kept for one in item["said"] if one != "TIE"]
    return {
        **tally([item["outcome"] for item in kept], [item["group"] for item in kept]),
        "inconsistent": sum(sorted(item["said"]) not in (["A", "B"], ["TIE", "TIE"]) for item in kept),
        "unreadable": len(judged) - len(kept),
        "first": decisive.count("A") / len(decisive) if decisive else None,
        "asked": asked,
        "people": agreement({item["key"]: item["outcome"] for item in kept}, votes(run)),
    }
