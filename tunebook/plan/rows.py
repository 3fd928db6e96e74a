"""The number of rows of a recipe and their lengths, as far as they are known without a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tunebook.core.files import AxolotlConfig, read_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.dataset import Dataset
from tunebook.data.files.split_names import SPLITS, Split
from tunebook.data.lengths import Counting, Size, read_sizes
from tunebook.runs.rows import RenderedRow

# English text in the vocabularies of the known models has about four characters per token; three gives an
# upper bound. Each turn adds its role and two markers.
CHARACTERS, FEWEST_CHARACTERS, TURN = 4.0, 3.0, 5


@dataclass(frozen=True)
class Rows:
    """Rows and their lengths in tokens. `lengths` come from a sample of train and are empty if unknown;
    `longest` is one row, `batch` the mean of the longest evaluation batch; `source` says where the numbers
    come from."""

    train: int | None
    dev: int | None
    test: int | None
    lengths: tuple[int, ...]
    longest: int | None
    batch: int
    answer: int
    longest_answer: int
    prompt: int
    source: str

    @property
    def mean(self) -> float | None:
        return sum(self.lengths) / len(self.lengths) if self.lengths else None


def known_rows(dataset: Dataset, sequence_len: int) -> Rows:
    """Return the counts and lengths of a dataset's rows, from the first source available: rows rendered by
    `make data`, counts of `make check` or of a fork, tunebook/plan/sizes.yaml. Otherwise there are no counts,
    and every row is assumed to be `sequence_len` long."""
    folder = ROOT / "datasets" / dataset.name / "rows"
    if all((folder / f"{split}.jsonl").is_file() for split in SPLITS):
        return _rendered(folder)
    if counted := read_sizes(dataset):
        return _counted(counted.rows, counted.sample, counted.longest, "as counted by the last check")
    size = _sizes().get(dataset.name)
    if size:
        return _from_size(size)
    half = sequence_len // 2
    source = f"not read yet (run `make check`); assuming {sequence_len} tokens per row, half of them answer"
    return Rows(None, None, None, (), None, sequence_len, half, half, half, source)


def with_further(rows: Rows, config: AxolotlConfig) -> Rows:
    """Return `rows` with those of the further local JSONL files under `datasets:`, which are trained on too;
    `shards: N` takes one row in N."""
    lengths: list[int] = []
    for entry in (config.get("datasets") or [])[1:]:
        path, field = ROOT / str(entry.get("path")), entry.get("field_messages") or "messages"
        if path.suffix == ".jsonl" and path.is_file():
            read = [row[field] for row in read_jsonl(path) if isinstance(row.get(field), list)]
            some = read[:: int(entry.get("shards") or 1)]
            lengths += [_tokens(sum(len(str(turn.get("content"))) for turn in row), len(row)) for row in some]
    if rows.train is None or not lengths:
        return rows
    known = rows.lengths or (rows.longest or rows.batch,)
    if len(known) > 1:  # a sample stands for all rows: as many of the others as there are to its rows
        step = max(1, round(rows.train / len(known)))
        mixed = tuple(sorted([*known, *lengths[::step]]))
    else:
        mixed = ((known[0] * rows.train + sum(lengths)) // (rows.train + len(lengths)),)
    train, longest = rows.train + len(lengths), max(rows.longest or 0, *lengths)
    return replace(rows, train=train, lengths=mixed, longest=longest)


def rows_of(splits: Mapping[Split, list[RenderedRow]]) -> Rows:
    """Return the counts and lengths of rows that were rendered just now."""
    found = Counting()
    for split, rows in splits.items():
        for row in rows:
            found.add(split, row)
    return _counted(found.rows, found.sample, found.longest, "as read now")


@cache
def _sizes() -> dict[str, Any]:
    return yaml.load((Path(__file__).parent / "sizes.yaml").read_text(), Loader=yaml.CSafeLoader)


def _tokens(characters: float, turns: float = 0, a_token: float = CHARACTERS) -> int:
    return round(characters / a_token + TURN * turns)


def _rendered(folder: Path) -> Rows:
    found = Counting()
    for split in SPLITS:
        with (folder / f"{split}.jsonl").open("rb") as file:
            for line in file:
                found.add(split, json.loads(line))
    return _counted(found.rows, found.sample, found.longest, "as rendered")


def _counted(counts: dict[str, int], sample: list[Size], longest: list[Size], basis: str) -> Rows:
    lengths = sorted(_tokens(size.characters, size.turns) for size in sample)
    answer = _tokens(sum(size.answer for size in sample) / len(sample))
    return Rows(
        counts["train"],
        counts["dev"],
        counts["test"],
        lengths=tuple(lengths),
        longest=max(_tokens(size.characters, size.turns, FEWEST_CHARACTERS) for size in longest),
        batch=round(sum(_tokens(size.characters, size.turns) for size in longest) / len(longest)),
        answer=answer,
        longest_answer=_tokens(max(size.answer for size in sample + longest)),
        prompt=sum(lengths) // len(lengths) - answer,
        source=f"{basis}, {CHARACTERS:.0f} characters per token ({FEWEST_CHARACTERS:.0f} for the longest)",
    )


def _from_size(size: dict[str, Any]) -> Rows:
    row, answer, turns = size["characters"]["row"], size["characters"]["answer"], size["turns"]
    mean, usual = _tokens(row["mean"], turns), _tokens(answer["mean"])
    return Rows(
        **size["rows"],
        lengths=(mean,),
        longest=_tokens(row["longest"], turns, FEWEST_CHARACTERS),
        batch=_tokens(row["batch"], turns),
        answer=usual,
        longest_answer=_tokens(answer["longest"]),
        prompt=mean - usual,
        source=f"{size['basis']} (tunebook/plan/sizes.yaml), {CHARACTERS:.0f} characters per token",
    )
