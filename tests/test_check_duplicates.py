"""Planted leaks are found, and what was never planted is not held against the data."""

from __future__ import annotations

import csv
import os
import random
from pathlib import Path

import pytest

from tests.small_data import seen
from tunebook.check.duplicates import SAME_WORDS, Duplicates, changes
from tunebook.check.findings import Findings
from tunebook.check.rows import Sample, Seen

ACROSS = "across splits"
EXACT, SAME = f"exact duplicates {ACROSS}", f"{SAME_WORDS} {ACROSS}"
NEAR, CLOSE = f"near-duplicates {ACROSS}", f"close texts, at most two words apart {ACROSS}"
SENTENCES = [
    "The ferry to the outer island leaves at seven when the tide allows it",
    "Please hold my place in the queue for the small sewing machine until Friday",
    "Nobody told us that the greenhouse would be locked over the whole weekend",
    "Could somebody explain how the lamp with two switches is meant to work",
]


def watch(rows: list[Seen], folder: Path, sample: bool = False) -> Findings:
    """Show rows to the watcher, without evaluation texts, and return what it found."""
    found = Findings()
    drawn = Sample(found) if sample else None
    watcher = Duplicates(found, drawn, folder)
    for row in rows:
        if drawn:
            drawn.see(row)
        watcher.see(row)
    watcher.finish()
    return found


def counts(found: Findings) -> dict[str, int]:
    return {name: kind.count for (_, name), kind in found.kinds.items()}


def one_or_two_changes(text: str, random_: random.Random) -> str:
    """Return `text` with one or two words replaced, dropped or added."""
    words = text.split()
    for _ in range(random_.choice((1, 2))):
        place = random_.randrange(len(words))
        how = random_.choice(("replace", "drop", "add"))
        words[place : place + (how != "add")] = [] if how == "drop" else [random_.choice(OTHER)]
    return " ".join(words)


OTHER = "harbour lantern seventy quickly beneath violet account maybe window never".split()


@pytest.mark.parametrize(
    ("a", "b", "count"),
    [
        ("a b c d e f g h", "a b c d e f g h", 0),
        ("a b c d e f g h", "a b x d e f y h", 2),
        ("a b c d e f g h", "a b x d e z y h", None),
        ("a b c d e f g h", "b c d e f g", 2),  # eight words before two were dropped
        ("a b c d e f g", "b c d e f g", None),  # fewer than eight words
        (" ".join(map(str, range(48))), " ".join(map(str, range(44))), 4),  # one in twelve
        (" ".join(map(str, range(48))), " ".join(map(str, range(43))), None),
    ],
)
def test_words_that_differ(a: str, b: str, count: int | None) -> None:
    assert changes(a.split(), b.split()) == count


def test_each_kind_across_splits(tmp_path: Path) -> None:
    rows = [seen("test", line, text) for line, text in enumerate(SENTENCES, 1)]
    rows += [
        seen("train", 1, SENTENCES[0]),
        seen("train", 2, SENTENCES[1].upper() + "!"),
        seen("train", 3, SENTENCES[2].replace("whole", "entire")),
        seen("train", 4, SENTENCES[3].replace("two", "three"), answer="beech"),
        seen("train", 5, "An unrelated line about boats, and it is long enough to be compared"),
    ]
    found = watch(rows, tmp_path)
    assert counts(found) == {EXACT: 1, SAME: 1, NEAR: 1, CLOSE: 1}
    near = found.kinds[("warning", NEAR)].shown[0]
    assert near.line == 3 and "test.jsonl:3, 1 of 13 words differ" in near.text
    assert "'acorn'" in found.kinds[("note", CLOSE)].shown[0].text, "answers that differ are shown"


def test_inside_a_split_it_is_a_note_and_one_group_may_repeat_itself(tmp_path: Path) -> None:
    rows = [
        seen("train", 1, SENTENCES[0]),
        seen("train", 2, SENTENCES[0]),
        seen("train", 3, SENTENCES[1], group="g"),
        seen("train", 4, SENTENCES[1].replace("small", "large"), group="g"),
        seen("train", 5, SENTENCES[2]),
        seen("train", 6, SENTENCES[2].replace("whole", "entire")),
    ]
    found = watch(rows, tmp_path, sample=True)
    assert counts(found) == {"exact duplicates inside train": 1, "near-duplicates inside train": 1}
    assert {grade for grade, _ in found.kinds} == {"note"}


def test_rows_that_are_evaluation_texts_are_found(tmp_path: Path) -> None:
    (tmp_path / "general.jsonl").write_text(f'{{"id": "g1", "text": "{SENTENCES[0]}"}}\n')
    found = watch([seen("train", 7, SENTENCES[0].replace("seven", "eight"))], tmp_path)
    (finding,) = found.kinds[("warning", "near-duplicates with evaluation texts")].shown
    assert finding.line == 7 and "general.jsonl:1" in finding.text


def banking(split: str) -> list[dict[str, str]]:
    folder = os.environ.get("TUNEBOOK_TEST_DATA")
    if not folder:
        pytest.skip("TUNEBOOK_TEST_DATA is not set: no real data here")
    with (Path(folder) / "banking77" / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{**row, "text": row["text"].strip()} for row in rows]  # as rendering does


def test_leaks_planted_into_banking77(tmp_path: Path) -> None:
    """20 exact, 20 but for case, spaces and punctuation, 20 of eight words or more with one or two words
    changed; and the six of its test rows that are train rows by themselves. Alarms (warnings) that were
    not planted stay under 1 % of the test rows. Many of its rows really are two words apart: those are
    notes, not alarms."""
    train, test = banking("train"), banking("test")
    draw = random.Random(7)
    longer = [row for row in train if len(row["text"].split()) >= 8]
    planted = draw.sample(longer, 60)
    rows = [seen("test", line, row["text"], row["category"]) for line, row in enumerate(test, 1)]
    asked = {row["text"].strip().casefold() for row in train}
    real = {line for line, row in enumerate(test, 1) if row["text"].strip().casefold() in asked}
    assert len(real) == 6
    makers = (
        lambda text: text,
        lambda text: f"  {text.upper().replace(' ', '  ')} ...",
        lambda text: one_or_two_changes(text, draw),
    )
    for number, row in enumerate(planted):
        text = makers[number // 20](row["text"])
        rows.append(seen("test", 10_000 + number, text, row["category"]))
    rows += [seen("train", line, row["text"], row["category"]) for line, row in enumerate(train, 1)]

    reported: dict[str, set[int]] = {}
    found = Findings()
    watcher = Duplicates(found, None, tmp_path)
    original = watcher._report

    def report(row: Seen, kind: str, place: tuple[str, str], line: int, more: str) -> None:
        if row.split == "train" and place[0] == "test":
            reported.setdefault(kind, set()).add(line)
        original(row, kind, place, line, more)

    watcher._report = report  # type: ignore[method-assign]
    for row in rows:
        watcher.see(row)
    exact, same = reported["exact duplicates"], reported[SAME_WORDS]
    near, close = reported["near-duplicates"], reported["close texts, at most two words apart"]
    assert exact >= set(range(10_000, 10_020)), "every exact leak"
    assert exact | same >= set(range(10_020, 10_040)), "every normalised leak"
    assert len((exact | same | near | close) & set(range(10_040, 10_060))) >= 18, "nine in ten of the third"
    assert real <= exact | same
    alarms = {line for line in near if line < 10_000}
    assert len(alarms) < 0.01 * len(test)
