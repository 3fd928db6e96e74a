"""How long rows are: in tokens of the trial tier's base model, and in characters, kept for `tunebook plan`.

Characters are counted as `tunebook check` reads the rows (a fork ends with it), into
TUNEBOOK_CACHE/sizes/NAME.json, which counts for as long as the files and dataset.yaml stay the same.
"""

from __future__ import annotations

import heapq
import json
import random
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from tunebook.core.files import digest, file_sha256, write_text
from tunebook.core.paths import cache_folder
from tunebook.data.dataset import Dataset
from tunebook.data.sources import hub_revision, source_file
from tunebook.data.token_counts import count_tokens
from tunebook.data.tool_calls import texts, written
from tunebook.models import trial_model
from tunebook.runs.rows import RenderedRow

MEASURED = 2000  # rows: the longest by their letters, and as many taken evenly
COUNTED = 100  # rows, where about so many tokens are enough
TURN, ROW = 5, 24  # tokens that a chat template adds to a turn, and to a row (a default system turn)
TOOLS_ARE = "word " * 40  # what a template says of tools before it lists them
STEP = 64  # sequence lengths are multiples of it
TRIAL_LENGTHS = (1024, 2048, 4096, 8192)  # sequence lengths of the trial tier; its base has 8,192 positions
FEWEST_ROWS = 30  # rows; fewer train nothing that could be measured
KEPT, KEPT_LONGEST, SEED = 5000, 24, 42  # rows of train whose size is kept, and its longest
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


def about(rows: list[RenderedRow], counter: TokenCounter | None = None) -> list[int]:
    """Return about how many tokens each row has: its letters, by the tokens a letter of `COUNTED` rows."""
    some = rows[:: max(1, -(-len(rows) // COUNTED))]
    a_letter = sum((counter or TokenCounter()).rows(some)) / max(1, sum(map(_letters, some)))
    return [round(_letters(row) * a_letter) for row in rows]


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


class Size(NamedTuple):
    """Characters of a rendered row, its turns, and characters of its answer."""

    characters: int
    turns: int
    answer: int


def size(row: RenderedRow) -> Size:
    """Return the size of a rendered row."""
    return Size(sum(map(len, texts(row))), len(row["messages"]), len(written(row["messages"][-1])))


class Sizes(BaseModel):
    """Rows of each split; the sizes of a sample of train, and of its longest rows."""

    content: str
    rows: dict[str, int]
    sample: list[Size]
    longest: list[Size]


@dataclass
class Counting:
    """Collects the sizes of rows as they are read, in any order of splits."""

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
        """Keep what was counted, if all of it could be read and is known to be of these files."""
        key = content_of(dataset)
        if key and all(self.rows.values()):
            kept = Sizes(content=key, rows=self.rows, sample=self.sample, longest=self.longest)
            file = _sizes_file(dataset)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, kept.model_dump_json())


def read_sizes(dataset: Dataset) -> Sizes | None:
    """Return what was counted of `dataset`, None where it was not or its files have changed since."""
    file = _sizes_file(dataset)
    if not file.is_file():
        return None
    try:
        found = Sizes.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, ValidationError):  # of another version, or damaged
        return None
    return found if found.content == content_of(dataset) else None


def content_of(dataset: Dataset) -> str | None:
    """Return the hash of a dataset's files and dataset.yaml, None where a file or the Hub's revision is not
    known."""
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
