"""Families of near-duplicates are bounded: a chain of small changes is no group, and shares hold."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from tests.support import similar_chats
from tunebook.core.errors import InputError
from tunebook.data import near_duplicates
from tunebook.data.near_duplicates import LONG, Index, Prompt, changes, repeated
from tunebook.data.sources import Source
from tunebook.data.splits import families, split_rows

SOURCE = {"files": {"train": "a.jsonl"}, "dev_share": 0.1, "test_share": 0.1}


def rendered(count: int) -> list[dict[str, Any]]:
    return [
        {"id": row["id"], "group": row["customer"], "messages": row["messages"], "gold": {"answer": "x"}}
        for row in similar_chats.rows(count)
    ]


@pytest.mark.slow
def test_similar_chats_are_split_by_their_shares() -> None:
    rows, notes = rendered(3000), list[str]()
    result = split_rows(rows, Source.model_validate(SOURCE), False, "dataset.yaml", notes)
    for split, share in (("train", 0.8), ("dev", 0.1), ("test", 0.1)):
        assert abs(len(result[split]) / len(rows) - share) <= 0.03, split  # type: ignore[index]
    own = {row["id"]: row["customer"] for row in similar_chats.rows(3000)}
    customers = [{own[row["id"]] for row in some} for some in result.values()]
    assert not (customers[0] & customers[1] or customers[0] & customers[2] or customers[1] & customers[2])
    assert repeated(result["test"], result["train"]) == repeated(result["dev"], result["train"]) == 0
    assert any("families of near-duplicates" in note for note in notes)
    assert any("NEAR=strict" in note for note in notes)


def test_strict_joins_chains_and_says_what_that_costs() -> None:
    with pytest.raises(InputError) as caught:
        split_rows(rendered(600), Source.model_validate({**SOURCE, "near": "strict"}), False, "dataset.yaml")
    assert caught.value.code in ("split.missed_share", "split.too_few_groups")


def test_off_keeps_the_groups_as_they_come() -> None:
    texts = ["the same text twice over in two groups", "the same text twice over in two groups"]
    assert families(texts, ["a", "b"], ["", ""], "off").groups == ["a", "b"]
    assert families(texts, ["a", "b"], ["", ""]).groups == ["a", "a"]


def test_a_chain_is_no_family() -> None:
    words = "one two three four five six seven eight nine ten eleven twelve".split()
    texts = []
    for step in range(12):  # each differs from the one before by a word
        texts.append(" ".join(words))
        words[step] = f"other{step}"
    groups = families(texts, [str(n) for n in range(12)], [""] * 12).groups
    assert groups[0] != groups[-1]
    assert len(set(groups)) > 2
    assert len(set(families(texts, [str(n) for n in range(12)], [""] * 12, "strict").groups)) == 1


def test_one_large_group_stops_the_split() -> None:
    rows = rendered(200)
    for row in rows[:120]:
        row["group"] = "big"
    with pytest.raises(InputError) as caught:
        split_rows(
            rows,
            Source.model_validate({**SOURCE, "dev_share": 0.3, "test_share": 0.3}),
            False,
            "dataset.yaml",
        )
    assert caught.value.code == "split.missed_share"
    assert "'big'" in str(caught.value) and "GROUP=" in str(caught.value)


def test_texts_without_blanks_are_near_by_their_letters() -> None:
    texts = [
        f"\u6211\u60f3\u53d6\u6d88\u4e0a\u4e2a\u6708\u7684\u8ba2\u5355{end}"
        for end in ("\u3002", "\u5417\uff1f")
    ]
    other = "\u8bf7\u95ee\u4f60\u4eec\u51e0\u70b9\u5f00\u95e8\u5462"
    groups = families([*texts, other], ["a", "b", "c"], ["", "", ""]).groups
    assert groups[0] == groups[1] != groups[2]


@pytest.mark.parametrize("length", [10, LONG + 100])
def test_pairs_that_are_not_compared_word_by_word_are_never_near(length: int) -> None:
    drawn = random.Random(length)
    vocabulary = [f"w{number}" for number in range(300)]
    texts = []
    for _ in range(40):
        base = drawn.choices(vocabulary, k=length)
        for changed in (0, 1, 2, 3, length // 12, length // 6):
            own = list(base)
            for place in drawn.sample(range(length), changed):
                own[place : place + 1] = drawn.choice(([], ["new"], ["two", "more"]))
            texts.append(Prompt(own, drawn.choice(["", "a", "b"]), drawn.randrange(60)))
    index = Index(texts)
    place = {number: at for at, number in enumerate(index.numbers)}
    pairs = [pair for pair in combinations(range(len(texts)), 2) if set(pair) <= set(place)]
    ones, others = (np.array([place[pair[side]] for pair in pairs]) for side in (0, 1))
    able = index.mine.may_be_near(ones, index.mine, others)
    near = [changes(texts[one], texts[other]) is not None for one, other in pairs]
    assert sum(near) > 100
    assert not any(found and not kept for found, kept in zip(near, able, strict=True))
    assert sum(able) < 3 * sum(near)


def test_a_text_that_was_compared_before_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [Prompt(f"the {n} lamps of the quay are lit before six".split(), "", n) for n in range(40)]
    first = sorted(Index(texts).near())
    monkeypatch.setattr(near_duplicates, "_no_words", None)  # which every new signature starts from
    assert sorted(Index(texts).near()) == first and first
