"""What `make check` makes of lengths and masks, on answers of the child written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.small_data import seen
from tunebook.check.findings import Findings
from tunebook.check.rows import Sample, Seen
from tunebook.check.tokens import judge, summary
from tunebook.data.stretches import EACH, lacks, of_every_kind, turn_kinds

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
ANSWER = {"refused": {}, "eos": "<end>", "bos": "<bos>", "bos_id": 1, "kinds": 1, "kinds_left": 0}


def looked_at(rows: list[Seen], size: int = 100) -> Sample:
    sample = Sample(Findings(), size)
    for row in rows:
        sample.see(row)
    sample.finish()
    return sample


def judged(sizes: list[list[int]], estimate: bool = False, **changes: Any) -> Findings:
    found = Findings()
    sample = [seen("train", line, "x") for line in range(1, len(sizes) + 1)]
    answer = {**ANSWER, "lengths": sizes, "masked": [{**MASKED, **changes}]}
    judge(answer, looked_at(sample), found, estimate)
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
        ({"stretches": ["assistant turn 1: its text is not trained on."]}, "tokens.answer_in_part"),
    ],
)
def test_the_mask_of_a_row(changes: dict[str, Any], code: str | None) -> None:
    found = judged([[6, 4]], **changes)
    assert grades_and_codes(found)[:1] == ([("error", code)] if code else [])
    assert {grade for grade, _ in found.kinds} <= {"error"}


def test_a_row_that_the_template_refuses() -> None:
    found = Findings()
    answer = {**ANSWER, "refused": {"0": "roles must alternate"}, "lengths": [[0, 0]], "masked": []}
    judge(answer, looked_at([seen("train", 3, "x")]), found, False)
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
    judge(answer, looked_at(sample), found, False, accepted)
    assert grades_and_codes(found) == [(grade, "tokens.special_in_text")] * 2
    assert [finding.line for kind in found.kinds.values() for finding in kind.shown] == [1, 3]


def test_an_answer_that_is_not_in_the_rendered_text_is_found_in_any_row() -> None:
    found = Findings()
    sample = [seen("train", line, "x") for line in (1, 2)]
    lost = {"1": "assistant turn 1 is not in the rendered text as the row has it."}
    judge(
        {**ANSWER, "lengths": [[6, 4], [6, 4]], "masked": [MASKED], "lost": lost},
        looked_at(sample),
        found,
        False,
    )
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


def talk(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    said = [{"role": role, "content": text} for role, text in turns]
    return {"id": "1", "group": "1", "messages": said, "gold": {"answer": said[-1]["content"]}, **more}


def test_rows_of_every_kind_of_turn_are_masked() -> None:
    answers = [*["acorn"] * 4 * EACH, "?"]
    rows = [seen("train", line, "x", answer).row for line, answer in enumerate(answers)]
    last = len(rows) - 1
    chosen, kinds, left = of_every_kind(rows, 1000)
    assert (kinds, left) == (3, 0)  # the prompt, and two answers
    assert EACH <= len(chosen) <= EACH + 1 and last in chosen
    assert chosen[-2] > 2 * EACH, "not the first ones only"
    assert of_every_kind(rows[:3], 40) == ([0, 1, 2], 2, 0)
    # Before a second row of any kind, the first of every one; what is left is counted.
    few, _, left = of_every_kind(rows, 2)
    assert len(few) == 2 and last in few and left == 0
    assert of_every_kind(rows, 1)[1:] == (3, 1)


PLAIN = (("user", "Is it open?"), ("assistant", "Yes."), ("user", "And today?"), ("assistant", "No."))


@pytest.mark.parametrize(
    "other",
    [
        talk(*PLAIN[:3], ("assistant", "")),
        talk(*PLAIN[:3], ("assistant", "No.\n")),
        talk(*PLAIN[:3], ("assistant", " No.")),
        talk(*PLAIN[:3], ("assistant", "4.")),
        talk(*PLAIN[:3], ("assistant", "Is it open?")),
        talk(*PLAIN[:3], ("assistant", "No <think>.")),
        talk(*PLAIN[:3], ("assistant", "No <|end|>.")),
        talk(*PLAIN[:3], ("assistant", "No \ufb01ve.")),  # a letter that NFKC writes as two
        talk(*PLAIN[:3], ("assistant", "Yes.")),  # the text stands earlier in the row
        talk(("system", "Be brief."), *PLAIN),
        talk(*PLAIN[:2], ("tool", "And today?"), PLAIN[3]),
        talk(*PLAIN[:2]),
        talk(*PLAIN, tools="[{}]"),
        talk(*PLAIN, rejected=[]),
    ],
)
def test_what_a_mask_can_depend_on_makes_a_kind(other: dict[str, Any]) -> None:
    plain = turn_kinds(talk(*PLAIN))
    assert turn_kinds(talk(PLAIN[0], ("assistant", "Maybe."), *PLAIN[2:])) == plain
    assert turn_kinds(talk(*PLAIN, *PLAIN)) != plain  # answers between others
    assert turn_kinds(other) != plain
    weighed = talk(*PLAIN)
    weighed["messages"][1]["weight"] = 0
    called = talk(*PLAIN)
    called["messages"][1]["tool_calls"] = [{"function": {"name": "a", "arguments": {}}}]
    assert plain not in (turn_kinds(weighed), turn_kinds(called))


def test_a_rare_kind_is_kept_from_among_more_rows_than_the_sample_has() -> None:
    rows = [seen("train", line, f"x{line}", "acorn") for line in range(1, 10 * EACH)]
    rows[5 * EACH] = seen("train", 5 * EACH + 1, "x", "acorn ")
    sample = looked_at(rows, size=5)
    assert len(sample.rows) == 5 and rows[5 * EACH] in sample.looked_at
    assert len(sample.looked_at) <= 5 + 2 * EACH


def test_check_says_how_many_masks_were_compared() -> None:
    rows = [seen("train", line, f"x{line}", "acorn") for line in range(1, 31)]
    sample, found = looked_at(rows), Findings()
    answer = {**ANSWER, "lengths": [[6, 4]] * 30, "masked": [MASKED], "kinds": 2, "kinds_left": 1}
    said = judge(answer, sample, found, False)
    assert "of 30 rows, the text of all answers is compared in 30 and Axolotl's own mask in 1" in said
    assert "1 kinds are not compared" in said
    assert "the run itself compares the mask of every train row before its first step" in said
    assert found.facts["masks"] == {"texts": 30, "rows": 1, "of": 30, "kinds": 2, "kinds_left": 1}
