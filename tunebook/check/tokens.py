"""What rows become as tokens: lengths, cut answers, what is learned, and where an answer ends.

The tokenizer runs in a child process (tunebook/data/tokenize.py); this module judges its answer.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any, Literal

from tunebook.check.axolotl_child import LATER
from tunebook.check.findings import Finding, Findings, Grade
from tunebook.check.rows import Sample, Seen
from tunebook.core.errors import MachineError
from tunebook.core.files import AxolotlConfig
from tunebook.data.dataset import Dataset
from tunebook.data.stretches import EACH
from tunebook.models import trial_model
from tunebook.models.hub import cached, reach_hub
from tunebook.models.registry import model_table

MASKED = 4000  # rows whose mask Axolotl itself makes, at most
IGNORED = -100
BARS = 8
IN_PART = "answers learned only in part"
DIFFER = "rows that training and evaluation see differently"


Place = Literal["here", "hub", "nowhere"]


def job(config: AxolotlConfig, dataset: Dataset, place: Place) -> dict[str, Any]:
    """Return the child's job for rows that are named later: with the recipe's own tokenizer if available,
    otherwise lengths with the trial model's tokenizer; nothing if that is missing too."""
    if place != "nowhere":
        return {"rows": LATER, "mask": MASKED, "labels": dataset.labels}
    if not (trial_model.folder() / "tunebook.json").is_file():
        return {}
    return {"rows": LATER, "rows_config": stand_in(config)}


def tokenizer_place(config: AxolotlConfig) -> Place:
    """Return whether the tokenizer of a config's base model is on this machine (a folder, or the Hub's
    cache), on the Hub, or neither."""
    base = str(config.get("tokenizer_config") or config["base_model"])
    revision = config.get("revision_of_model")
    if Path(base).is_dir() or cached(base, "tokenizer_config.json", revision):
        return "here"
    try:
        reach_hub(base, revision)
    except MachineError:
        return "nowhere"
    return "hub"


def stand_in(config: AxolotlConfig) -> dict[str, Any]:
    """Return `config` with the trial model's tokenizer, for a base model that is not on this machine."""
    replaced = model_table()[trial_model.NAME]["axolotl"]
    dropped = (
        "special_tokens",
        "tokens",
        "eot_tokens",
        "chat_template_kwargs",
        "revision_of_model",
        "tokenizer_config",
        "chat_template_jinja",
    )
    kept = {key: value for key, value in config.items() if key not in dropped}
    return {
        **kept,
        **{k: v for k, v in replaced.items() if v is not None},
        "base_model": str(trial_model.folder()),
    }


def judge(
    answer: dict[str, Any] | None,
    looked_at: Sample,
    found: Findings,
    estimate: bool,
    accepted: int = 0,
) -> str:
    """Add what the child's answer says about the rows that were looked at, and return a line about the
    lengths of those of train (what they mean is for tunebook/check/sizes/lengths.py). Up to `accepted` rows
    may hold special tokens in their text."""
    if answer is None:
        return "not looked at"
    sample = looked_at.looked_at
    by = "the trial model's tokenizer, an estimate" if estimate else "the recipe's own tokenizer"
    sizes = [size for size, _ in answer["lengths"][: len(looked_at.rows)]] or [0]
    found.facts["lengths"] = {"tokenizer": by, **summary(sizes)}
    for index, text in answer["refused"].items():
        _at(
            sample[int(index)],
            "error",
            "rows that the template rejects",
            f"{text}",
            found,
            code="tokens.refused_by_template",
        )
    special = answer.get("special", {})
    for index, name in special.items():
        text = (
            f"its text contains {name!r}, which the tokenizer reads as a special token: it can end or start "
            f"a turn. Rewrite it, or accept all of these by setting allow_special_tokens: {len(special)} in "
            "dataset.yaml."
        )
        grade: Grade = "note" if len(special) <= accepted else "error"
        _at(
            sample[int(index)],
            grade,
            "special tokens in row text",
            text,
            found,
            code="tokens.special_in_text",
        )
    compared = ""
    if not estimate:
        seen_in_full = {masked["row"] for masked in answer["masked"]}
        for index, text in answer.get("lost", {}).items():
            if int(index) not in seen_in_full:  # if Axolotl's own mask gives more detail
                _at(sample[int(index)], "error", IN_PART, text, found, code="tokens.answer_in_part")
        for masked in answer["masked"]:
            _mask(masked, answer, sample[masked["row"]], found)
        compared, found.facts["masks"] = _coverage(answer, looked_at)
    facts = found.facts["lengths"]
    return f"{facts['shortest']} to {facts['longest']}, median {facts['median']} ({by}){compared}"


def _coverage(answer: dict[str, Any], looked_at: Sample) -> tuple[str, dict[str, int]]:
    """Return which answers and masks were compared, in words and in numbers."""
    every = looked_at.total + looked_at.others
    facts = {
        "texts": len(looked_at.looked_at),
        "rows": len(answer["masked"]),
        "of": every,
        "kinds": len(looked_at.kinds),
        "kinds_left": answer["kinds_left"] + len(looked_at.kinds) - answer["kinds"],
    }
    left = f"; {facts['kinds_left']:,} kinds are not compared" if facts["kinds_left"] else ""
    return (
        f"; of {every:,} rows, the text of all answers is compared in {facts['texts']:,} and Axolotl's own "
        f"mask in {facts['rows']:,}: {EACH} or more rows, or all, of each of the {facts['kinds']:,} kinds of "
        f"turn that any row has (roles, weights, calls, empty texts, first and last letters, marks){left}; "
        "the run itself compares the mask of every train row before its first step"
    ), facts


def summary(sizes: list[int]) -> dict[str, Any]:
    """Return shortest, median, longest and a histogram: the number of rows that end in each of eight equal
    intervals."""
    longest = max(sizes)
    width = max(1, -(-longest // BARS))
    counts = [0] * BARS
    for size in sizes:
        counts[min(BARS - 1, max(0, size - 1) // width)] += 1
    bars = {f"to {(place + 1) * width}": count for place, count in enumerate(counts)}
    return {
        "shortest": min(sizes),
        "median": int(median(sizes)),
        "longest": longest,
        "total": sum(sizes),
        "rows": len(sizes),
        "histogram": bars,
    }


def _mask(masked: dict[str, Any], answer: dict[str, Any], seen: Seen, found: Findings) -> None:
    """Compare the mask of one row with the prompt contract (tunebook/data/prompt.py)."""
    ids, labels, contract = masked["ids"], masked["labels"], masked["contract"]
    if not any(label != IGNORED for label in labels):
        text = "Axolotl trains on none of its tokens."
        _at(seen, "error", "rows with nothing to learn", text, found, code="tokens.nothing_learned")
        return
    if not masked["system_kept"]:
        text = "the template drops the system turn."
        _at(seen, "error", "system prompts lost", text, found, code="tokens.system_lost")
    if not masked["tools_kept"]:
        text = (
            "the chat template omits its tools or tool calls. Use a base model whose template supports them."
        )
        _at(seen, "error", "tools lost", text, found, code="tokens.tools_lost")
        return
    bos = answer["bos_id"]
    # If bos is also the token that starts each turn, repeating it is correct.
    if bos is not None and ids[:2] == [bos, bos]:
        text = f"the tokens begin with {answer['bos']!r} twice."
        _at(seen, "error", "rows with two bos tokens", text, found, code="tokens.two_bos")
    if isinstance(contract, str):
        _at(seen, "error", DIFFER, contract, found, code="tokens.prompt_differs")
        return
    full, start = contract
    if ids[: len(full)] != full:
        text = "the evaluation prompt is not a prefix of the tokens Axolotl trains on."
        _at(seen, "error", DIFFER, text, found, code="tokens.prompt_differs")
    elif labels[len(full) - 1] == IGNORED:
        text = f"{answer['eos']!r}, at which generation stops, is not trained, so answers would never end."
        _at(
            seen,
            "error",
            "end-of-turn tokens that are not learned",
            text,
            found,
            code="tokens.end_not_learned",
        )
    elif labels[start : len(full)] != full[start:] or labels[start - 1] != IGNORED:
        text = "the loss mask does not match the answer plus its end-of-turn token."
        _at(seen, "error", IN_PART, text, found, code="tokens.answer_in_part")
    else:
        for text in masked.get("stretches", []):
            _at(seen, "error", IN_PART, text, found, code="tokens.answer_in_part")


def _at(seen: Seen, grade: Grade, kind: str, text: str, found: Findings, *, code: str) -> None:
    found.add(Finding(grade, kind, text, file=seen.place, line=seen.line, code=code))


def steps(
    config: AxolotlConfig, batch: int, rows: int, lengths: dict[str, Any] | None
) -> tuple[int | None, str]:
    """Return the number of optimizer steps of a run, and an explanation of the calculation. Packed rows are
    counted by their tokens, assuming full sequences."""
    if config.get("max_steps"):
        return int(config["max_steps"]), "max_steps"
    epochs = config.get("num_epochs") or 1
    sequences, how = float(rows), f"{rows} rows"
    if config.get("sample_packing"):
        if not lengths:
            return None, "the tokens of packed rows are not known"
        capacity = config.get("sequence_len") or 512
        sequences = max(1.0, lengths["total"] / lengths["rows"] * rows / capacity)
        how = f"about {sequences:.0f} packed sequences"
    return max(1, int(sequences * epochs / batch)), f"{how} x {epochs:g} epochs / {batch} a step"
