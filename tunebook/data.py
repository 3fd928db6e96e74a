"""`tunebook data`: render the rows that a recipe's `datasets:` entry reads."""

from __future__ import annotations

from tunebook.console import Console
from tunebook.dataset import load as load_dataset
from tunebook.dataset import write_rows
from tunebook.errors import GOOD
from tunebook.paths import show
from tunebook.recipes import load
from tunebook.render import render_all
from tunebook.sources import SPLITS


def render_rows(name: str, console: Console) -> int:
    """Render every split of the dataset of recipe `name`; nothing is written if any row is at fault."""
    dataset = load_dataset(load(name).dataset)
    rows = render_all(dataset)
    for split in SPLITS:
        write_rows(dataset.folder / "rows" / f"{split}.jsonl", rows[split])
    counts = ", ".join(f"{len(rows[split])} {split}" for split in SPLITS)
    console.stage("data", f"{counts} rows in {show(dataset.folder / 'rows')}")
    return GOOD
