"""Splits without leaks: groups and duplicates stay together, labels keep their shares, time goes forward."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tunebook.core.errors import InputError, RowFault
from tunebook.core.files import read_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.data.near_duplicates import repeated
from tunebook.data.sources import Source
from tunebook.data.splits import families, split_rows, time_of

SOURCE = {"files": {"train": "a.jsonl"}, "dev_share": 0.1, "test_share": 0.2}
INTENTS = [
    row for split in ("train", "dev", "test")
    for row in read_jsonl(ROOT / "datasets" / "kettlewick-intents" / "source" / f"{split}.jsonl")
]  # fmt: skip


def rendered(texts: list[str], **columns: list[Any]) -> list[dict[str, Any]]:
    rows = []
    for index, text in enumerate(texts):
        more = {name: values[index] for name, values in columns.items()}
        answer = more.pop("label", "x")
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
        rows.append(
            {"id": f"{index}", "group": f"{index}", "messages": turns, "gold": {"answer": answer}, **more}
        )
    return rows


def alone(texts: list[str]) -> list[str]:
    return families(texts, [str(index) for index in range(len(texts))], [""] * len(texts)).groups


def test_what_is_together() -> None:
    long = "please tell me when the burrow at the harbour opens"
    texts = [
        long,
        f"{long.upper()}!",
        long.replace("harbour", "old mill"),
        "the tap drips",
        "the tap runs",
        "The tap drips.",
    ]
    assert alone(texts) == ["0", "0", "0", "3", "4", "3"]
    assert families(texts, list("abcdea"), [""] * 6).groups == ["a", "a", "a", "a", "e", "a"], (
        "groups are merged"
    )
    labels = ["x", "x", "y", "", "", ""]
    assert families(texts, list("abcdef"), labels).groups[2] == "c", "another label, another text"
    assert families(["!", "?", "!"], list("abc"), [""] * 3).groups == ["a", "b", "a"], "texts without words"
    assert families([], [], []).groups == []


@pytest.mark.slow
def test_no_duplicate_straddles_a_cut() -> None:
    texts = [row["text"] for row in INTENTS]
    rows = rendered(texts + texts[:300], label=[row["label"] for row in INTENTS + INTENTS[:300]])
    found = split_rows(rows, Source.model_validate(SOURCE), True, "dataset.yaml")
    assert sorted(found) == ["dev", "test", "train"]
    assert sum(map(len, found.values())) == len(rows)
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert repeated(found[one], found[other]) == 0  # type: ignore[index]
    assert abs(len(found["test"]) - 0.2 * len(rows)) < 0.03 * len(rows)
    assert abs(len(found["dev"]) - 0.1 * len(rows)) < 0.03 * len(rows)
    counts = Counter(row["gold"]["answer"] for row in found["test"])
    assert len(counts) == 14 and max(counts.values()) < 2 * min(counts.values())


def test_a_cut_is_the_same_every_time() -> None:
    def ids() -> list[str]:
        rows = rendered([row["text"] for row in INTENTS])
        return [row["id"] for row in split_rows(rows, Source.model_validate(SOURCE), False, "x")["test"]]

    assert ids() == ids()


def test_by_time_the_newest_groups_are_cut_off_whole() -> None:
    rows = rendered([f"text {n}" for n in range(20)], time=[float(n) for n in range(20)])
    for row, group in zip(rows, "aabbccddeeffgghhiija", strict=True):
        row["group"] = group
    found = split_rows(rows, Source.model_validate({**SOURCE, "by_time": "day"}), False, "x")
    assert {row["group"] for row in found["test"]} == {"a", "j"}, "a has the newest row"
    assert {row["group"] for row in found["dev"]} == {"i"}
    assert all("time" not in row for some in found.values() for row in some)


def test_too_few_groups() -> None:
    rows = rendered([f"text {n}" for n in range(9)])
    for row in rows:
        row["group"] = "one"
    with pytest.raises(InputError) as caught:
        split_rows(rows, Source.model_validate(SOURCE), False, "dataset.yaml")
    (problem,) = caught.value.problems
    assert (problem.code, problem.file, problem.key) == ("split.too_few_groups", "dataset.yaml", "source")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (5, 5.0),
        ("5.5", 5.5),
        ("1970-01-02", 86400.0),
        ("1970-01-01T00:00:01+00:00", 1.0),
        ("1970-01-01 01:00:00+01:00", 0.0),
    ],
)
def test_times(value: Any, seconds: float) -> None:
    assert time_of({"day": value}, "day") == seconds


@pytest.mark.parametrize("value", ["", "soon", None, True, [1]])
def test_no_times(value: Any) -> None:
    with pytest.raises(RowFault, match="not a time"):
        time_of({"day": value}, "day")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"files": {"train": "a", "test": "b"}, "dev_share": 0.1, "test_share": 0.1}, "both a test split"),
        ({"files": {"train": "a", "dev": "b", "test": "c"}, "by_time": "day"}, "by_time has no effect"),
        ({**SOURCE, "columns": {"text": "a"}}, "columns only applies to"),
        ({**SOURCE, "reader": "other"}, "Input should be"),
    ],
)
def test_sources_that_make_no_sense(source: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Source.model_validate(source)


def test_public_sets_keep_their_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A dev split is cut off in the groups of dataset.yaml where no rows ask the same."""
    from tunebook.data.render import render_all

    monkeypatch.setenv("TUNEBOOK_SOURCES", str(ROOT / "tests" / "twins"))
    rows = render_all(load_dataset_config("oasst2"))
    assert not {row["group"] for row in rows["train"]} & {row["group"] for row in rows["dev"]}
