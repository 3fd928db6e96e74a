"""How long rows are, in tokens of the trial tier's base model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tunebook.data.tool_calls import texts
from tunebook.models import trial_model

MEASURED = 2000  # rows: the longest by their letters, and as many taken evenly
TURN, ROW = 5, 24  # tokens that a chat template adds to a turn, and to a row (a default system turn)
TOOLS_ARE = "word " * 40  # what a template says of tools before it lists them
FEWEST_ROWS = 30  # rows; fewer train nothing that could be measured
BYTES_A_TOKEN = 3  # where no tokenizer is at hand; English has four, so lengths come out too high


@dataclass(frozen=True)
class Lengths:
    """Tokens a row with its template: `how` says whether counted or estimated."""

    mean: float
    longest: int
    over: dict[int, int]
    how: str


def counter() -> tuple[Callable[[dict[str, Any]], int], str]:
    """Return what counts the tokens of a rendered row with its template, and how it does: by the trial
    model's tokenizer, or estimated from bytes where that is not there yet."""
    path = trial_model.folder() / "tokenizer.json"
    if path.is_file():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(path))

        def count(row: dict[str, Any]) -> int:
            encoded = tokenizer.encode_batch(_texts(row), add_special_tokens=False)
            return ROW + sum(len(one.ids) + TURN for one in encoded)

        return count, "counted with the tokenizer of SmolLM2"

    def estimate(row: dict[str, Any]) -> int:
        return ROW + sum(len(text.encode()) // BYTES_A_TOKEN + TURN for text in _texts(row))

    return estimate, f"estimated as {BYTES_A_TOKEN} bytes a token"


def fitting(rows: list[dict[str, Any]], limits: tuple[int, ...]) -> dict[int, list[dict[str, Any]]]:
    """Return the rows of at most so many tokens for each of `limits`, as `counter` counts them."""
    count, _ = counter()

    def size(row: dict[str, Any]) -> int:
        # A token has one byte or more: most rows are short enough without counting.
        most = ROW + sum(len(text.encode()) + TURN for text in _texts(row))
        return most if most <= min(limits) else count(row)

    sizes = list(map(size, rows))
    return {
        limit: [row for row, tokens in zip(rows, sizes, strict=True) if tokens <= limit] for limit in limits
    }


def measure(rows: list[dict[str, Any]], bounds: tuple[int, ...]) -> Lengths:
    """Measure rendered rows, of a pair the longer answer; `over` counts the rows of each length in `bounds`
    or more."""
    others = [
        {**row, "messages": [*row["messages"][:-1], *row.get("rejected", row["messages"][-1:])]}
        for row in rows
    ]
    rows = [max(pair, key=_letters) for pair in zip(rows, others, strict=True)]
    count, how = counter()
    by_letters = sorted(rows, key=_letters, reverse=True)
    some = by_letters[:: max(1, len(rows) // MEASURED)]
    longest = by_letters[:MEASURED]
    counts = [count(row) for row in longest]
    mean = sum(map(count, some)) / len(some)
    over = {bound: sum(size > bound for size in counts) for bound in bounds}
    return Lengths(mean, max(counts), over, how)


def _letters(row: dict[str, Any]) -> int:
    return sum(map(len, _texts(row)))


def _texts(row: dict[str, Any]) -> list[str]:
    return [*texts(row), *([TOOLS_ARE] if row.get("tools") else [])]
