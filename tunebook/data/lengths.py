"""How long rows are, in tokens of the trial tier's base model."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from tunebook.data.token_counts import count_tokens
from tunebook.data.tool_calls import texts
from tunebook.models import trial_model
from tunebook.runs.rows import RenderedRow

MEASURED = 2000  # rows: the longest by their letters, and as many taken evenly
TURN, ROW = 5, 24  # tokens that a chat template adds to a turn, and to a row (a default system turn)
TOOLS_ARE = "word " * 40  # what a template says of tools before it lists them
FEWEST_ROWS = 30  # rows; fewer train nothing that could be measured
BYTES_A_TOKEN = 3  # where no tokenizer is at hand; English has four, so lengths come out too high
ESTIMATED = f"estimated as {BYTES_A_TOKEN} bytes a token"


@dataclass(frozen=True)
class Lengths:
    """Tokens a row with its template: `how` says whether counted or estimated."""

    mean: float
    longest: int
    over: dict[int, int]
    how: str


class TokenCounter:
    """Counts the tokens of rendered rows with their template, each text once: by the trial model's tokenizer,
    or estimated from bytes where that is not there yet; `how` says which."""

    def __init__(self) -> None:
        path = trial_model.folder() / "tokenizer.json"
        self.path = path if path.is_file() else None
        self.how = "counted with the tokenizer of SmolLM2" if self.path else ESTIMATED
        self.sizes: dict[str, int] = {}

    def rows(self, rows: list[RenderedRow]) -> list[int]:
        """Return the tokens of each row."""
        parts = [_texts(row) for row in rows]
        if self.path:
            new = [text for text in dict.fromkeys(chain(*parts)) if text not in self.sizes]
            if new:
                from tokenizers import Tokenizer

                tokenizer = Tokenizer.from_file(str(self.path))
                self.sizes |= zip(new, count_tokens(tokenizer, new), strict=True)
            sizes = self.sizes
        else:
            sizes = {text: len(text.encode()) // BYTES_A_TOKEN for text in chain(*parts)}
        return [ROW + sum(sizes[text] + TURN for text in own) for own in parts]


def fitting(
    rows: list[RenderedRow], limits: tuple[int, ...], counter: TokenCounter | None = None
) -> dict[int, list[RenderedRow]]:
    """Return the rows of at most so many tokens for each of `limits`, as `counter` counts them."""
    # A token has one byte or more: most rows are short enough without counting.
    most = [ROW + sum(len(text.encode()) + TURN for text in _texts(row)) for row in rows]
    doubtful = [row for row, size in zip(rows, most, strict=True) if size > min(limits)]
    counted = iter((counter or TokenCounter()).rows(doubtful) if doubtful else [])
    sizes = [next(counted) if size > min(limits) else size for size in most]
    return {
        limit: [row for row, tokens in zip(rows, sizes, strict=True) if tokens <= limit] for limit in limits
    }


def measure(rows: list[RenderedRow], bounds: tuple[int, ...], counter: TokenCounter | None = None) -> Lengths:
    """Measure rendered rows, of a pair the longer answer; `over` counts the rows of each length in `bounds`
    or more."""
    counter = counter or TokenCounter()
    by_letters = sorted(map(_longer, rows), key=_letters, reverse=True)
    some = by_letters[:: max(1, len(rows) // MEASURED)]
    counts = counter.rows(by_letters[:MEASURED])
    mean = sum(counter.rows(some)) / len(some)
    over = {bound: sum(size > bound for size in counts) for bound in bounds}
    return Lengths(mean, max(counts), over, counter.how)


def _longer(row: RenderedRow) -> RenderedRow:
    """Return a preference pair with the longer of its answers as its last message, another row as it is."""
    if "rejected" not in row:
        return row
    other: RenderedRow = {**row, "messages": [*row["messages"][:-1], *row["rejected"]]}
    return max(row, other, key=_letters)


def _letters(row: RenderedRow) -> int:
    return sum(map(len, _texts(row)))


def _texts(row: RenderedRow) -> list[str]:
    return [*texts(row), *([TOOLS_ARE] if row.get("tools") else [])]
