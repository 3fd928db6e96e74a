"""Retention: checks by code, options by likelihood, and the non-inferiority gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.families import in_memory
from tunebook.config.recipe import load_recipe
from tunebook.core.errors import InputError
from tunebook.core.paths import ROOT
from tunebook.data.prompt import PromptEncoder
from tunebook.evaluation import forgetting, suite
from tunebook.evaluation.forgetting import Task, all_met, compared, values
from tunebook.metrics.scoring import bits_per_byte


@pytest.mark.parametrize(
    ("check", "text", "met"),
    [
        ({"max_words": 2}, "two words", True),
        ({"max_words": 2}, "now three words", False),
        ({"min_words": 3}, "two words", False),
        ({"starts_with": "Yes"}, "Yes, it is", True),
        ({"ends_with": "End."}, "This is the end.", False),
        ({"contains": "rain"}, "it rains", True),
        ({"not_contains": "rain"}, "rain again", False),
        ({"regex": r"^\d+$"}, "42", True),
        ({"regex": r"^\d+$"}, "42 or so", False),
        ({"lines": 2}, "one\n\ntwo\n", True),
        ({"lines": 2}, "one", False),
        ({"lowercase": True}, "small", True),
        ({"lowercase": True}, "Small", False),
        ({"uppercase": True}, "LOUD!", True),
        ({"sentences_at_most": 1}, "One. Two.", False),
        ({"sentences_at_most": 2}, "It costs 2.50. Fine.", True),
    ],
)
def test_checks(check: dict[str, Any], text: str, met: bool) -> None:
    assert all_met([check], text) is met
    assert all_met([check, {"min_words": 0}], text) is met
    assert not all_met([check, {"min_words": 99}], text)


def test_an_unknown_check_is_refused() -> None:
    with pytest.raises(InputError, match="'rhymes'") as caught:
        all_met([{"rhymes": True}], "text")
    assert caught.value.code == "eval.unknown_check"


def test_every_item_of_our_own_can_be_asked() -> None:
    tasks = suite.load_suite(load_recipe("chat-lora"), "chat", "trial", "full").retention
    own = {name: task for name, task in tasks.items() if "$" not in str(task.file)}
    assert {task.kind for task in own.values()} == {"text", "options", "checks"}
    for name, task in own.items():
        rows = forgetting.items(task)
        assert len({row["id"] for row in rows}) == len(rows) >= 20, name
        for row in rows:
            if task.kind == "options":
                assert 0 <= row["answer"] < len(row["options"]) == len(set(row["options"]))
            elif task.kind == "checks":
                assert not all_met([*row["checks"], {"min_words": 999}], "Some words.")


def test_the_option_of_the_highest_likelihood_a_byte_is_the_answer() -> None:
    task = Task(kind="options", file="x", margin=0.1)
    rows = [
        {"id": "a", "options": ["short", "a much longer one"], "answer": 1},
        {"id": "b", "options": ["p", "q", "r"], "answer": 0},
    ]
    found = [{"logprob": -5.0}, {"logprob": -8.5}, {"logprob": -2.0}, {"logprob": -1.0}, {"logprob": -3.0}]
    assert [row["value"] for row in values(task, rows, found, None)] == [1.0, 0.0]


def test_a_text_is_measured_in_bits_per_byte() -> None:
    task = Task(kind="text", file="x", margin=0.1)
    (found,) = values(task, [{"id": "a", "text": "abcd"}], [{"logprob": -2.0}], None)
    assert found["value"] == bits_per_byte(-2.0, "abcd")


def rows_of(*given: float) -> list[dict[str, Any]]:
    return [{"id": str(i), "group": str(i), "value": value} for i, value in enumerate(given)]


def test_a_drop_beyond_the_margin_fails() -> None:
    task = Task(kind="options", file="x", margin=0.1, chance=0.25)
    base = rows_of(*[1.0] * 36, *[0.0] * 4)
    same = compared("sums", task, base, base)
    assert (same["drop"], same["passed"], same["takes_part"]) == (0.0, True, True)
    worse = compared("sums", task, base, rows_of(*[1.0] * 24, *[0.0] * 16))
    assert worse["drop"] == pytest.approx(0.3)
    assert worse["high"] > 0.3 and worse["passed"] is False
    # A small drop with a wide interval is not shown to be within the margin: it fails as well.
    unsure = compared("sums", task, base, rows_of(*[1.0] * 33, *[0.0] * 7))
    assert unsure["drop"] < 0.1 < unsure["high"] and unsure["passed"] is False


def test_without_a_margin_a_drop_is_shown_and_no_gate() -> None:
    base = rows_of(*[1.0] * 36, *[0.0] * 4)
    found = compared("tasks", Task(kind="checks", file="x"), base, rows_of(*[0.0] * 40))
    assert (found["drop"], found["passed"], found["takes_part"]) == (0.9, None, True)


def test_a_base_that_guesses_takes_no_part() -> None:
    task = Task(kind="options", file="x", margin=0.1, chance=0.25)
    base = rows_of(*([1.0, 0.0, 0.0] * 13))
    found = compared("hard", task, base, rows_of(*[0.0] * 39))
    assert found["takes_part"] is False and found["passed"] is None


def test_texts_are_compared_by_their_relative_rise() -> None:
    task = Task(kind="text", file="x", margin=0.25)
    found = compared("general", task, rows_of(1.0, 2.0, 3.0), rows_of(1.5, 3.0, 4.5))
    assert found["drop"] == pytest.approx(0.5)
    assert found["passed"] is False


def test_raw_text_and_foreign_field_names(tmp_path: Path) -> None:
    raw = tmp_path / "wiki.raw"
    raw.write_text(" = Heading = \n" + "\n".join(f"{i} " + "word " * 60 for i in range(5)))
    texts = forgetting.items(Task(kind="text", file=str(raw), margin=0.1, limit=3))
    assert [row["text"][:2] for row in texts] == ["0 ", "1 ", "2 "]
    swag = tmp_path / "swag.jsonl"
    swag.write_text('{"ctx": "He", "endings": ["runs.", "tree."], "label": 0}\n')
    (row,) = forgetting.items(Task(kind="options", file=str(swag), margin=0.1))
    assert (row["context"], row["options"], row["answer"]) == ("He", ["runs.", "tree."], 0)


def test_an_unnamed_folder_is_said_and_a_missing_file_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(kind="options", file="$TUNEBOOK_TEST_DATA/none.jsonl", margin=0.1)
    monkeypatch.delenv("TUNEBOOK_TEST_DATA", raising=False)
    assert forgetting.missing({"arc": task}) == {"arc": f"{task.file}: the variable is not set"}
    assert forgetting.check_files({"arc": task}) == []
    monkeypatch.setenv("TUNEBOOK_TEST_DATA", str(ROOT))
    assert forgetting.missing({"arc": task}) == {}
    assert "none.jsonl: file not found" in forgetting.check_files({"arc": task})[0]


@pytest.mark.parametrize(("mode", "some"), [("quick", set()), ("default", {"general"})])
def test_what_runs_when(mode: str, some: set[str]) -> None:
    loaded = suite.load_suite(load_recipe("chat-lora"), "chat", "trial", mode)
    assert some <= set(loaded.retention)
    assert (mode == "quick") == (not loaded.retention)
    assert "instructions" not in loaded.retention
    assert loaded.style is None


def test_the_real_tier_asks_the_harness() -> None:
    loaded = suite.load_suite(load_recipe("chat-lora"), "chat", "real", "full")
    assert {"mmlu", "hellaswag", "arc_easy", "gsm8k", "ifeval"} <= set(loaded.retention)
    assert loaded.style is not None and loaded.style.rows == 100


def test_with_thinking_an_answer_needs_reasoning_that_ends() -> None:
    task = Task(kind="checks", file="x", thinking=True)
    encoder = PromptEncoder(in_memory("qwen3"), {"enable_thinking": False}, "off")
    prompt = {"id": "a", "prompt": "Name a fruit.", "checks": [{"contains": "fig"}]}
    asked = forgetting.job("x", "base", task, [prompt], encoder)
    assert encoder.tokenizer.decode(asked.contexts[0]).endswith("<|im_start|>assistant\n")
    texts = [
        "<think>\nHm.\n</think>\n\nA fig.",
        "<think>\nHm.\n</think>\n\nA pear.",
        "<think>\n\n</think>\n\nA fig.",
        "A fig.",
        "<think>\nA fig.",
    ]
    found: Any = [
        {"tokens": encoder.tokenizer(text, add_special_tokens=False)["input_ids"]} for text in texts
    ]
    rows = [{**prompt, "id": str(number)} for number in range(len(texts))]
    assert [row["value"] for row in values(task, rows, found, encoder)] == [1.0, 0.0, 0.0, 0.0, 0.0]
    plain = Task(kind="checks", file="x")
    keeps = PromptEncoder(in_memory("qwen3"), {"enable_thinking": True}, "keep")
    asked = forgetting.job("x", "base", plain, [prompt], keeps)
    assert keeps.tokenizer.decode(asked.contexts[0]).endswith("<think>\n\n</think>\n\n")
    assert [row["value"] for row in values(plain, rows, found, keeps)] == [1.0, 0.0, 1.0, 1.0, 0.0]


def test_only_written_answers_can_be_asked_with_thinking() -> None:
    with pytest.raises(ValueError, match="thinking"):
        Task(kind="text", file="x", thinking=True)
