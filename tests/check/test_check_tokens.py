"""What `make check` makes of lengths and masks, on answers of the child written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.small_data import seen
from tunebook.check.findings import Findings
from tunebook.check.tokens import judge, summary
from tunebook.data.stretches import lacks
from tunebook.data.tokenize import of_every_kind

# One row: ids 1..6, of which the answer is 5 and its end is 6.
IDS, START = [1, 2, 3, 4, 5, 6], 4
MASKED = {
    "row": 0,
    "ids": IDS,
    "labels": [-100] * START + IDS[START:],
    "contract": [IDS, START],
    "system_kept": True,
    "tools_kept": True,
}
ANSWER = {"refused": {}, "eos": "<end>", "bos": "<bos>", "bos_id": 1}


def judged(sizes: list[list[int]], estimate: bool = False, **changes: Any) -> Findings:
    found = Findings()
    sample = [seen("train", line, "x") for line in range(1, len(sizes) + 1)]
    answer = {**ANSWER, "lengths": sizes, "masked": [{**MASKED, **changes}]}
    judge(answer, sample, found, estimate)
    return found


def grades_and_codes(found: Findings) -> list[tuple[str, str]]:
    return [(finding.grade, finding.code) for kind in found.kinds.values() for finding in kind.shown]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"ids": [*IDS, 9], "labels": [*MASKED["labels"], -100]}, None),  # a line break after the end
        ({"labels": [-100] * 6}, "tokens.nothing_learned"),
        ({"labels": [-100] * 5 + [6]}, "tokens.answer_in_part"),
        ({"labels": [-100] * 3 + [4, 5, 6]}, "tokens.answer_in_part"),
        ({"labels": [-100] * 4 + [5, -100]}, "tokens.end_not_learned"),
        ({"ids": [1, 1, *IDS[1:]], "labels": [-100] * 5 + [5, 6]}, "tokens.two_bos"),
        (
            {"contract": "The template does not end a turn."},
            "tokens.prompt_differs",
        ),
        ({"contract": [[7, *IDS[1:]], START]}, "tokens.prompt_differs"),
        ({"system_kept": False}, "tokens.system_lost"),
        ({"tools_kept": False}, "tokens.tools_lost"),
        ({"stretches": ["assistant turn 1: its text is not learned."]}, "tokens.answer_in_part"),
    ],
)
def test_the_mask_of_a_row(changes: dict[str, Any], code: str | None) -> None:
    found = judged([[6, 4]], **changes)
    assert grades_and_codes(found)[:1] == ([("error", code)] if code else [])
    assert {grade for grade, _ in found.kinds} <= {"error"}


def test_a_row_that_the_template_refuses() -> None:
    found = Findings()
    answer = {**ANSWER, "refused": {"0": "roles must alternate"}, "lengths": [[0, 0]], "masked": []}
    judge(answer, [seen("train", 3, "x")], found, False)
    assert grades_and_codes(found) == [("error", "tokens.refused_by_template")]
    (finding,) = next(iter(found.kinds.values())).shown
    assert (finding.line, finding.text) == (3, "roles must alternate")


def test_the_histogram_counts_every_row_once() -> None:
    made = summary([3, 5, 8, 40, 80])
    assert (made["shortest"], made["median"], made["longest"]) == (3, 8, 80)
    assert made["histogram"] == {
        **{"to 10": 3, "to 20": 0, "to 30": 0, "to 40": 1},
        **{"to 50": 0, "to 60": 0, "to 70": 0, "to 80": 1},
    }


class Marks:
    """A tokenizer's special tokens, without a tokenizer."""

    all_special_tokens = ["<|im_end|>"]
    added_tokens_decoder: dict[int, object] = {}


def test_special_tokens_in_row_text_are_found() -> None:
    from tunebook.data.tokenize import special_in_text

    def row(question: str, answer: str, **more: object) -> dict[str, object]:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return {"messages": turns, **more}

    rows = [
        row("What ends a turn?", "The mark <|im_end|> does."),
        row("Plain?", "Plain."),
        row("Which?", "This.", rejected=[{"role": "assistant", "content": "That <|im_end|>"}]),
    ]
    assert special_in_text(Marks(), rows) == {0: "<|im_end|>", 2: "<|im_end|>"}


@pytest.mark.parametrize(("accepted", "grade"), [(0, "error"), (1, "error"), (2, "note")])
def test_special_tokens_are_an_error_unless_accepted_by_number(accepted: int, grade: str) -> None:
    found = Findings()
    sample = [seen("train", line, "x") for line in (1, 2, 3)]
    answer = {
        **ANSWER,
        "lengths": [[6, 4]] * 3,
        "masked": [],
        "special": {"0": "<|im_end|>", "2": "<|im_end|>"},
    }
    judge(answer, sample, found, False, accepted)
    assert grades_and_codes(found) == [(grade, "tokens.special_in_text")] * 2
    assert [finding.line for kind in found.kinds.values() for finding in kind.shown] == [1, 3]


def test_an_answer_that_is_not_in_the_rendered_text_is_found_in_any_row() -> None:
    found = Findings()
    sample = [seen("train", line, "x") for line in (1, 2)]
    lost = {"1": "assistant turn 1 is not in the rendered text as the row has it."}
    judge({**ANSWER, "lengths": [[6, 4], [6, 4]], "masked": [MASKED], "lost": lost}, sample, found, False)
    assert grades_and_codes(found) == [("error", "tokens.answer_in_part")]
    assert [finding.line for kind in found.kinds.values() for finding in kind.shown] == [2]


@pytest.mark.parametrize(
    ("rendered", "lost"),
    [
        ("<u>no<e><a>no<e>", False),
        ("<u>no<e><a>no <e>", False),
        ("<u>no<e><a>no", True),  # without its end
        ("<u>no<e><a>n<e>", True),  # cut
        ("<u>no <a> <e>", True),  # left out; the prompt says the same
    ],
)
def test_an_answer_stands_whole_in_the_rendered_text(rendered: str, lost: bool) -> None:
    row = seen("train", 1, "no", "no").row
    assert (lacks(rendered.replace("<u>no<e>", "<u>no</u>"), row, "<e>") is not None) is lost


def test_the_last_answer_is_looked_for_behind_the_ones_before() -> None:
    row = {**seen("train", 1, "a", "b").row}
    row["messages"] = [
        *row["messages"],
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "b"},
    ]
    assert lacks("a b<e> c b<e>", row, "<e>") is None
    assert lacks("a b<e> c", row, "<e>") is not None


def test_rows_of_every_kind_are_masked() -> None:
    rows = [seen("train", line, "x", answer).row for line, answer in enumerate([*["acorn"] * 50, "?"])]
    chosen, kinds = of_every_kind(rows, 5)
    assert kinds == 2 and len(chosen) == 5 and 50 in chosen
    assert of_every_kind(rows[:3], 5)[0] == [0, 1, 2]
