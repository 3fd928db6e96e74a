"""The project's own rows: counts, no leak between splits, no frames, the house voice kept."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from rapidfuzz import fuzz, process

from tunebook.core.files import Row
from tunebook.data.dataset import Dataset, load_dataset_config
from tunebook.data.files.split_names import SPLITS
from tunebook.data.style_rules import rules_met

COUNTS = {
    "kettlewick-intents": {"train": 600, "dev": 120, "test": 300},
    "kettlewick-chat": {"train": 200, "dev": 40, "test": 150},
    "kettlewick-handbook": {"train": 300, "dev": 60, "test": 150},
}
# Two texts this alike say the same thing; test_the_threshold_catches_a_changed_word holds it to that.
ALIKE = 80
INTENTS, CHAT, HANDBOOK = (load_dataset_config(name) for name in COUNTS)


def source(dataset: Dataset) -> dict[str, list[Row]]:
    """Return the source rows by split, wherever TUNEBOOK_SOURCES points."""
    rows = {}
    for split in SPLITS:
        raw = (dataset.folder / dataset.source.files[split]).read_bytes()
        rows[split] = [json.loads(line) for line in raw.split(b"\n") if line.strip()]
    return rows


ROWS = {dataset.name: source(dataset) for dataset in (INTENTS, CHAT, HANDBOOK)}


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.casefold().replace("\u2019", "'"))


def asked(row: Row) -> list[str]:
    """Return what the member wrote, turn by turn."""
    if "question" in row:
        return [row["question"]]
    return [row["text"]] if "text" in row else [t["content"] for t in row["turns"] if t["role"] == "user"]


def opening(row: Row) -> str:
    return asked(row)[0]


def passage(row: Row) -> str:
    return row["text"]


def last_answer(row: Row) -> str:
    return row["turns"][-1]["content"]


def alike(some: list[str], others: list[str]) -> np.ndarray:
    """Return how alike each pair is, 0 to 100: as written, or with the words in any order."""
    one, two = ([" ".join(words(text)) for text in texts] for texts in (some, others))
    scorers = (fuzz.ratio, fuzz.token_sort_ratio)
    return np.maximum(*(process.cdist(one, two, scorer=scorer, workers=1) for scorer in scorers))


TEXTS = [
    ("kettlewick-intents", opening),
    ("kettlewick-chat", opening),
    ("kettlewick-chat", last_answer),
    ("kettlewick-handbook", opening),
]
BOTH = pytest.mark.parametrize("name", COUNTS)
EACH_TEXT = pytest.mark.parametrize(("name", "text"), TEXTS)


@BOTH
def test_counts(name: str) -> None:
    assert {split: len(rows) for split, rows in ROWS[name].items()} == COUNTS[name]
    ids = [row["id"] for rows in ROWS[name].values() for row in rows]
    assert len(set(ids)) == len(ids)


def test_every_label_is_in_every_split() -> None:
    assert len(INTENTS.labels) >= 12
    for rows in ROWS[INTENTS.name].values():
        counts = Counter(row["label"] for row in rows)
        assert set(counts) == set(INTENTS.labels)
        assert max(counts.values()) < 2 * min(counts.values())


def test_the_guide_has_the_labels_and_rules_of_dataset_yaml() -> None:
    guide = (INTENTS.folder / "GUIDE.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE) == INTENTS.labels
    guide = (CHAT.folder / "GUIDE.md").read_text(encoding="utf-8")
    assert re.findall(r"^\d+\. \*\*(\w+)\*\*", guide, re.MULTILINE) == list(CHAT.rules)


@pytest.mark.parametrize(
    ("name", "field"),
    [("kettlewick-intents", "customer"), ("kettlewick-chat", "id"), ("kettlewick-handbook", "passage")],
)
def test_groups_never_straddle_splits(name: str, field: str) -> None:
    groups = {split: {row[field] for row in rows} for split, rows in ROWS[name].items()}
    for one, two in combinations(SPLITS, 2):
        assert sorted(groups[one] & groups[two]) == [], f"{field} in {one} and {two}"


def test_customers_of_the_test_split() -> None:
    counts = Counter(row["customer"] for row in ROWS[INTENTS.name]["test"])
    assert len(counts) >= 40
    assert max(counts.values()) <= 8


def test_several_tones() -> None:
    for rows in ROWS[INTENTS.name].values():
        tones = Counter(row["tone"] for row in rows)
        assert len(tones) >= 10
        assert max(tones.values()) < len(rows) / 10


def test_passages_of_the_handbook() -> None:
    texts = {
        split: {row["passage"]: passage(row) for row in rows} for split, rows in ROWS[HANDBOOK.name].items()
    }
    assert sum(map(len, texts.values())) >= 60
    assert len(texts["test"]) >= 25
    for one, two in combinations(SPLITS, 2):
        scores = alike(list(texts[one].values()), list(texts[two].values()))
        assert scores.max() < ALIKE, f"{one} and {two}"


@pytest.mark.parametrize("split", SPLITS)
def test_answers_of_the_handbook(split: str) -> None:
    rows = ROWS[HANDBOOK.name][split]
    assert all(answer in passage(row) for row in rows for answer in row["answers"]), "cut from the passage"
    assert sum(not row["answers"] for row in rows) / len(rows) == pytest.approx(0.15, abs=0.02)
    assert sum(len(row["answers"]) > 1 for row in rows) > len(rows) / 4, "several golds where natural"


@EACH_TEXT
def test_no_duplicates(name: str, text: type) -> None:
    """Also none within a split: a repeated row would count twice."""
    plain = Counter(re.sub(r"[\W_]+", "", text(r).casefold()) for rows in ROWS[name].values() for r in rows)
    assert not [key for key, count in plain.items() if count > 1]


@EACH_TEXT
def test_no_near_duplicates_across_splits(name: str, text: type) -> None:
    for one, two in combinations(SPLITS, 2):
        some, others = ([text(row) for row in ROWS[name][split]] for split in (one, two))
        scores = alike(some, others)
        found = [(some[i], others[j]) for i, j in np.argwhere(scores >= ALIKE)]
        assert not found, f"{one} and {two}"


@EACH_TEXT
def test_the_threshold_catches_a_changed_word(name: str, text: type) -> None:
    """Were dev's texts in test with one word swapped for another, nearly all would be found."""
    given = [words(text(row)) for row in ROWS[name]["dev"]]
    given = [some for some in given if len(some) >= 5]
    middle = [len(some) // 2 for some in given]
    changed = [some[:at] + ["wardrobe"] + some[at + 1 :] for some, at in zip(given, middle, strict=True)]
    scores = alike([" ".join(some) for some in given], [" ".join(some) for some in changed])
    assert (np.diag(scores) >= ALIKE).mean() > 0.95


@BOTH
def test_no_frame_repeats(name: str) -> None:
    rows = [row for some in ROWS[name].values() for row in some]
    frames: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        turns = [words(turn) for turn in asked(row)]
        frames.update({tuple(turn[i : i + 6]) for turn in turns for i in range(len(turn) - 5)})
    frame, count = frames.most_common(1)[0]
    assert count <= 0.02 * len(rows), " ".join(frame)


@BOTH
def test_openings_differ(name: str) -> None:
    for rows in ROWS[name].values():
        starts = [tuple(words(opening(row))[:3]) for row in rows]
        assert len(set(starts)) / len(starts) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_keeps_the_house_voice(split: str) -> None:
    broken = []
    for row in ROWS[CHAT.name][split]:
        for turn in row["turns"]:
            if turn["role"] == "assistant":
                met = rules_met(CHAT.rules, turn["content"], {"member": row["member"]})
                broken += [(row["id"], name, turn["content"]) for name, good in met.items() if not good]
    assert not broken
