"""Every field of a row and of its turns: read, listed as not learned, or refused with the option."""

from __future__ import annotations

import json
import random
import shlex
from pathlib import Path
from typing import Any

import pytest

from tunebook.commands.fork.options import read_drop
from tunebook.core.errors import Problem
from tunebook.data.formats.meaning.meanings import MEANING_OF
from tunebook.data.formats.rows.layouts import read_layout
from tunebook.data.formats.turn_forms import rename_roles
from tunebook.data.formats.values import dropped
from tunebook.data.sources import Source, kept_and_read, read_rows_of

TALK = [{"role": "user", "content": "Is it shut?"}, {"role": "assistant", "content": "It is."}]
ROWS: dict[str, dict[str, Any]] = {
    "labels": {"text": "the kettle drips", "label": "a"},
    "qa": {"question": "Where?", "context": "In the shed.", "answers": ["shed"]},
    "chat": {"messages": TALK},
    "pairs": {"prompt": "Name a river.", "completion": "The Ebro."},
    "preference": {"prompt": "Name a river.", "chosen": "The Ebro.", "rejected": "No."},
}


def read(shape: str, row: dict[str, Any], **columns: str) -> Any:
    return next(iter(read_layout(iter([(1, row)]), shape, columns, "rows.jsonl")))[1]


def refused(shape: str, row: dict[str, Any], key: str, code: str = "rows.meaning_not_read") -> None:
    problem = read(shape, row)
    assert isinstance(problem, Problem), problem
    assert (problem.code, problem.key) == (code, key)


def planted(name: str) -> Any:
    """Return a value with which the field `name` has its meaning."""
    values: list[Any] = [
        "planted",
        "planted words",
        "planted and more words",
        True,
        False,
        "deleted",
        "analysis",
    ]
    values += ["error", [{"name": "planted"}]]
    return next(value for value in values if not MEANING_OF[name].neutral(value))


def texts(value: Any) -> str:
    """Return all text of a rendered row, to look for a planted one."""
    if isinstance(value, dict):
        return " ".join(map(texts, value.values()))
    return " ".join(map(texts, value)) if isinstance(value, list) else str(value)


NAMES = sorted(MEANING_OF.keys() - {"answer"})  # which means so by its value: below


@pytest.mark.parametrize("shape", ROWS)
def test_a_field_with_a_meaning_is_read_or_refused(shape: str) -> None:
    for name in NAMES:
        if name in ROWS[shape]:
            continue
        result = read(shape, {**ROWS[shape], name: planted(name)})
        if MEANING_OF[name].of_answers and shape in ("labels", "qa"):
            assert result[name] == planted(name), "listed: it says nothing of a label"
        elif isinstance(result, Problem):
            assert result.code.startswith("rows.") and result.key and result.key.startswith(name), name
        else:
            learned = {key: result[key] for key in ("system", "turns", "rejected", "tools") if key in result}
            assert "planted" in texts(learned), name


@pytest.mark.parametrize("shape", ["chat", "preference"])
def test_a_turns_field_with_a_meaning_is_read_or_refused(shape: str) -> None:
    for name in NAMES:
        turns = [TALK[0], {**TALK[1], name: planted(name)}]
        pair = {"chosen": turns, "rejected": "No.", "prompt": "Is it shut?"}
        result = read(shape, {"messages": turns} if shape == "chat" else pair)
        assert isinstance(result, Problem), name
        assert result.code in ("rows.meaning_not_read", "rows.bad_weight"), name


def test_random_fields_are_accounted_for() -> None:
    """Rows with extra fields at every level: none with a meaning is passed over."""
    drawn = random.Random(7)
    meant = {name: meaning for name, meaning in MEANING_OF.items() if not meaning.of_answers}
    names = sorted(name for name, meaning in meant.items() if not meaning.neutral("planted text"))
    for _ in range(400):
        shape = drawn.choice([*ROWS])
        row = {**ROWS[shape], "id": "r1", "written": "2026-11-29"}
        extra = drawn.sample(names, drawn.randrange(3))
        row |= {name: f"planted {name}" for name in extra if name not in row}
        result = read(shape, row)
        if not isinstance(result, Problem):
            learned = texts({key: result.get(key) for key in ("system", "turns", "text", "rejected")})
            assert all(f"planted {name}" in learned for name in extra if name not in ROWS[shape])


SAFE = {"hate": {"filtered": False, "severity": "safe"}, "jailbreak": {"detected": False, "filtered": False}}
TAKEN = {**SAFE, "violence": {"filtered": True, "severity": "high"}}


@pytest.mark.parametrize("shape", ["chat", "pairs", "preference", "labels"])
@pytest.mark.parametrize(
    ("field", "whole", "cut"),
    [
        ("finish_reason", "stop", "length"),
        ("finish_reason", "tool_calls", "content_filter"),
        ("finishReason", "STOP", "MAX_TOKENS"),  # Gemini's
        ("stop_reason", "end_turn", "refusal"),  # Anthropic's
        ("content_filter_results", SAFE, TAKEN),
        ("content_filter_results", json.dumps(SAFE), json.dumps(TAKEN)),  # in a table
        ("prompt_filter_results", [{"prompt_index": 0, "content_filter_results": SAFE}], [TAKEN]),
    ],
)
def test_an_answer_that_was_cut_off_or_blocked_is_refused(
    shape: str, field: str, whole: Any, cut: Any
) -> None:
    assert not isinstance(read(shape, {**ROWS[shape], field: whole}), Problem)
    problem = read(shape, {**ROWS[shape], field: cut})
    assert isinstance(problem, Problem) and problem.code == "rows.meaning_not_read"
    assert problem.key == field and f"DROP={field}" in str(problem)
    if shape == "chat":
        turn = {"messages": [TALK[0], {**TALK[1], field: cut}]}
        assert read(shape, turn).key == f"messages[1].{field}"


@pytest.mark.parametrize(
    ("shape", "field", "value", "option"),
    [
        ("pairs", "ground_truth", "The Douro.", "FIELDS="),
        ("pairs", "reference", "The Douro.", "FIELDS="),
        ("pairs", "reference", ["The Douro.", "The Tagus."], "FIELDS="),
        ("pairs", "edited_response", "The Douro.", "FIELDS="),
        ("pairs", "Corrected Output", "The Douro.", "FIELDS="),
        ("pairs", "goldAnswer", "The Douro.", "FIELDS="),
        ("labels", "corrected_label", "b", "FIELDS="),
        ("labels", "label_gold", "b", "FIELDS="),
        ("labels", "gold", "b", "FIELDS="),
        ("pairs", "ground_truth", 18, "FIELDS="),
        ("pairs", "ground_truth", "18 rivers.", "FIELDS="),
        ("chat", "refusal", "I cannot say.", "FIELDS="),
        ("labels", "confidence", 0.4, 'WHERE="confidence >= 0.8"'),
        ("labels", "confidence", "0.4", 'WHERE="confidence|float >= 0.8"'),
        ("labels", "confidence", "low", "WHERE=\"confidence == '...'\""),
        ("pairs", "feedback", "down", "WHERE=\"feedback == '...'\""),
        ("pairs", "rating", "2", 'WHERE="rating|float >= 4"'),
        ("chat", "deleted", True, 'WHERE="not deleted"'),
        ("chat", "is_deleted", "true", "WHERE=\"is_deleted != 'true'\""),
        ("qa", "status", "Discarded", "WHERE=\"status != 'Discarded'\""),
    ],
)
def test_another_answer_or_a_mark_beside_it_is_refused(
    shape: str, field: str, value: Any, option: str
) -> None:
    problem = read(shape, {**ROWS[shape], field: value})
    assert isinstance(problem, Problem) and (problem.code, problem.key) == ("rows.meaning_not_read", field)
    assert option in str(problem) and f"DROP={dropped([field])}" in str(problem)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reference", "REF-1204"),
        ("reference", 1204),
        ("gold", False),
        ("confidence", 1.0),
        ("deleted", False),
        ("is_deleted", "no"),
        ("status", "solved"),
        ("final_price", "12"),
    ],
)
def test_what_only_looks_like_it_is_listed(field: str, value: Any) -> None:
    assert not isinstance(read("pairs", {**ROWS["pairs"], field: value}), Problem)


@pytest.mark.parametrize("value", [None, "", "  ", [], {}, float("nan")])
def test_an_empty_field_says_nothing(value: Any) -> None:
    assert not isinstance(read("chat", {"messages": TALK, "images": value, "history": value}), Problem)


@pytest.mark.parametrize("name", ["weight", "loss_weight", "train", "training"])
@pytest.mark.parametrize("no", [0, 0.0, False])
def test_a_turns_weight_under_any_name(name: str, no: Any) -> None:
    turns = [*TALK[:1], {**TALK[1], name: no}, *TALK[:1], {**TALK[1], name: 1}]
    made = read("chat", {"messages": turns})
    assert [turn.get("weight") for turn in made["turns"]] == [None, 0, None, 1]


def test_a_weight_between_is_refused() -> None:
    refused(
        "chat",
        {"messages": [TALK[0], {**TALK[1], "loss_weight": 0.5}]},
        "messages[1].loss_weight",
        "rows.bad_weight",
    )


def test_false_on_a_users_turn_is_what_happens_anyway() -> None:
    assert not isinstance(read("chat", {"messages": [{**TALK[0], "train": False}, TALK[1]]}), Problem)


def test_a_weight_of_one_row_is_refused_unless_it_is_one() -> None:
    refused("pairs", {**ROWS["pairs"], "weight": 0.2}, "weight")
    assert not isinstance(read("pairs", {**ROWS["pairs"], "weight": 1.0}), Problem)


def test_history_of_pairs_becomes_turns() -> None:
    row = {"instruction": "And then?", "output": "At two.", "history": [["When?", "At one."]]}
    made = read("pairs", row, prompt="instruction", completion="output")
    assert [turn["content"] for turn in made["turns"]] == ["When?", "At one.", "And then?", "At two."]


def test_a_second_history_is_refused() -> None:
    earlier = [["When?", "At one."]]
    refused("pairs", {**ROWS["pairs"], "history": earlier, "chat_history": earlier}, "chat_history")


def test_two_system_prompts_that_differ_are_refused() -> None:
    turns = [{"role": "system", "content": "Be short."}, *TALK]
    refused("chat", {"messages": turns, "system": "Be long."}, "system", "rows.two_systems")
    assert read("chat", {"messages": turns, "system": "Be short."})["system"] == "Be short."
    assert read("chat", {"messages": TALK, "system_prompt": "Be kind."})["system"] == "Be kind."


def test_kto_rows_are_refused() -> None:
    refused("pairs", {**ROWS["pairs"], "label": False}, "label")


def test_a_pair_that_parts_before_its_last_turn_is_refused() -> None:
    other = [TALK[0], {"role": "assistant", "content": "Go away."}, {"role": "user", "content": "Why?"}]
    chosen = [*TALK, {"role": "user", "content": "Since when?"}, TALK[1]]
    refused("preference", {"chosen": chosen, "rejected": [*other, TALK[1]]}, "rejected", "rows.pair_diverges")


def test_llama_factorys_pairs() -> None:
    row = {
        "conversations": [{"from": "human", "value": "Is it shut?"}],
        "chosen": {"from": "gpt", "value": "It is."},
        "rejected": {"from": "gpt", "value": "No idea."},
    }
    made = read("preference", row)
    assert (made["turns"][-1]["content"], made["rejected"]) == ("It is.", "No idea.")


def test_parts_of_llama_factorys_v1() -> None:
    turns = [{**turn, "content": [{"type": "text", "value": turn["content"]}]} for turn in TALK]
    assert texts(read("chat", {"messages": turns})["turns"]) == texts(TALK)


@pytest.mark.parametrize("answer", ['{"name": "Ebro"}', "[1, 2]", "{river} runs", "[INST] Name it."])
def test_a_text_that_looks_like_json_stays_a_text(answer: str) -> None:
    made = read("preference", {"prompt": answer, "chosen": answer, "rejected": "No."})
    assert [turn["content"] for turn in made["turns"]] == [answer, answer]


def test_turns_as_json_text() -> None:
    assert read("chat", {"messages": json.dumps(TALK)})["turns"] == TALK


@pytest.mark.parametrize(
    ("value", "written"), [(True, "true"), (False, "false"), (0, "0"), (1.5, "1.5"), (10**20, f"{10**20}")]
)
def test_values_are_written_as_in_json(value: Any, written: str) -> None:
    assert read("pairs", {"prompt": "Is it?", "completion": value})["turns"][-1]["content"] == written


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_what_nobody_wrote_is_no_text(value: Any) -> None:
    assert isinstance(read("labels", {"text": "the kettle", "label": value}), Problem)
    assert isinstance(read("pairs", {"prompt": value, "completion": "yes"}), Problem)


def test_what_is_dropped_on_purpose_is_gone(tmp_path: Path) -> None:
    source = Source(
        files={"train": "t.jsonl", "dev": "d.jsonl", "test": "e.jsonl"},
        reader="chat",
        drop=["thinking", "score"],
    )
    row = {"messages": [TALK[0], {**TALK[1], "thinking": "Hm."}], "score": 3}
    made = next(iter(read_rows_of(source, iter([(1, row)]), "t.jsonl")))[1]
    assert made == {"system": "", "turns": TALK}


def test_labels_by_number_get_the_names_that_a_parquet_file_notes(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    from tunebook.data.files.tables import read_table

    features = {"label": {"names": ["leak", "noise"], "_type": "ClassLabel"}, "text": {"dtype": "string"}}
    note = json.dumps({"info": {"features": features}}).encode()
    table = pyarrow.table({"text": ["it drips", "it hums", "what"], "label": [0, 1, -1]})
    pyarrow.parquet.write_table(table.replace_schema_metadata({b"huggingface": note}), tmp_path / "a.parquet")
    assert [row["label"] for _, row in read_table(tmp_path / "a.parquet")] == ["leak", "noise", None]


@pytest.mark.parametrize("value", ["accept", "reject", "ignore"])
def test_a_label_that_was_rejected_is_refused(value: str) -> None:
    result = read("labels", {**ROWS["labels"], "answer": value})
    if value == "accept":
        assert not isinstance(result, Problem)
    else:
        assert isinstance(result, Problem) and (result.code, result.key) == (
            "rows.meaning_not_read",
            "answer",
        )


@pytest.mark.parametrize(
    ("times", "refused"),
    [
        (["2026-03-02T10:05:00Z", "2026-03-02T10:04:00Z"], True),
        ([1700000005, 1700000004.5], True),
        (["1700000005.000200", "1700000004.000100"], True),  # Slack's
        (["2026-03-02T10:04:00Z", "2026-03-02T10:05:00Z"], False),
        ([1700000004, 1700000004], False),
        ([1700000005, "2026-03-02T10:04:00Z"], False),
        (["Tuesday", "Monday"], False),
    ],
)
def test_turns_from_newest_to_oldest_are_refused(times: list[Any], refused: bool) -> None:
    turns = [{**turn, "ts": time} for turn, time in zip(TALK, times, strict=True)]
    found = read("chat", {"messages": turns})
    assert (getattr(found, "code", "") == "rows.newest_first") == refused


@pytest.mark.parametrize(
    ("shape", "field", "value"),
    [
        ("pairs", "deepseek_thinking_trajectory", "First the Ebro, then the Douro."),
        ("chat", "reasoning trace", "First the Ebro, then the Douro."),
        ("pairs", "use_for_training", False),
        ("pairs", "exclude_from_training", "yes"),
        ("pairs", "used_in_training", 0.5),
        ("labels", "deletedDateTime", "2026-01-01T10:00:00Z"),
        ("labels", "AssignmentStatus", "Rejected"),
        ("labels", "is_valid", "no"),
        ("labels", "label:confidence", 0.4),
        ("labels", "label_gold", "b"),
        ("labels", "GOLDEN:label", "b"),
        ("labels", "inter_annotator_agreement", 0.33),
        ("qa", "yesno", "x"),
        ("pairs", "user feedback", "negative"),
        ("pairs", "judge_score", 3),
        ("pairs", "rank", 2),
        ("pairs", "helpful", "No"),
        ("pairs", "gpt4_response", "The Douro, of course."),
        ("pairs", "completion_2", "The Douro, of course."),
        ("pairs", "retrieved_contexts", ["The Douro is a river."]),
        ("chat", "persona", ["I like big rivers."]),
        ("chat", "context", "You know every river."),
        ("chat", "completion", "The Douro, of course."),
        ("preference", "overall_preference", -2),
        ("pairs", "earlier", [{"role": "user", "content": "Name a sea."}]),
        ("pairs", "scan", "data:image/png;base64,iVBORw0KGgo="),
        ("labels", "screen", "shots/4.PNG"),
        ("labels", "page", {"bytes": b"x", "path": None}),
        ("pairs", "functions", [{"name": "tide"}]),
    ],
)
def test_a_field_is_known_by_a_part_of_its_name_or_by_its_value(shape: str, field: str, value: Any) -> None:
    problem = read(shape, {**ROWS[shape], field: value})
    assert isinstance(problem, Problem) and (problem.code, problem.key) == ("rows.meaning_not_read", field)
    assert f"(DROP={dropped([field])})" in str(problem)


@pytest.mark.parametrize(
    ("shape", "field", "value"),
    [
        ("pairs", "reasoning_effort", "high"),
        ("pairs", "thinking_budget", 1024),
        ("labels", "loss_amount", 1200),
        ("labels", "masked_text", "the [MASK] drips again"),
        ("labels", "deleted_at", ""),
        ("labels", "order_status", "rejected"),
        ("labels", "likes", 3),
        ("labels", "satisfaction_score", "Bad"),
        ("labels", "gold_price", 1900),
        ("labels", "topic_confidence", 0.4),  # of another column
        ("pairs", "is_valid", "yes"),
        ("pairs", "first_response", "2026-01-01"),
        ("pairs", "article", "A12"),
        ("pairs", "gpt4_response", "The Ebro."),  # the same text is learned
        ("pairs", "context", "Name a river."),
        ("pairs", "avatar", "a.png"),
        ("pairs", "file", "rivers/4.txt"),
        ("pairs", "edited", {"user": "U1", "ts": "1700000000.1"}),
        ("pairs", "channel", "email"),
        ("pairs", "tools", "hammer"),
        ("pairs", "preamble", True),
    ],
)
def test_what_only_has_a_similar_name_is_listed(shape: str, field: str, value: Any) -> None:
    row = {**ROWS[shape], field: value, **({"topic": "x"} if field == "topic_confidence" else {})}
    assert not isinstance(read(shape, row), Problem)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channel", "analysis"),  # OpenAI's Harmony
        ("include_in_loss", False),
        ("public", False),  # a note that the customer does not see
        ("deleted_at", "2026-01-01T10:00:00Z"),
        ("rating", 2),
    ],
)
def test_a_field_of_a_turn_is_refused_without_an_option_for_rows(field: str, value: Any) -> None:
    problem = read("chat", {"messages": [TALK[0], {**TALK[1], field: value}]})
    assert isinstance(problem, Problem) and problem.key == f"messages[1].{field}"
    assert "WHERE=" not in str(problem) and f"DROP={field}" in str(problem)


def test_a_thought_that_gemini_marks_is_refused() -> None:
    parts = [{"text": "Hm.", "thought": True}, {"text": "It is."}]
    row = {"contents": [{"role": "user", "parts": [{"text": "Is it?"}]}, {"role": "model", "parts": parts}]}
    problem = read("chat", row, messages="contents")
    assert (problem.code, problem.key) == ("rows.meaning_not_read", "contents[1].parts[0].thought")


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("Is Deleted", "TRUE", "row['Is Deleted'] != 'TRUE'"),
        ("quality-score", 2, "row['quality-score'] >= 4"),
        ("deleted_at", "2026-01-01", "not deleted_at"),
        ("is_valid", "No", "is_valid == 'Yes'"),
        ("scores", {"x": 2}, "scores.x >= 4"),
        ("rank", "3", "rank|int == 1"),
    ],
)
def test_what_is_offered_works_as_it_is_typed(field: str, value: Any, where: str) -> None:
    """WHERE= leaves the row out, a good row passes although the field is there, and DROP= ignores it."""
    row = {**ROWS["pairs"], field: value}
    assert f'WHERE="{where}"' in str(read("pairs", row))
    good = {"TRUE": "FALSE", "No": "Yes", "3": "1", "2026-01-01": None}.get(str(value), 5)
    good = {"x": 5} if isinstance(value, dict) else good
    for options, kept in (
        ({"where": where}, [good]),
        ({"drop": read_drop(shlex.split(dropped([field]))[0])}, [value, good]),
    ):
        source = Source(files=dict.fromkeys(("train", "dev", "test"), "a"), reader="pairs", **options)
        rows = enumerate([row, {**row, field: good}], 1)
        made = [one for _, one in kept_and_read(source, Path("mine"), rows, "a")]
        assert len(made) == len(kept) and not any(isinstance(one, Problem) for one in made), options


def test_fields_that_where_does_not_choose_by_are_still_refused() -> None:
    files = dict.fromkeys(("train", "dev", "test"), "a")
    for where in ("context", "completion != ''", "rating"):
        source = Source(files=files, reader="pairs", where=where)
        rows = enumerate([{**ROWS["pairs"], "rating": 5, "context": "Rivers of the north."}], 1)
        ((_, made),) = kept_and_read(source, Path("mine"), rows, "a")
        assert isinstance(made, Problem) and made.key == ("context" if where == "rating" else "rating")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": {"value": "It is.", "annotations": []}}], "It is."),  # Assistants API
        (["It is."], "It is."),
        ({"content_type": "text", "parts": ["It is."]}, "It is."),  # ChatGPT
    ],
)
def test_texts_inside_of_parts(content: Any, text: str) -> None:
    made = read("chat", {"messages": [TALK[0], {**TALK[1], "content": content}]})
    assert made["turns"][1]["content"] == text


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"type": "function_call", "name": "tide"}, "tool_calls"),
        ({"type": "function_call_output", "output": "17.30"}, "role tool"),
        ({"type": "image_url"}, "remove the part"),
    ],
)
def test_a_part_that_is_no_text_says_what_to_do(part: dict[str, Any], says: str) -> None:
    problem = read("chat", {"messages": [TALK[0], {**TALK[1], "content": [part]}]})
    assert problem.code == "rows.not_text" and says in str(problem)


def test_a_role_inside_an_object_and_speakers_that_are_numbers() -> None:
    turns = [
        {"author": {"role": role}, "content": text} for role, text in (("user", "Is it?"), ("bot", "Yes."))
    ]
    assert [turn["role"] for turn in read("chat", {"messages": turns})["turns"]] == ["user", "assistant"]
    row = {"messages": [{"speaker": 0, "text": "Is it?"}, {"speaker": 1, "text": "Yes."}]}
    assert 'ROLES="0=user 1=assistant"' in str(read("chat", row))
    assert not isinstance(read("chat", rename_roles(row, {"0": "user", "1": "assistant"})), Problem)


@pytest.mark.parametrize(
    ("row", "code", "key"),
    [
        ({"answers": {"spans": ["shed", "hut"]}}, "rows.several_inside", "answers.spans"),
        ({"answers": ["shed"], "is_impossible": True}, "rows.impossible_answered", "is_impossible"),
        ({"answers": ["shed"], "answerable": "no"}, "rows.impossible_answered", "answerable"),
    ],
)
def test_an_answer_is_never_taken_for_none(row: dict[str, Any], code: str, key: str) -> None:
    problem = read("qa", {"question": "Where?", "context": "In the shed.", **row})
    assert isinstance(problem, Problem) and (problem.code, problem.key) == (code, key)


def test_passages_of_sentences_and_answers_as_a_table_has_them() -> None:
    passage = [["It is in the shed.", " It is red."], ["Another", "one."]]
    made = read("qa", {"question": "Where?", "context": passage, "answers": "['the shed', 'shed']"})
    assert made["context"] == "It is in the shed. It is red.\n\nAnother one."
    assert made["answers"] == ["the shed", "shed"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ([{"ts": 1700000005}, {"ts": 1700000009}, {"ts": 1700000007}], "rows.out_of_order"),
        ([{"ts": 1700000005.0}, {"ts": 1700000005.9}, {"ts": 1700000005.4}], ""),  # clocks differ
        (
            [{"date": f"2026-03-02T10:0{n}:00Z"} for n in (1, 3, 2)],
            "rows.out_of_order",
        ),
        ([{"turn_id": n} for n in (0, 2, 1)], "rows.out_of_order"),
        ([{"turn_id": str(n)} for n in (0, 1, 2)], ""),
        ([{"id": "a"}, {"parentId": "a"}, {"parentId": "a"}], "rows.replied_twice"),
        ([{"id": "a"}, {"parentId": "a"}, {"parentId": "b"}], ""),
    ],
)
def test_turns_in_another_order_or_written_again_are_refused(fields: list[dict[str, Any]], code: str) -> None:
    turns = [{**turn, **field} for turn, field in zip([*TALK, TALK[0]], fields, strict=True)]
    found = read("chat", {"messages": turns})
    assert found.code == (code or "rows.last_turn")  # the last one is the user's


@pytest.mark.parametrize("value", [0, "0", "no", "bad", "Rejected", False])
def test_a_label_that_says_the_answer_is_bad(value: Any) -> None:
    refused("pairs", {**ROWS["pairs"], "label": value}, "label")
    assert not isinstance(read("pairs", {**ROWS["pairs"], "label": "geography"}), Problem)


def test_shares_of_labels_are_several_labels() -> None:
    for value in ({"a": 0.7, "b": 0.3}, '{"a": 0.7, "b": 0.3}'):
        refused("labels", {"text": "the kettle drips", "label": value}, "label", "labels.several_in_one")


@pytest.mark.parametrize(
    ("asked", "candidate", "key"),
    [
        ({}, {"finishReason": "MAX_TOKENS"}, "response.candidates[0].finishReason"),
        ({"systemInstruction": {"parts": [{"text": "Be brief."}]}}, {}, "request.systemInstruction"),
        ({"system": "Be brief."}, {}, "request.system"),
        ({"tools": [{"name": "tide"}]}, {}, "request.tools"),
        ({}, {"finishReason": "STOP"}, ""),
    ],
)
def test_what_stands_beside_a_picked_value_is_refused(
    asked: dict[str, Any], candidate: dict[str, Any], key: str
) -> None:
    turns = [{"role": role, "parts": [{"text": f"{role} speaks."}]} for role in ("user", "model")]
    row = {
        "request": {"contents": turns[:1], **asked},
        "response": {"candidates": [{"content": turns[1], **candidate}]},
    }
    columns = {"prompt": "request.contents", "completion": "response.candidates.content"}
    files = dict.fromkeys(("train", "dev", "test"), "a")
    source = Source(files=files, reader="pairs", columns=columns)
    ((_, made),) = kept_and_read(source, Path("mine"), iter([(1, row)]), "a")
    assert getattr(made, "key", "") == key
