"""What is learned of every prepared row is what the rows say: right rows pass, and no fault does."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny
from tests.support.prepared_rows import Labelled, compared, prepare, talk
from tunebook.core.paths import ROOT
from tunebook.data.mask.compare import CUT, UNCLEAR
from tunebook.data.prompt import PromptEncoder
from tunebook.data.stretches import IGNORED, learned

CALL = {"type": "function", "function": {"name": "tide", "arguments": '{"quay": "Low Quay"}'}}
TOOLS = '[{"type": "function", "function": {"name": "tide", "parameters": {}}}]'
# Texts that a tokenizer or a template may treat in a way of its own.
ODD = (
    "Yes.",
    "17.30",
    "- a\n- b",
    "cafe\u0301 caf\u00e9 \ufb01ve \u2460",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u4f60\u597d\u3002",
    "<think>\nHm.\n</think>\n\nFour.",
    "</s>",
    "ends <|im_end|>",
    "a <|im_end|> b",
    "assistant",
    "assistant\nuser",
    "a\u00a0b\u200bc\x1cd",
    "x" * 300,
)


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    return PromptEncoder(tiny.trial_tokenizer())


@pytest.fixture(scope="module")
def with_tools() -> PromptEncoder:
    tokenizer = tiny.trial_tokenizer()
    template = ROOT / "tunebook" / "commands" / "fork" / "output" / "chatml_tools.jinja"
    tokenizer.chat_template = template.read_text()
    return PromptEncoder(tokenizer)


def kinds() -> list[dict[str, Any]]:
    """Return rows of all kinds, without calls."""
    rows = []
    for text in ODD:
        rows += [talk("Q?", text), talk(f"S:{text}", text, text), talk("Q?", text, text, "No.")]
        rows += [talk(text, f"0:{text}", "More?", text), talk(text, text, "More?", f"0:{text}")]
    rows += [talk("Q?", "Yes.")] * 3 + [talk("Q?", "0:Yes.")]
    return [{**row, "id": f"r{number}"} for number, row in enumerate(rows)]


def calls() -> list[dict[str, Any]]:
    rows = []
    for number, text in enumerate(("", "Let me look.")):
        row = talk(f"When is high water, {number}?", text, tools=TOOLS)
        row["messages"][1]["tool_calls"] = [CALL] * (number + 1)
        row["messages"] += [
            {"role": "tool", "content": "17.30"},
            {"role": "assistant", "content": "At 17.30."},
        ]
        rows.append({**row, "id": f"c{number}"})
    return rows


def test_right_rows_pass_in_any_order(encoder: PromptEncoder, tmp_path: Path) -> None:
    rows = kinds()
    made = [prepare(row, encoder) for row in rows]
    random.Random(0).shuffle(made)
    found = compared(tmp_path, rows, made, encoder)
    assert (found.rows, found.differ, found.first) == (len(rows), 0, [])
    assert not found.not_compared and not found.left_out


def test_rows_with_calls_pass_beside_others(with_tools: PromptEncoder, tmp_path: Path) -> None:
    rows = calls() + kinds()
    made = [prepare(row, with_tools) for row in rows]
    found = compared(tmp_path, rows, made[::-1], with_tools)
    assert (found.differ, found.not_compared.total()) == (0, 0)


def last_run(labels: list[int]) -> tuple[int, int]:
    """Return the first and the last place of the last stretch that is learned."""
    last = max(place for place, label in enumerate(labels) if label != IGNORED)
    first = last
    while labels[first - 1] != IGNORED:
        first -= 1
    return first, last


def one_early(ids: list[int], labels: list[int]) -> None:
    first, _ = last_run(labels)
    labels[first - 1] = ids[first - 1]


def header(ids: list[int], labels: list[int]) -> None:
    first, _ = last_run(labels)
    labels[first - 3 : first] = ids[first - 3 : first]


def one_late(ids: list[int], labels: list[int]) -> None:
    labels[last_run(labels)[0]] = IGNORED


def end_not_learned(ids: list[int], labels: list[int]) -> None:
    labels[last_run(labels)[1]] = IGNORED


def behind_the_end(ids: list[int], labels: list[int]) -> None:
    last = last_run(labels)[1]
    labels[last + 1] = ids[last + 1]


def truncated(ids: list[int], labels: list[int]) -> None:
    last = last_run(labels)[1]
    del ids[last - 2 : last], labels[last - 2 : last]


def hole(ids: list[int], labels: list[int]) -> None:
    first, last = last_run(labels)
    labels[(first + last) // 2] = IGNORED


def turn_not_learned(ids: list[int], labels: list[int]) -> None:
    first, last = last_run(labels)
    labels[first : last + 1] = [IGNORED] * (last + 1 - first)


def prompt_learned(ids: list[int], labels: list[int]) -> None:
    labels[:] = ids


def other_labels(ids: list[int], labels: list[int]) -> None:
    first, last = last_run(labels)
    labels[first] = labels[first] + 1


FAULTS: list[Callable[[list[int], list[int]], None]] = [
    *(one_early, header, one_late, end_not_learned, behind_the_end, truncated, hole, turn_not_learned),
    *(prompt_learned, other_labels),
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_fault_in_one_row_is_found(
    fault: Callable[[list[int], list[int]], None], turns: int, encoder: PromptEncoder, tmp_path: Path
) -> None:
    texts = ["Where does the Wend rise?", "On Crake Fell, they say."] * turns
    rows = [talk(f"{number}: hello", *texts[1:], id=f"r{number}") for number in range(12)]
    made = [prepare(row, encoder) for row in rows]
    fault(*made[7])
    found = compared(tmp_path, rows, made[::-1], encoder)
    assert found.differ == 1 and not found.not_compared
    assert [(one["line"], one["id"]) for one in found.first] == [(8, "r7")]
    assert found.first[0]["file"].endswith("rows.jsonl") and found.first[0]["text"]


@pytest.mark.parametrize(
    "fault", [one_early, end_not_learned, behind_the_end, turn_not_learned, prompt_learned]
)
@pytest.mark.parametrize("number", [0, 1])
def test_a_fault_in_a_row_with_calls_is_found(
    fault: Callable[[list[int], list[int]], None], number: int, with_tools: PromptEncoder, tmp_path: Path
) -> None:
    rows = calls() + kinds()
    rows[number]["messages"] = rows[number]["messages"][:2]  # the call is the last turn
    made = [prepare(row, with_tools) for row in rows]
    fault(*made[number])
    found = compared(tmp_path, rows, made, with_tools)
    assert found.differ == 1
    assert [one["id"] for one in found.first] == [f"c{number}"]


def test_every_row_differs(encoder: PromptEncoder, tmp_path: Path) -> None:
    rows = [talk(f"Question {number}?", "The same answer.", id=f"r{number}") for number in range(40)]
    made = [prepare(row, encoder) for row in rows]
    for row in made:
        end_not_learned(*row)
    found = compared(tmp_path, rows, made, encoder)
    assert found.differ == 40
    assert [one["line"] for one in found.first] == [1, 2, 3]


def test_a_row_that_replaces_another_is_found(encoder: PromptEncoder, tmp_path: Path) -> None:
    rows = [talk(f"Question {number}?", f"Answer {number}.", id=f"r{number}") for number in range(6)]
    made = [prepare(row, encoder) for row in rows]
    strange = prepare(talk("Who?", "Nobody."), encoder)
    for other in (made[3], strange):
        found = compared(tmp_path, rows, [*made[:2], other, *made[3:]], encoder)
        assert found.differ == 1 and found.first and not found.not_compared


def test_a_row_that_is_not_trained_on_is_found_unless_it_is_too_long(
    encoder: PromptEncoder, tmp_path: Path
) -> None:
    rows = [talk(f"Question {number}?", f"Answer {number}.", id=f"r{number}") for number in range(6)]
    long = talk("Long?", " ".join(f"word{number}" for number in range(900)), id="long")
    made = [prepare(row, encoder) for row in rows]
    found = compared(tmp_path, [*rows, long], made, encoder, longest=512)
    assert (found.differ, found.left_out) == (0, 1)
    found = compared(tmp_path, [*rows, long], made[:4] + made[5:], encoder, longest=512)
    assert (found.differ, found.left_out) == (1, 1)
    assert [(one["line"], one["id"]) for one in found.first] == [(5, "r4")]
    found = compared(tmp_path, [*rows, long], made, encoder, longest=None)
    assert [one["id"] for one in found.first] == ["long"], "`raise` leaves no row out"


def test_rows_that_are_drawn_or_made_unique_may_be_absent(encoder: PromptEncoder, tmp_path: Path) -> None:
    rows = [talk("Question?", f"Answer {number // 2}.", id=f"r{number}") for number in range(8)]
    made = [prepare(row, encoder) for row in rows]
    assert compared(tmp_path, rows, made[:3], encoder, whole=False).differ == 0
    assert compared(tmp_path, rows, made[::2], encoder, once=True).differ == 0
    assert compared(tmp_path, rows, made[::2], encoder).differ == 4
    end_not_learned(*made[2])
    assert compared(tmp_path, rows, made[:3], encoder, whole=False).differ == 1


def test_rows_that_are_cut_off_are_counted(encoder: PromptEncoder, tmp_path: Path) -> None:
    rows = [talk(f"Question {number}?", f"Answer {number} " * (1 + 99 * (number > 3))) for number in range(6)]
    made: list[Labelled] = [prepare(row, encoder) for row in rows]
    made = [(ids[:200], labels[:200]) for ids, labels in made]
    found = compared(tmp_path, rows, made, encoder, longest=200, cuts=True)
    assert (found.differ, found.left_out, dict(found.not_compared)) == (0, 0, {CUT: 2})
    assert compared(tmp_path, rows, made, encoder, longest=None).differ == 2
    end_not_learned(*made[0])
    assert compared(tmp_path, rows, made, encoder, longest=200, cuts=True).differ == 1


def test_what_is_not_certain_is_counted_and_no_fault(encoder: PromptEncoder, tmp_path: Path) -> None:
    rows = [talk(f"Question {number}?", f"Answer {number}.", id=f"r{number}") for number in range(6)]
    made = [prepare(row, encoder) for row in rows]
    rows[2]["messages"][1]["reasoning_content"] = "Hm."
    other = prepare(talk("Question 2?", "<think>Hm.</think>Answer 2."), encoder)
    found = compared(tmp_path, rows, [*made[:2], other, *made[3:]], encoder)
    assert (found.differ, dict(found.not_compared)) == (0, {UNCLEAR: 1})
    end_not_learned(*made[5])
    found = compared(tmp_path, rows, [*made[:2], other, *made[3:]], encoder)
    assert (found.differ, dict(found.not_compared)) == (1, {UNCLEAR: 1})
    assert [one["id"] for one in found.first] == ["r5"]


def test_rows_of_other_entries_are_not_compared(encoder: PromptEncoder, tmp_path: Path) -> None:
    rows = [talk(f"Question {number}?", f"Answer {number}.", id=f"r{number}") for number in range(6)]
    others = [prepare(talk("Raw?", f"Text {number}."), encoder) for number in range(3)]
    made = [prepare(row, encoder) for row in rows]
    found = compared(tmp_path, rows, made + others, encoder, others="rows of raw.jsonl")
    assert (found.differ, dict(found.not_compared)) == (0, {"rows of raw.jsonl": 3})
    end_not_learned(*made[1])
    found = compared(tmp_path, rows, made + others, encoder, others="rows of raw.jsonl")
    assert (found.differ, found.not_compared.total()) == (1, 3)


def test_a_tokenizer_that_writes_text_another_way_is_no_fault(tmp_path: Path) -> None:
    from tokenizers import normalizers

    tokenizer = tiny.trial_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    small = PromptEncoder(tokenizer)
    rows = [talk("Question?", f"Answer {number}.", id=f"r{number}") for number in range(3)]
    rows += [talk("Question?", f"small {number}.", id=f"s{number}") for number in range(3)]
    made = [prepare(row, small) for row in rows]
    assert compared(tmp_path, rows, made, small).differ == 0
    end_not_learned(*made[1])
    assert compared(tmp_path, rows, made, small).differ == 1


def test_an_empty_thought_before_an_answer_is_no_fault(encoder: PromptEncoder, tmp_path: Path) -> None:
    rows = [talk("Question?", f"Answer {number}.", id=f"r{number}") for number in range(3)]
    thought = [talk("Question?", f"<think>\n\n</think>\n\nAnswer {number}.") for number in range(3)]
    made = [prepare(row, encoder) for row in thought]
    assert compared(tmp_path, rows, made, encoder).differ == 0
    full = [talk(f"Question {number}?", f"<think>Hm.</think>Yes {number}.") for number in range(3)]
    cut = [talk(f"Question {number}?", f"Yes {number}.") for number in range(3)]
    found = compared(tmp_path, full, [prepare(row, encoder) for row in cut], encoder)
    assert found.differ == 3 and "reasoning" in found.first[0]["text"]


def test_ends_of_earlier_turns_may_be_left_to_the_last(encoder: PromptEncoder, tmp_path: Path) -> None:
    rows = [talk("Question?", f"Answer {number}.", "And?", "No.", id=f"r{number}") for number in range(3)]
    made = [prepare(row, encoder) for row in rows]
    for _, labels in made:
        first = learned(list(labels), labels)[0]
        labels[labels.index(first[0]) + len(first) - 1] = IGNORED
    assert compared(tmp_path, rows, made, encoder, every_end=False).differ == 0
    assert compared(tmp_path, rows, made, encoder).differ == 3


def test_both_answers_of_a_pair_are_compared(encoder: PromptEncoder, tmp_path: Path) -> None:
    rows = []
    for number, text in enumerate(ODD):
        other = [{"role": "assistant", "content": f"{text} no"}]
        rows.append(talk("S:Be brief.", f"Question {number}?", text, id=f"r{number}", rejected=other))
    made = [prepare(row, encoder) for row in rows]
    assert compared(tmp_path, rows, made, encoder, pair=True).differ == 0
    end_not_learned(*made[4])
    found = compared(tmp_path, rows, made, encoder, pair=True)
    assert (found.differ, [one["id"] for one in found.first]) == (1, ["r4"])
