"""Which turns are scored, which only repeat others, and which one is generated."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.dialogues import TOPICS, dialogues, talk
from tunebook.data.formats.turns import Repeats, count, ordinal, to_generate, trained, up_to


@pytest.fixture
def talks() -> list[dict[str, Any]]:
    return dialogues(greeting=True)


def test_turns_are_drawn_by_what_they_say(talks: list[dict[str, Any]]) -> None:
    for seed in range(20):
        assert [row["turn"] for row in to_generate(talks, seed)] == [3] * 6
    assert vars(count(talks)) == {"turns": 18, "repeated": 12, "last": 6, "last_repeated": 6}
    row = to_generate(talks, 0)[1]
    assert row["messages"][-1]["content"] == row["gold"]["answer"] == TOPICS[1][1]
    assert row["gold"]["member"] == "t1" and len(row["messages"]) == 4
    assert len(talks[1]["messages"]) == 6, "the row itself is left whole"


def test_a_turn_that_says_more_is_drawn_more_often() -> None:
    row = talk("t", "Well?", "Yes indeed.", "And?", " ".join(answer for _, answer in TOPICS))
    rows = [row, talk("u", "a", "b c", "d", "e f")]
    drawn = [to_generate(rows, seed)[0]["turn"] for seed in range(300)]
    assert drawn == [to_generate(rows, seed)[0]["turn"] for seed in range(300)], "seeded"
    assert set(drawn) == {1, 3} and drawn.count(3) > 250


def test_where_all_repeat_one_is_drawn_all_the_same() -> None:
    rows = [talk(f"t{n}", "Hi.", "Good morning.", "Bye.", "Good night.") for n in range(5)]
    assert vars(count(rows)) == {"turns": 10, "repeated": 10, "last": 5, "last_repeated": 5}
    assert {row["turn"] for seed in range(20) for row in to_generate(rows, seed)} == {1, 3}


def test_rows_of_one_conversation_do_not_repeat_each_other() -> None:
    """Some files have a row for each beginning of a conversation."""
    turns = ("Hi.", "The lamp is brass.", "And?", "The lid is recalled, bring it.")
    rows = [talk("a", *turns[:2], group="g"), talk("b", *turns, group="g"), talk("c", "x", "Its own words.")]
    assert count(rows) is not None and count(rows).repeated == 0
    others = [row | {"group": row["id"]} for row in rows]
    assert count(others).repeated == 2


@pytest.mark.parametrize(
    ("texts", "repeated"),
    [
        (
            [
                "\u795d\u60a8\u6109\u5feb\u3002",
                "\u4e0d\u5ba2\u6c14\uff0c\u795d\u60a8\u6109\u5feb\uff01",
                "\u4e0d\u5ba2\u6c14\u3002",
            ],
            [True, True, True],
        ),
        (["\u623f\u95f4\u5728\u4e09\u697c\u3002", "\u623f\u95f4\u5728\u4e8c\u697c\u3002"], [False, False]),
        (["17.30", "18.05", "17.30"], [True, False, True]),
        (["Yes.", "yes", "No."], [True, True, False]),
        (["\U0001f44d", "\U0001f44e"], [True, True]),  # no words at all
    ],
)
def test_what_repeats_in_other_scripts_and_short_answers(texts: list[str], repeated: list[bool]) -> None:
    rows = [talk(f"t{n}", "?", f"Own {n} {chr(97 + n) * 3}", "?", text) for n, text in enumerate(texts)]
    found = Repeats.of(rows)
    assert [found.repeated(text) for text in texts] == repeated


def test_common_means_one_in_a_hundred_of_many() -> None:
    rows = [talk(f"t{n}", "?", f"Word{n} alone", "?", f"Line {n // 2} is late") for n in range(1000)]
    assert count(rows).repeated == 0, "two of a thousand"
    assert count(rows[:100]).last_repeated == 100


def test_turns_of_weight_0_are_neither_scored_nor_generated() -> None:
    learned = {"content": "The lid is recalled.", "weight": 1}
    row = talk("t", "Hi.", {"content": "Hello there, long words that say much", "weight": 0}, "So?", learned)
    assert trained(row["messages"]) == [3]
    assert {
        up["turn"]
        for seed in range(20)
        for up in to_generate([row, talk("u", "a", "b", "c", "d e")], seed)
        if up["id"] == "t"
    } == {3}
    row = talk("t", "Hi.", learned, "So?", {"content": "Well.", "weight": 0})
    assert trained(row["messages"]) == [1]
    assert to_generate([row], 1)[0]["messages"][-1] == row["messages"][1]
    assert trained(talk("t", "a", {"content": "b", "weight": 0})["messages"]) == [1], "none: the last"


def test_a_row_with_one_answer_is_as_it_was() -> None:
    rows = [talk("a", "x", "y"), talk("b", "x", "y")]
    assert all(one is row for one, row in zip(to_generate(rows, 3), rows, strict=True))
    assert count(rows) is None and ordinal(rows[0]["messages"], None) == ""


def test_a_tool_call_is_an_answer_of_its_own() -> None:
    call = {"type": "function", "function": {"name": "tide", "arguments": '{"quay": "Low Quay"}'}}
    messages = [
        {"role": "user", "content": "High water?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "17.30"},
        {"role": "assistant", "content": "At 17.30."},
    ]
    row = {"id": "t", "group": "t", "messages": messages, "gold": {"answer": "At 17.30."}, "tools": "[]"}
    assert trained(messages) == [1, 3]
    first = up_to(row, 1)
    assert first["gold"]["answer"] == '{"name": "tide", "arguments": {"quay": "Low Quay"}}'
    assert first["messages"] == messages[:2] and first["tools"] == "[]"
    assert ordinal(messages, 1) == "answer 1 of 2" and ordinal(messages, None) == "answer 2 of 2"
