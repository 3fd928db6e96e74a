"""Calls of tools: read in the forms people have them, and found in what models write."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunebook.core.errors import RowFault
from tunebook.data.formats.conversations import conversation
from tunebook.data.tool_calls import called, calls_met, kept, offered

FUNCTION = {"name": "tide", "parameters": {"type": "object"}}
ARGUMENTS = {"quay": "Low Quay", "day": 3}
CALL = {"type": "function", "function": {"name": "tide", "arguments": json.dumps(ARGUMENTS)}}
ASKED = {"role": "user", "content": "When is high water?"}


@pytest.mark.parametrize(
    "value",
    [
        [{"type": "function", "function": FUNCTION}],
        [FUNCTION],
        json.dumps([FUNCTION]),
    ],
    ids=["OpenAI", "OpenAI functions", "LLaMA-Factory"],
)
def test_tools_are_read(value: Any) -> None:
    assert offered(value, "tools") == [{"type": "function", "function": FUNCTION}]


@pytest.mark.parametrize(
    "turns",
    [
        [
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", **CALL}]},
            {"role": "tool", "tool_call_id": "c1", "content": "17.30"},
        ],
        [
            {"role": "assistant", "function_call": CALL["function"]},
            {"role": "function", "name": "tide", "content": "17.30"},
        ],
        [
            {"from": "function_call", "value": json.dumps({"name": "tide", "arguments": ARGUMENTS})},
            {"from": "observation", "value": "17.30"},
        ],
    ],
    ids=["OpenAI", "OpenAI function_call", "ShareGPT"],
)
def test_calls_are_read(turns: list[dict[str, Any]]) -> None:
    whole = [ASKED, *turns, {"role": "assistant", "content": "At 17.30."}]
    _, read = conversation(whole, "messages", answered=True)
    assert read[1] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert read[2] == {"role": "tool", "content": "17.30"}


def test_several_calls_and_several_answers() -> None:
    twice = {"role": "assistant", "content": "Both.", "tool_calls": [CALL, CALL]}
    answers = [{"role": "tool", "content": text} for text in ("17.30", "18.05")]
    _, read = conversation([ASKED, twice, *answers, {"role": "assistant", "content": "So."}], "m", True)
    assert [turn["role"] for turn in read] == ["user", "assistant", "tool", "tool", "assistant"]
    with pytest.raises(RowFault) as caught:
        conversation([ASKED, twice, *answers, ASKED], "m", True)
    assert (caught.value.code, caught.value.field) == ("rows.turn_order", "m[4]")


def test_a_call_of_weight_0_at_the_end_is_cut_off() -> None:
    told = {"role": "assistant", "content": "In the evening.", "weight": 1}
    call = {"role": "assistant", "content": None, "tool_calls": [CALL], "weight": 0}
    _, read = conversation([ASKED, told, ASKED, call], "m", True)
    assert [turn["content"] for turn in read] == [ASKED["content"], "In the evening."]


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "tide", "arguments": {"quay": "Low Quay", "day": 3}}\n</tool_call>',
        '<|tool_call|>[{"name": "tide", "arguments": {"day": 3, "quay": "Low Quay"}}]',
        '{"name": "tide", "parameters": {"quay": "Low Quay", "day": 3}}',
        'Let me [look] {up}: {"name": "tide", "arguments": {"quay": "Low Quay", "day": 3}} done.',
    ],
    ids=["Qwen, Hermes", "Granite, Phi", "Llama", "between words"],
)
def test_calls_are_found_in_answers(text: str) -> None:
    assert called(text) == [{"name": "tide", "arguments": ARGUMENTS}]
    assert calls_met({"content": "", "tool_calls": [CALL]}, text) == 1


@pytest.mark.parametrize(
    ("turn", "text", "met"),
    [
        ({"content": "", "tool_calls": [CALL]}, "At 17.30.", 0),
        ({"content": "", "tool_calls": [CALL]}, '{"name": "tide", "arguments": {"quay": "Low Quay"}}', 0),
        ({"content": "", "tool_calls": [CALL]}, '{"name": "ferry", "arguments": {"quay": "Low', 0),
        (
            {"content": "", "tool_calls": [CALL, CALL]},
            json.dumps({"name": "tide", "arguments": ARGUMENTS}),
            0,
        ),
        ({"content": "At 17.30."}, "At noon.", 1),
        ({"content": "At 17.30."}, '{"name": "tide", "arguments": {}}', 0),
        ({"content": 'Send {"name": "x", "arguments": {}} there.'}, "So.", 1),
    ],
)
def test_calls_that_are_not_those_of_the_reference(turn: dict[str, Any], text: str, met: float) -> None:
    assert calls_met(turn, text) == met


def test_a_template_that_leaves_tools_or_calls_out_is_seen() -> None:
    row = {
        "messages": [ASKED, {"role": "assistant", "content": "", "tool_calls": [CALL]}],
        "tools": json.dumps([{"type": "function", "function": FUNCTION}]),
    }
    assert kept(row, "tools: tide. assistant: tide(Low Quay)")
    assert not kept(row, "tools: tide. assistant:")
    assert kept({"messages": [ASKED]}, "")
