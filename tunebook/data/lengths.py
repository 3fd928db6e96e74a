"""Row lengths in tokens of the trial tier's base model and in characters, kept for `tunebook plan`.

`tunebook check`, with which a fork ends, counts characters while it reads the rows.
TUNEBOOK_CACHE/sizes/NAME.json stores the counts, which are valid as long as the files and dataset.yaml are
unchanged.
"""

from __future__ import annotations

import heapq
import json
import random
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ValidationError

from tunebook.core.files import digest, file_sha256, write_text
from tunebook.core.paths import cache_folder
from tunebook.data.dataset import Dataset
from tunebook.data.sources import hub_revision, source_file
from tunebook.data.token_counts import count_tokens
from tunebook.data.tool_calls import texts, written
from tunebook.models import trial_model
from tunebook.runs.rows import RenderedRow

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MEASURED = 2000  # rows counted exactly: the longest by letters, and as many evenly spread
COUNTED = 100  # rows, if an approximate token count is enough
TURN, ROW = 5, 24  # tokens that a chat template adds to a turn, and to a row (a default system turn)
TOOLS_ARE = "word " * 40  # text that a template adds before the list of tools
STEP = 64  # sequence lengths are multiples of this
# sequence lengths of the trial tier, whose base model has 8,192 positions
TRIAL_LENGTHS = (1024, 2048, 4096, 8192)
FEWEST_ROWS = 30  # rows; training on fewer has no measurable effect
KEPT, KEPT_LONGEST, SEED = 5000, 24, 42  # number of train rows whose size is kept, and of its longest rows
BYTES_A_TOKEN = 3  # used without a tokenizer; English text has four, so estimates are too high
ESTIMATED = f"estimated at {BYTES_A_TOKEN} bytes per token"


@dataclass(frozen=True)
class Lengths:
    """Tokens per row, including the template; `how` says whether they were counted or estimated."""

    mean: float
    longest: int
    over: dict[int, int]
    how: str


class TokenCounter:
    """Counts the tokens of rendered rows including the template, each text once: with the trial model's
    tokenizer, or estimated from bytes if that is not available yet; `how` says which."""

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
                self.sizes |= zip(new, count_tokens(_tokenizer(str(self.path)), new), strict=True)
            sizes = self.sizes
        else:
            sizes = {text: len(text.encode()) // BYTES_A_TOKEN for text in chain(*parts)}
        return [ROW + sum(sizes[text] + TURN for text in own) for own in parts]


@lru_cache(maxsize=1)  # read once: to read it takes longer than to count the tokens of a hundred rows
def _tokenizer(path: str) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(path)


def fitting(
    rows: list[RenderedRow], limits: tuple[int, ...], counter: TokenCounter | None = None
) -> dict[int, list[RenderedRow]]:
    """Return, for each of `limits`, the rows with at most that many tokens, as counted by `counter`."""
    # A token has at least one byte, so most rows are known to be short enough without counting.
    most = [ROW + sum(len(text.encode()) + TURN for text in _texts(row)) for row in rows]
    doubtful = [row for row, size in zip(rows, most, strict=True) if size > min(limits)]
    counted = iter((counter or TokenCounter()).rows(doubtful) if doubtful else [])
    sizes = [next(counted) if size > min(limits) else size for size in most]
    return {
        limit: [row for row, tokens in zip(rows, sizes, strict=True) if tokens <= limit] for limit in limits
    }


def about(rows: list[RenderedRow], counter: TokenCounter | None = None) -> list[int]:
    """Return an approximate token count for each row: its letters, times the tokens per letter of `COUNTED`
    rows."""
    some = rows[:: max(1, -(-len(rows) // COUNTED))]
    a_letter = sum((counter or TokenCounter()).rows(some)) / max(1, sum(map(_letters, some)))
    return [round(_letters(row) * a_letter) for row in rows]


def measure(rows: list[RenderedRow], bounds: tuple[int, ...], counter: TokenCounter | None = None) -> Lengths:
    """Measure rendered rows, preference pairs by the longer answer; `over` counts the rows of at least each
    length in `bounds`."""
    counter = counter or TokenCounter()
    by_letters = sorted(map(_longer, rows), key=_letters, reverse=True)
    some = by_letters[:: max(1, len(rows) // MEASURED)]
    counts = counter.rows(by_letters[:MEASURED])
    mean = sum(counter.rows(some)) / len(some)
    over = {bound: sum(size > bound for size in counts) for bound in bounds}
    return Lengths(mean, max(counts), over, counter.how)


def _longer(row: RenderedRow) -> RenderedRow:
    """Return a preference pair with the longer answer as its last message; return any other row unchanged."""
    if "rejected" not in row:
        return row
    other: RenderedRow = {**row, "messages": [*row["messages"][:-1], *row["rejected"]]}
    return max(row, other, key=_letters)


def _letters(row: RenderedRow) -> int:
    return sum(map(len, _texts(row)))


def _texts(row: RenderedRow) -> list[str]:
    return [*texts(row), *([TOOLS_ARE] if row.get("tools") else [])]


class Size(NamedTuple):
    """The characters of a rendered row, its turns, and the characters of its answer."""

    characters: int
    turns: int
    answer: int


def size(row: RenderedRow) -> Size:
    """Return the size of a rendered row."""
    return Size(sum(map(len, texts(row))), len(row["messages"]), len(written(row["messages"][-1])))


class Sizes(BaseModel):
    """The number of rows in each split; the sizes of a sample of train, and of its longest rows."""

    content: str
    rows: dict[str, int]
    sample: list[Size]
    longest: list[Size]


@dataclass
class Counting:
    """Collects the sizes of rows as they are read, with splits in any order."""

    rows: dict[str, int] = field(default_factory=lambda: {"train": 0, "dev": 0, "test": 0})
    sample: list[Size] = field(default_factory=list)
    longest: list[Size] = field(default_factory=list)
    drawn: random.Random = field(default_factory=lambda: random.Random(SEED))

    def add(self, split: str, row: RenderedRow) -> None:
        self.rows[split] += 1
        if split != "train":
            return
        found = size(row)
        if len(self.sample) < KEPT:  # reservoir sampling (Vitter 1985, algorithm R)
            self.sample.append(found)
        elif (place := self.drawn.randrange(self.rows["train"])) < KEPT:
            self.sample[place] = found
        if len(self.longest) < KEPT_LONGEST:
            heapq.heappush(self.longest, found)
        else:
            heapq.heappushpop(self.longest, found)

    def write(self, dataset: Dataset) -> None:
        """Store the counts if all rows could be read and are known to belong to these files."""
        key = content_of(dataset)
        if key and all(self.rows.values()):
            kept = Sizes(content=key, rows=self.rows, sample=self.sample, longest=self.longest)
            file = _sizes_file(dataset)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, kept.model_dump_json())


def read_sizes(dataset: Dataset) -> Sizes | None:
    """Return the stored counts of `dataset`, or None if there are none or its files have changed since."""
    file = _sizes_file(dataset)
    if not file.is_file():
        return None
    try:
        found = Sizes.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, ValidationError):  # written by another version, or damaged
        return None
    return found if found.content == content_of(dataset) else None


def content_of(dataset: Dataset) -> str | None:
    """Return the hash of a dataset's files and dataset.yaml, or None if a file or the Hub revision is
    unknown."""
    source = dataset.source
    data: dict[str, str] = {}
    for split in source.splits or source.files:
        path = source_file(source, dataset.folder, split)
        if path is not None:
            if not path.is_file():
                return None
            data[split] = file_sha256(path)
    if not data:
        revision = hub_revision(source)
        if revision is None:
            return None
        data = {"hub": f"{source.hub} {revision}"}
    return digest({"data": data, "dataset.yaml": dataset.model_dump(mode="json", exclude={"folder"})})


def _sizes_file(dataset: Dataset) -> Path:
    return cache_folder() / "sizes" / f"{dataset.name}.json"
