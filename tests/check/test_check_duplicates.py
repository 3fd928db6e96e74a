"""Planted leaks are found, and what was never planted is not held against the data."""

from __future__ import annotations

import csv
import os
import random
from pathlib import Path

import pytest

from tests.support.small_data import dataset, seen
from tunebook.check.duplicates import SAME_WORDS, Duplicates, Where
from tunebook.check.findings import Findings
from tunebook.check.rows import Rows, Sample, Seen, survey, without_boilerplate
from tunebook.core.files import read_jsonl
from tunebook.core.paths import ROOT
from tunebook.data import cache
from tunebook.data.dataset import Dataset
from tunebook.data.near_duplicates import Index, Prompt, boilerplate, changes, words
from tunebook.data.render import render_whole
from tunebook.data.splits import families

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
    assert changes(Prompt(a.split(), "", 1), Prompt(b.split(), "", 2)) == count


def test_other_labels_and_one_group_are_never_near() -> None:
    one = Prompt(words(SENTENCES[0]), "acorn", 1)
    assert changes(one, one._replace(group=2)) == 0
    assert changes(one, one._replace(group=2, label="")) == 0, "what has no label fits every label"
    assert changes(one, one._replace(group=2, label="beech")) is None
    assert changes(one, one) is None


def test_the_without_boilerplate_texts() -> None:
    texts = [words(f"Name the tree: {'tall ' * n}tree {n}. In a word!") for n in range(20)]
    assert boilerplate(texts)(texts[2]) == ["tall", "tall", "tree", "2"]
    assert boilerplate(texts)(["name", "the", "tree"]) == ["name", "the", "tree"], "has no boilerplate"
    assert boilerplate(texts[:19])(texts[2]) == texts[2], "too few to tell"


INTENTS = [
    row for split in ("train", "dev", "test")
    for row in read_jsonl(ROOT / "datasets" / "kettlewick-intents" / "source" / f"{split}.jsonl")
]  # fmt: skip
FRAMES = pytest.mark.parametrize("form", ["{}", "Which of our intents is this one: {} (in one word)"])


def intents_with_leaks(form: str) -> list[dict[str, str]]:
    draw = random.Random(5)
    leaks = [{**row, "text": one_or_two_changes(row["text"], draw)} for row in INTENTS[::4]]
    return [
        {"text": form.format(row["text"]), "label": row["label"], "id": str(number)}
        for number, row in enumerate([*INTENTS, *leaks, *INTENTS[::50]])
    ]


@FRAMES
@pytest.mark.parametrize("labelled", [True, False])
def test_fork_keeps_together_exactly_what_check_reports_across_splits(
    form: str, labelled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = intents_with_leaks(form)
    texts, draw = [row["text"] for row in rows], random.Random(6)
    labels = [row["label"] if labelled else "" for row in rows]
    groups = families(texts, [row["id"] for row in rows], labels).groups
    split = [draw.choice(("test", "train")) for _ in rows]
    reported = set()

    def report(self: Duplicates, row: Seen, kind: str, where: Where, more: str, *, code: str) -> None:
        assert groups[row.line] == groups[where[2]]
        if where[0] != row.split:
            reported.add(groups[where[2]])

    monkeypatch.setattr(Duplicates, "_report", report)
    watcher = Duplicates(Findings(), None, tmp_path, boilerplate(map(words, texts)), labelled)
    for name in ("test", "train"):
        for number, row in enumerate(rows):
            if split[number] == name:
                watcher.see(seen(name, number, row["text"], row["label"]))
    watcher.finish()
    over = {"test": set[str](), "train": set[str]()}
    for group, name in zip(groups, split, strict=True):
        over[name].add(group)
    assert reported == over["test"] & over["train"]
    assert 100 < len(reported) < len(INTENTS) / 3, "the planted ones, not all"


@FRAMES
def test_check_finds_nothing_across_splits_that_fork_has_cut(form: str, tmp_path: Path) -> None:
    cut = {"files": {"train": "train.jsonl"}, "dev_share": 0.1, "test_share": 0.2}
    labels = sorted({row["label"] for row in INTENTS})
    data = dataset(tmp_path, {"train": intents_with_leaks(form)}, source=cut, labels=labels)
    found = Findings()
    survey(data, [Duplicates(found, None, tmp_path / "none", without_boilerplate(data), True)], found)
    assert sum(found.facts["rows"].values()) > len(INTENTS)
    assert any("near-duplicates inside" in kind or "close" in kind for kind in counts(found))
    assert not any(ACROSS in kind for kind in counts(found))


def of_check(data: Dataset, rows: Rows | None, folder: Path) -> list[tuple[str, str, str]]:
    """Return kind, place and text of each finding on repeated texts. A row that repeats another is near what
    the other is near: that is said of either, and left out here."""
    found = Findings()
    sample = Sample(found)
    strip, labelled = without_boilerplate(data), bool(data.labels)
    near = Duplicates(found, sample, folder / "none", strip, labelled, rows)
    survey(data, [sample, near], found, None, rows)
    told = [(kind, one) for (_, kind), some in found.kinds.items() for one in some.shown]
    assert found.facts["near-duplicates inside train"]["rows"] == found.facts["rows"]["train"]
    same = [(kind, one) for kind, one in told if one.code in ("duplicates.exact", "duplicates.same_words")]
    repeats = {(one.file, one.line) for _, one in same}
    near = [(kind, one) for kind, one in told if (one.file, one.line) not in repeats]
    others = [f" is near {file}:{line}, " for file, line in repeats]
    told = same + [(kind, one) for kind, one in near if not any(other in one.text for other in others)]
    return sorted((kind, f"{one.file}:{one.line}", one.text) for kind, one in told)


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
def test_near_duplicates_are_looked_for_once(
    labelled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By cutting the splits, or by the first check where files are the splits; and reported as if anew."""
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path / "cache"))
    labels = sorted({row["label"] for row in INTENTS}) if labelled else []
    rows = intents_with_leaks("{}")
    more = {"labels": labels} if labelled else {"labels": [], "task": "chat", "turns": None}
    cut = {"files": {"train": "train.jsonl"}, "dev_share": 0.1, "test_share": 0.2}
    parts = {"train": rows[::2], "dev": rows[1::4], "test": rows[3::4]}
    for name, given in {"cut": {"source": cut, **more}, "files": more}.items():
        own = {"train": rows} if name == "cut" else parts
        data = dataset(tmp_path / name, own, **given)
        anew = {*of_check(data, None, tmp_path)}
        assert len(anew) > 100
        whole = render_whole(data)
        assert (whole.near is not None) == (name == "cut")
        if name == "cut":
            assert not {*of_check(data, Rows(data), tmp_path)} ^ anew  # nothing is in the cache
        cache.keep(data, whole)
        assert not {*of_check(data, Rows(data), tmp_path)} ^ anew
        with monkeypatch.context() as patch:
            patch.setattr("tunebook.check.duplicates.Index", only_nothing)
            assert not {*of_check(data, Rows(data), tmp_path)} ^ anew


def only_nothing(texts: list[Prompt]) -> Index:
    assert texts == [], "the rows are compared again"
    return Index(texts)


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


@pytest.mark.slow
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
    watcher = Duplicates(found, None, tmp_path, labelled=True)
    original = watcher._report

    def report(row: Seen, kind: str, where: Where, more: str, *, code: str) -> None:
        if row.split == "train" and where[0] == "test":
            reported.setdefault(kind, set()).add(where[2])
        original(row, kind, where, more, code=code)

    watcher._report = report  # type: ignore[method-assign]
    for row in rows:
        watcher.see(row)
    watcher.finish()
    exact, same = reported["exact duplicates"], reported[SAME_WORDS]
    near, close = reported["near-duplicates"], reported["close texts, at most two words apart"]
    assert exact >= set(range(10_000, 10_020)), "every exact leak"
    assert exact | same >= set(range(10_020, 10_040)), "every normalised leak"
    assert len((exact | same | near | close) & set(range(10_040, 10_060))) >= 18, "nine in ten of the third"
    assert real <= exact | same
    alarms = {line for line in near if line < 10_000}
    assert len(alarms) < 0.01 * len(test)
