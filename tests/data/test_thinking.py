"""Reasoning: how it is read, written by templates, learned, shown or left out, and told apart in answers."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny
from tests.support.families import FAMILIES, in_memory, template_of
from tests.support.prepared_rows import Labelled, compared, talk
from tunebook.core.errors import InputError, Problem
from tunebook.core.files import write_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.dataset import Dataset
from tunebook.data.prompt import PromptEncoder
from tunebook.data.render import render_whole
from tunebook.data.sources import Source, read_rows_of
from tunebook.data.stretches import IGNORED, learned
from tunebook.data.thinking import setting
from tunebook.data.thinking.answers import each_answer, without_reasoning
from tunebook.data.thinking.form import USUAL, Apart, Form, Said, form_of
from tunebook.models.templates import ChatTemplate
from tunebook.runs.rows import Messages

TRIAL = ROOT / "tunebook" / "commands" / "fork" / "output" / "chatml_thinking.jinja"
ON = {setting.SWITCH: True}
FORMS = {
    "qwen3": Form("<think>\n", "\n</think>\n\n"),
    "qwen3.5": Form("", "\n</think>\n\n"),
    "minicpm5": Form("", "\n</think>\n\n"),
    "trial": Form("<think>\n", "\n</think>\n"),
}
THOUGHT, ANSWER = "Two and two.\n\nSo 4.", "Four."
ASK: Messages = [{"role": "user", "content": "What is 2 + 2?"}]
THOUGHTFUL: Messages = [*ASK, {"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHT}]
DIRECT: Messages = [*ASK, {"role": "assistant", "content": ANSWER}]
LONGER: Messages = [*THOUGHTFUL, {"role": "user", "content": "And 3 + 3?"}]
LONGER += [{"role": "assistant", "content": "Six.", "reasoning_content": "Three twice."}]


def text_of(family: str) -> str:
    return TRIAL.read_text() if family == "trial" else template_of(family)


@functools.cache
def encoder_of(family: str, thinking: setting.Thinking | None) -> PromptEncoder:
    tokenizer = tiny.trial_tokenizer() if family == "trial" else in_memory(family)
    tokenizer.chat_template, tokenizer.eos_token = text_of(family), "<|im_end|>"
    return PromptEncoder(tokenizer, ON if thinking in setting.SHOWN else {}, thinking)


@pytest.mark.parametrize("family", [*FAMILIES, "trial"])
def test_how_a_template_writes_reasoning(family: str) -> None:
    template = ChatTemplate(text_of(family), {"bos_token": "<s>", "eos_token": "</s>", **ON})
    if family == "qwen3-base":
        return  # as qwen3
    assert form_of(template.render_turns) == FORMS.get(family)


@pytest.mark.parametrize("family", FORMS)
def test_keep_learns_all_that_follows_the_generation_prompt(family: str) -> None:
    encoder, form = encoder_of(family, "keep"), FORMS[family]
    encoded = encoder.encode(THOUGHTFUL)
    assert encoder.tokenizer.decode(encoded.answer) == f"{form.open}{THOUGHT}{form.close}{ANSWER}"
    assert encoded.context == encoder.context(ASK)


@pytest.mark.parametrize("family", FORMS)
def test_mask_shows_reasoning_and_learns_the_answer(family: str) -> None:
    encoder = encoder_of(family, "mask")
    encoded = encoder.encode(THOUGHTFUL)
    assert encoder.tokenizer.decode(encoded.answer) == ANSWER
    assert encoder.tokenizer.decode(encoded.context).endswith(f"{THOUGHT}{FORMS[family].close}")


@pytest.mark.parametrize("thinking", ["keep", "mask"])
@pytest.mark.parametrize("family", FORMS)
def test_an_empty_think_block_is_never_learned(family: str, thinking: setting.Thinking) -> None:
    """Some templates write one before an answer without reasoning; minicpm5's does not."""
    encoder = encoder_of(family, thinking)
    for empty in (DIRECT, [*ASK, {**DIRECT[1], "reasoning_content": ""}]):
        encoded = encoder.encode(empty)
        assert encoder.tokenizer.decode(encoded.answer) == ANSWER
        whole = encoder.tokenizer(encoder.text(empty), add_special_tokens=False)["input_ids"]
        assert [*encoded.context, *encoded.answer, encoded.end] == whole[
            : len(encoded.context) + len(encoded.answer) + 1
        ]
    assert encoder.direct(ASK) == encoder.encode(DIRECT).context


def test_off_leaves_reasoning_out() -> None:
    encoder = encoder_of("qwen3", "off")
    assert encoder.text(LONGER) == encoder.text(without_reasoning({"messages": LONGER})["messages"])  # type: ignore[typeddict-item]
    assert THOUGHT not in encoder.text(THOUGHTFUL)


@pytest.mark.parametrize("family", ["smollm2", "qwen3-instruct"])
def test_a_template_without_reasoning_is_an_error(family: str) -> None:
    encoder = encoder_of(family, "keep")
    with pytest.raises(InputError) as error:
        _ = encoder.form
    assert error.value.codes == ["template.no_thinking"]


def test_each_answer_with_its_reasoning_is_scored_in_a_pass_of_its_own() -> None:
    encoder = encoder_of("qwen3", "keep")
    first, second = encoder.passes(LONGER, [1, 3])
    assert THOUGHT in encoder.tokenizer.decode(first.rest)
    assert THOUGHT not in encoder.tokenizer.decode(second.context)
    assert "Three twice." in encoder.tokenizer.decode(second.rest)


def axolotls(encoder: PromptEncoder, messages: Messages) -> Labelled:
    """Return ids and labels as Axolotl makes them: the answer from the first letter of its reasoning on."""
    text = encoder.text(messages)
    made = encoder.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    last = messages[-1]
    start = text.rindex(last.get("reasoning_content") or last["content"])
    end = len(text.rstrip())
    labels = [
        id if start < stop <= end else IGNORED
        for id, (_, stop) in zip(made["input_ids"], made["offset_mapping"], strict=True)
    ]
    return list(made["input_ids"]), labels


@pytest.mark.parametrize(("thinking", "begins"), [("keep", "<think>"), ("mask", ANSWER)])
def test_labels_of_axolotl_are_moved(thinking: setting.Thinking, begins: str) -> None:
    encoder = encoder_of("qwen3", thinking)
    ids, labels = axolotls(encoder, THOUGHTFUL)
    before = encoder.tokenizer.decode(learned(ids, labels)[0])
    assert before.startswith(THOUGHT)
    (run,) = learned(ids, encoder.relabelled(THOUGHTFUL, ids, labels))
    text = encoder.tokenizer.decode(run)
    assert text.startswith(begins) and text.endswith(f"{ANSWER}<|im_end|>")
    again = axolotls(encoder, DIRECT)
    assert encoder.relabelled(DIRECT, *again) == again[1]


def thoughtful(number: int, thought: str = THOUGHT) -> dict[str, Any]:
    row = talk(f"What is {number} + {number}?", f"It is {2 * number}.", id=f"r{number}")
    if thought:
        row["messages"][1]["reasoning_content"] = f"{thought} {number}"
    return row


@pytest.mark.parametrize("thinking", ["keep", "mask"])
@pytest.mark.parametrize("family", FORMS)
def test_the_supervised_text_of_every_row_is_compared(
    family: str, thinking: setting.Thinking, tmp_path: Path
) -> None:
    encoder = encoder_of(family, thinking)
    rows = [thoughtful(number, THOUGHT if number % 3 else "") for number in range(6)]
    made = []
    for row in rows:
        ids, labels = axolotls(encoder, row["messages"])
        made.append((ids, encoder.relabelled(row["messages"], ids, labels)))
    found = compared(tmp_path, rows, made, encoder)
    assert (found.differ, found.not_compared.total()) == (0, 0), found.first


@pytest.mark.parametrize("thinking", ["keep", "mask"])
def test_what_axolotl_alone_would_learn_is_a_fault(thinking: setting.Thinking, tmp_path: Path) -> None:
    encoder = encoder_of("qwen3", thinking)
    rows = [thoughtful(number) for number in range(3)]
    found = compared(tmp_path, rows, [axolotls(encoder, row["messages"]) for row in rows], encoder)
    assert found.differ == 3


@pytest.mark.parametrize("thinking", ["off", "keep", "mask"])
def test_an_empty_think_block_in_the_loss_is_a_fault(thinking: setting.Thinking, tmp_path: Path) -> None:
    encoder = encoder_of("qwen3", thinking)
    rows = [thoughtful(number, "") for number in range(3)]
    made = []
    for row in rows:
        ids, labels = axolotls(encoder, row["messages"])
        start = len(encoder.context(row["messages"][:-1]))
        if thinking == "off":
            encoder.template_kwargs = {}
            start = len(encoder.context(row["messages"][:-1]))
        stop = next(place for place, label in enumerate(labels) if label != IGNORED)
        made.append((ids, [*labels[:start], *ids[start:stop], *labels[stop:]]))
    found = compared(tmp_path, rows, made, encoder)
    assert found.differ == 3
    assert "empty think block" in found.first[0]["text"]


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        (USUAL, "<think>\nHm.\n</think>\n\nFour.", Said("Hm.", "Four.", False)),
        (USUAL, "<think>\n\n</think>\n\nFour.", Said("", "Four.", False)),
        (USUAL, "Four.", Said("", "Four.", False)),
        (USUAL, "<think>\nHm. Two and", Said("Hm. Two and", "", True)),
        (USUAL, "<think>\nHm.</think>", Said("Hm.", "", False)),
        (USUAL, "Hm.\n</think>\n\nFour.", Said("Hm.", "Four.", False)),
        (USUAL, "", Said("", "", False)),
        (FORMS["qwen3.5"], "Hm.\n</think>\n\nFour.", Said("Hm.", "Four.", False)),
        (FORMS["qwen3.5"], "Hm. Two and", Said("Hm. Two and", "", True)),
        (USUAL, "<think>a</think>b </think> c", Said("a", "b </think> c", False)),
    ],
)
def test_reasoning_and_answer_are_told_apart(form: Form, text: str, said: Said) -> None:
    assert form.said(text) == said
    if "<think>" not in text and form.open and said.thought:
        return  # while it comes in pieces it looks like an answer
    for size in (1, 3, 100):
        apart, parts = Apart(form), {"reasoning_content": "", "content": ""}
        for start in range(0, len(text), size):
            for part, some in apart.take(text[start : start + size]):
                parts[part] += some
        for part, some in apart.finish():
            parts[part] += some
        assert {name: part.strip() for name, part in parts.items()} == {
            "reasoning_content": said.thought,
            "content": said.answer,
        }


def test_generated_tokens_are_read_although_the_marks_are_special() -> None:
    encoder = encoder_of("qwen3", "keep")
    ids = encoder.tokenizer("<think>\nHm.\n</think>\n\nFour.", add_special_tokens=False)["input_ids"]
    assert encoder.said(ids) == Said("Hm.", "Four.", False)
    assert encoder_of("smollm2", None).said(
        tiny.trial_tokenizer()("<think>Hm.</think>Four.", add_special_tokens=False)["input_ids"]
    ) == Said("", "<think>Hm.</think>Four.", False)


def test_a_client_may_send_reasoning_back_in_the_text() -> None:
    encoder = encoder_of("qwen3", "keep")
    sent: Messages = [*ASK, {"role": "assistant", "content": f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"}]
    assert encoder.as_said(sent) == THOUGHTFUL


@pytest.mark.parametrize(("value", "read"), [("off", "off"), (False, "off"), ("keep", "keep"), (None, None)])
def test_values_of_the_key(value: Any, read: str | None) -> None:
    assert setting.read(value) == read


@pytest.mark.parametrize("value", [True, "on", "yes", 1])
def test_another_value_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match="off, keep, mask"):
        setting.read(value)


def test_the_template_of_a_hybrid_model_is_switched_on() -> None:
    config = {"chat_template_kwargs": {"enable_thinking": False, "tools_in_user_message": True}}
    assert setting.switched(config) is config
    off = setting.switched({**config, "thinking": False})
    assert off == {**config, "thinking": "off"}
    kept = setting.switched({**config, "thinking": "keep"})["chat_template_kwargs"]
    assert kept == {"enable_thinking": True, "tools_in_user_message": True}


# What is read of an assistant turn with reasoning: its reasoning and its content.
TURNS: list[tuple[dict[str, Any], str, str]] = [
    ({"content": ANSWER, "reasoning_content": f" {THOUGHT}\n"}, THOUGHT, ANSWER),
    ({"content": ANSWER, "thinking": THOUGHT}, THOUGHT, ANSWER),
    ({"content": ANSWER, "reasoning": THOUGHT}, THOUGHT, ANSWER),
    ({"content": f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"}, THOUGHT, ANSWER),
    ({"content": f"{THOUGHT}\n</think>\n\n{ANSWER}"}, THOUGHT, ANSWER),
    ({"content": f"<think>{THOUGHT}</think>{ANSWER}", "reasoning_content": THOUGHT}, THOUGHT, ANSWER),
    ({"content": f"<think>\n\n</think>\n\n{ANSWER}"}, "", ANSWER),
    ({"content": ANSWER, "reasoning_content": "  "}, "", ANSWER),
    ({"content": "Write <think> first, </think> last."}, "", "Write <think> first, </think> last."),
    (
        {"content": [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": ANSWER}]},
        THOUGHT,
        ANSWER,
    ),
    (
        {"content": [{"type": "reasoning", "value": THOUGHT}, {"type": "text", "value": ANSWER}]},
        THOUGHT,
        ANSWER,
    ),
]
FILES = {"train": "t.jsonl", "dev": "d.jsonl", "test": "e.jsonl"}


def source(**keys: Any) -> Source:
    return Source.model_validate({"files": FILES, "reader": "chat", "reasoning": True, **keys})


def first(some: Source, row: Any) -> Any:
    return next(iter(read_rows_of(some, iter([(1, row)]), "t.jsonl")))[1]


@pytest.mark.parametrize(("turn", "thought", "answer"), TURNS)
def test_reasoning_in_a_field_and_in_the_text_is_read_alike(
    turn: dict[str, Any], thought: str, answer: str
) -> None:
    made = first(source(), {"messages": [*ASK, {"role": "assistant", **turn}]})
    assert not isinstance(made, Problem), made
    assert made["turns"][1].get("reasoning_content", "") == thought
    assert made["turns"][1]["content"] == answer


def test_reasoning_of_a_row_belongs_to_its_answer() -> None:
    row = {"prompt": "What is 2 + 2?", "completion": ANSWER, "reasoning": THOUGHT}
    assert first(source(reader="pairs"), row)["turns"] == THOUGHTFUL
    inline = {"prompt": "What is 2 + 2?", "completion": f"<think>{THOUGHT}</think>{ANSWER}"}
    assert first(source(reader="pairs"), inline)["turns"] == THOUGHTFUL


@pytest.mark.parametrize(
    ("turn", "code"),
    [
        ({"content": f"<think>{THOUGHT}"}, "rows.unfinished_thinking"),
        ({"content": f"<think>Hm.</think>{ANSWER}", "thinking": THOUGHT}, "rows.two_thoughts"),
        ({"content": f"<think>{THOUGHT}</think>"}, "rows.empty_text"),
        ({"content": ANSWER, "reasoning_details": [{"text": THOUGHT}]}, "rows.meaning_not_read"),
    ],
)
def test_reasoning_that_cannot_be_read_is_refused(turn: dict[str, Any], code: str) -> None:
    made = first(source(), {"messages": [*ASK, {"role": "assistant", **turn}]})
    assert isinstance(made, Problem)
    assert made.code == code and (made.key or "").startswith("messages[1]")


def test_without_the_key_a_field_is_refused_and_a_think_block_stays() -> None:
    plain = source(reasoning=False)
    made = first(plain, {"messages": [*ASK, {"role": "assistant", **TURNS[0][0]}]})
    assert isinstance(made, Problem) and made.code == "rows.meaning_not_read"
    assert "THINKING=keep" in made.text and "THINKING=mask" in made.text
    made = first(plain, {"messages": [*ASK, {"role": "assistant", **TURNS[3][0]}]})
    assert made["turns"][1]["content"].startswith("<think>")


def test_reasoning_is_for_readers_of_conversations() -> None:
    with pytest.raises(ValueError, match="reasoning"):
        source(reader="labels")


def row_of(messages: Messages, **more: Any) -> Any:
    return {
        "id": "a",
        "group": "g",
        "messages": messages,
        "gold": {"answer": messages[-1]["content"]},
        **more,
    }


def test_each_answer_of_a_conversation_is_a_row() -> None:
    one, two = each_answer(row_of(LONGER))
    assert (one["id"], two["id"], one["group"]) == ("a/1", "a/2", "g")
    assert one["messages"] == [ASK[0], {**THOUGHTFUL[1], "weight": 1}]
    assert [turn.get("weight") for turn in two["messages"]] == [None, 0, None, 1]
    assert (one["gold"], two["gold"]) == ({"answer": ANSWER}, {"answer": "Six."})
    masked = [{**LONGER[1], "weight": 0}, LONGER[2], {**LONGER[3], "weight": 1}]
    (only,) = each_answer(row_of([ASK[0], *masked]))  # type: ignore[list-item]
    assert only["id"] == "a/2"


def test_rows_without_reasoning_or_with_one_answer_stay() -> None:
    for messages in (without_reasoning(row_of(LONGER))["messages"], THOUGHTFUL):
        row = row_of(messages)
        assert each_answer(row) == [row]


def test_answers_around_a_tool_stay_in_one_row() -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": "{}"}}
    turns: Any = [
        *ASK,
        {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": "Add."},
    ]
    turns += [{"role": "tool", "content": "4"}, THOUGHTFUL[1]]
    row = row_of(turns)
    assert each_answer(row) == [row]


def dataset(folder: Path, **keys: Any) -> Dataset:
    return Dataset.model_validate(
        {
            "folder": folder,
            "name": "made",
            "task": "chat",
            "licence": "Apache-2.0",
            "source": {**source().model_dump(exclude_defaults=True), **keys},
            "system": "{{ system }}",
            "prompt": "{{ content }}",
            "turns": "turns",
        }
    )


def test_train_has_a_row_for_each_answer_and_test_whole_conversations(tmp_path: Path) -> None:
    for file in FILES.values():
        write_jsonl(tmp_path / file, [{"messages": LONGER}, {"messages": DIRECT}])
    whole = render_whole(dataset(tmp_path))
    assert [row["id"] for row in whole.rows["train"]] == ["train-1/1", "train-1/2", "train-2"]
    assert [line for line, _ in whole.came["train"]] == [1, 1, 2]
    assert [len(row["messages"]) for row in whole.rows["test"]] == [4, 2]
    assert whole.rows["test"][0]["messages"][1]["reasoning_content"] == THOUGHT


def test_rows_of_our_own_turns_are_read_alike(tmp_path: Path) -> None:
    inline = [ASK[0], {"role": "assistant", "content": f"<think>{THOUGHT}</think>{ANSWER}"}]
    for file in FILES.values():
        write_jsonl(tmp_path / file, [{"turns": THOUGHTFUL, "system": ""}, {"turns": inline, "system": ""}])
    rows = render_whole(dataset(tmp_path, reader=None)).rows["train"]
    assert [row["messages"] for row in rows] == [THOUGHTFUL, THOUGHTFUL]
