"""Rows that are longer than a fork's usual sequence length: the possible remedies, and their cost.

In: rendered rows and the options of the fork. Out: choices with numbers and the command to type, or an error
that lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, NamedTuple

from tunebook.core.errors import InputError, Problem
from tunebook.core.words import pieces
from tunebook.data.files.split_names import SPLITS, Split
from tunebook.data.formats.windows import held
from tunebook.data.lengths import (
    COUNTED,
    FEWEST_ROWS,
    STEP,
    TRIAL_LENGTHS,
    Lengths,
    TokenCounter,
    about,
    fitting,
    measure,
)
from tunebook.data.tool_calls import texts
from tunebook.hardware import memory
from tunebook.hardware.cpu_speed import is_known_fast_bf16
from tunebook.hardware.gpus import gpu
from tunebook.hardware.memory_settings import setting
from tunebook.models import shapes, trial_model
from tunebook.plan import hours, trial
from tunebook.plan.rows import Rows
from tunebook.runs.rows import RenderedRow

LONGEST = TRIAL_LENGTHS[-1]  # tokens; for longer rows the user must choose
WINDOW = 300  # number of words offered
CARD, FILLED = "h100", 0.9
TRIAL_TOKENS = 160_000  # tokens trained on in total


@dataclass(frozen=True)
class Long:
    """The lengths of a fork's rows: approximate tokens of each, exact length of the longest, rows of each
    split, tokens per word."""

    train: list[int]
    held_out: list[int]
    longest: int
    counts: dict[str, int]
    tokens_a_word: float
    passages: bool

    def over(self, limit: int) -> int:
        """Return approximately how many train rows are longer than `limit`."""
        return sum(size > limit for size in self.train)


def look(rows: dict[Split, list[RenderedRow]], longest: int, passages: bool, counter: TokenCounter) -> Long:
    """Measure the rows of each split.

    Args:
        longest: tokens of the longest row.
        passages: the rows are questions on passages that may be cut.
    """
    some = rows["train"][:: max(1, -(-len(rows["train"]) // COUNTED))]
    train = [min(longest, size) for size in about(rows["train"], counter)]  # by number of letters
    words = sum(len(pieces(text)) for row in some for text in texts(row))
    tokens = sum(train[:: max(1, -(-len(train) // COUNTED))])
    counts = {str(split): len(of) for split, of in rows.items()}
    held_out = about(rows["dev"], counter) + about(rows["test"], counter)
    return Long(train, held_out, longest, counts, tokens / max(1, words), passages)


def counted(
    rows: dict[Split, list[RenderedRow]], length: int | None, counter: TokenCounter
) -> tuple[Lengths, dict[int, int], dict[str, int]]:
    """Return the lengths of all rows, how many train rows fit each sequence length of the trial tier (and
    `length`), and how many train and dev rows are longer than `length`."""
    limits = (*TRIAL_LENGTHS, *([length] if length else []))
    fits = {limit: len(some) for limit, some in fitting(rows["train"], limits, counter).items()}
    left_out = {}
    if length:
        dev = len(fitting(rows["dev"], (length,), counter)[length])
        left_out = {"train": len(rows["train"]) - fits[length], "dev": len(rows["dev"]) - dev}
    every = [row for some in rows.values() for row in some]
    return measure(every, TRIAL_LENGTHS, counter), fits, left_out


def window_notes(rows: dict[Split, list[RenderedRow]], words: int) -> list[str]:
    """Return notes on how many windows contain an answer: in train by construction, in dev and test as
    chosen."""
    notes = [
        f"passages are shortened to {words} words (source.window): in train around the answer, in dev and "
        "test by the words of the question, without looking at the answer"
    ]
    for split in SPLITS:
        found, of = held(rows[split])
        notes.append(f"{found} of {of} {split} windows contain an answer; the others count, too")
    return notes


def decide(
    found: Long,
    length: int | None,
    fits: dict[int, int],
    config: dict[str, Any],
    trial_rows: dict[str, int],
    command: str,
) -> list[str]:
    """Return the alternatives for long rows, if the fork continues without asking.

    Args:
        found: the result of `look`.
        length: LENGTH=.
        fits: the number of train rows that fit each sequence length, including `length`.
        config, trial_rows: as in `choices`.
        command: the fork command as typed, to which an option is added.

    Raises:
        InputError: there is hardly any row to train on, or rows have more than 8,192 tokens and LENGTH= is
            not set.
    """
    train = found.counts["train"]
    if train < FEWEST_ROWS:
        text = f"{train} train rows; fewer than {FEWEST_ROWS} have no measurable effect. Add rows."
        raise InputError(Problem(text, key="DATA", code="rows.too_few_to_train"))
    if length:
        if fits[length] >= FEWEST_ROWS:
            return []
        text = f"only {fits[length]} of {train} train rows have at most {length} tokens. Choose:"
        listed = _listed(text, choices(found, config, trial_rows), command)
        raise InputError(Problem(listed, key="--length (LENGTH=)", code="rows.too_few_to_train"))
    if found.longest <= TRIAL_LENGTHS[0]:
        return []
    ways = choices(found, config, trial_rows)
    if found.longest > LONGEST:
        raise stop(found, ways, command)
    now = _cost(found.train, found.counts, config, trial_rows)
    return [
        f"long rows (up to {found.longest} tokens) take time: {now}",
        *(f"{way.option} instead: {way.text}" for way in ways if way.leaves_out != 0),
    ]


class Choice(NamedTuple):
    """A remedy for long rows: the option to add to the fork, its effect and cost, and how many train rows it
    drops (None if it shortens them)."""

    option: str
    text: str
    leaves_out: int | None


def choices(found: Long, config: dict[str, Any], trial_rows: dict[str, int]) -> list[Choice]:
    """Return the choices, up to the first sequence length that drops no row.

    Args:
        config: the recipe's config, with the base model of the fork.
        trial_rows: rows of each split on the trial tier.
    """
    ways, train = [], found.counts["train"]
    if found.passages:
        cut = [min(size, round((WINDOW + 40) * found.tokens_a_word)) for size in found.train]
        cost = _cost(cut, found.counts, config, trial_rows)
        text = f"windows of {WINDOW} words around the answer, {max(cut)} tokens per row: {cost}"
        ways.append(Choice(f"WINDOW={WINDOW}", text, None))
    for length in sorted({*TRIAL_LENGTHS[1:], -(-round(found.longest * 1.05) // STEP) * STEP}):
        over = found.over(length)
        if train - over >= FEWEST_ROWS:
            kept = [size for size in found.train if size <= length]
            cost = _cost(kept, {**found.counts, "train": train - over}, config, trial_rows)
            out = f"drops {over} of {train} train rows" if over else "drops no row"
            ways.append(Choice(f"LENGTH={length}", f"sequence_len {length} {out}: {cost}", over))
        if not over:
            break
    return ways


def stop(found: Long, ways: list[Choice], command: str) -> InputError:
    """Return the error for long rows about which the user must decide. `command` is the fork command as
    typed."""
    over, held = found.over(LONGEST), sum(size > LONGEST for size in found.held_out)
    text = (
        f"about {over} of {found.counts['train']} train rows and {held} of {len(found.held_out)} dev and "
        f"test rows have more than {LONGEST} tokens, the longest {found.longest}. Choose:"
    )
    return InputError(Problem(_listed(text, ways, command), key="DATA", code="fork.long_rows"))


def _listed(text: str, ways: list[Choice], command: str) -> str:
    lines = [f"{way.text}. Type: {command} {way.option}" for way in ways]
    none = "shorten the conversations or system prompts: hardly any row fits"
    return "\n  - ".join([text, *(lines or [none])])


def check_window(window: str, layout: str) -> int | None:
    """Return the number of words in WINDOW=, or None if it is not given.

    Raises:
        InputError: not a number of words, or the rows have no passage.
    """
    if window and layout not in ("qa", "squad"):
        text = f"shortens the passages of questions, but these rows ({layout}) have none. Remove it."
        raise InputError(Problem(text, key="--window (WINDOW=)", code="option.no_passages"))
    return window_words(window)


def window_words(window: str) -> int | None:
    """Return the words of WINDOW=, None where it is not given.

    Raises:
        InputError: not a number of words.
    """
    return _number(window, "--window (WINDOW=)", 20, "words, such as 300") if window else None


def check_length(length: str) -> int | None:
    """Return the number of tokens in LENGTH=, or None if it is not given.

    Raises:
        InputError: not a number of tokens.
    """
    return _number(length, "--length (LENGTH=)", STEP, "tokens, such as 4096") if length else None


def _number(text: str, key: str, least: int, what: str) -> int:
    if not (text.isdecimal() and len(text) < 19) or int(text) < least:
        message = f"expected a number of {what}, {least} or more (got {text!r})."
        raise InputError(Problem(message, key=key, code="option.bad_length"))
    return int(text)


def _cost(
    sizes: Sequence[int], counts: dict[str, int], config: dict[str, Any], trial_rows: dict[str, int]
) -> str:
    minutes = max(1, round(_trial_minutes(sizes, counts, trial_rows)))
    return f"trial about {_minutes(minutes, minutes)}, real {_real(sizes, counts, config)}"


def _minutes(low: int, high: int) -> str:
    return f"{low} minute{'s' * (low > 1)}" if low == high else f"{low} to {high} minutes"


def _trial_minutes(sizes: Sequence[int], counts: dict[str, int], rows: dict[str, int]) -> float:
    """Return the minutes of a trial run on `sizes`; without bf16 if this CPU has not been measured yet."""
    size = mean([size for size in sizes if size <= LONGEST] or [LONGEST])
    dev, test = (min(rows[split], counts[split]) for split in ("dev", "test"))
    read = (dev * trial.PROMPTINGS + test * trial.CONTENDERS) * size
    trained = min(TRIAL_TOKENS, min(rows["train"], counts["train"]) * size)
    config: dict[str, Any] = {
        "base_model": trial_model.NAME,
        "adapter": "lora",
        "attn_implementation": "eager",
    }
    config["bf16"] = is_known_fast_bf16()
    return trial.minutes(trained, read, size, config)


def _real(sizes: Sequence[int], counts: dict[str, int], config: dict[str, Any]) -> str:
    """Return memory and time of training on one H100."""
    try:
        shape = shapes.find(str(config["base_model"]))
    except InputError:
        return f"not known (the shape of {config['base_model']} is not)"
    card, longest = gpu(CARD), max(sizes)
    batch = (config.get("micro_batch_size") or 1) * (config.get("gradient_accumulation_steps") or 1)
    settings = []
    for micro in (size for size in range(batch, 0, -1) if batch % size == 0):
        made = {**config, "sequence_len": longest, "micro_batch_size": micro}
        made["gradient_accumulation_steps"] = batch // micro
        settings.append((made, setting(made, longest)))
    fits = [(made, s) for made, s in settings if memory.total(shape, s, "one GPU", 1) <= FILLED * card.gib]
    made, s = fits[0] if fits else settings[-1]
    rows = Rows(
        counts["train"], counts["dev"], counts["test"], tuple(sizes), longest, longest, 0, 0, longest, "fork"
    )
    todo = hours.work(made, rows, 1)
    assert todo  # rows are known
    time = hours.train_seconds(shape, s, todo, card, 1)
    gib = memory.total(shape, s, "one GPU", 1)
    room = "" if fits else ", which is too much"
    low, high = max(1, round(time.low / 60)), max(1, round(time.high / 60))
    return f"{_minutes(low, high)} of training and {gib:.0f} GiB on one {card.name}{room}"
