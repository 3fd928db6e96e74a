"""The conversation of `tunebook chat`, with models that answer what they are told to."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunebook.commands.after import chat
from tunebook.core.errors import InputError
from tunebook.core.files import read_jsonl


class Told:
    """Answers with its name and the number of messages that it was given."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[dict[str, Any]]]] = []

    def answer(self, model: str, messages: list[dict[str, Any]]) -> Iterator[str]:
        self.asked.append((model, [*messages]))
        yield f"{model} "
        yield str(len(messages))


@pytest.fixture
def talk(tmp_path: Path) -> tuple[chat.Chat, Told, list[str]]:
    models, shown = Told(), list[str]()
    return chat.Chat(models, tmp_path / "chats", "Be brief.", shown.append), models, shown


def test_history_goes_along(talk: Any) -> None:
    one, models, shown = talk
    one.say("first")
    one.say("second")
    assert [turn["content"] for turn in models.asked[1][1]] == ["Be brief.", "first", "tuned 2", "second"]
    assert "".join(shown) == "tuned 2\ntuned 4\n"


def test_both_answer_and_the_fine_tuned_one_goes_on(talk: Any) -> None:
    one, models, shown = talk
    one.command("/both")
    one.say("hello")
    assert [name for name, _ in models.asked] == ["base", "tuned"]
    assert one.messages[-1]["content"] == "tuned 2"
    assert "[base] base 2" in "".join(shown)


def test_commands(talk: Any) -> None:
    one, models, _ = talk
    one.say("hello")
    assert one.command("/system Be rude.") and one.messages == [{"role": "system", "content": "Be rude."}]
    one.say("hello")
    assert one.command("/reset") and len(one.messages) == 1
    assert one.command("/what")
    assert not one.command("/quit")


def test_saved_conversations_are_rows_that_fork_reads(talk: Any) -> None:
    one, _, shown = talk
    one.command("/save good")
    assert "nothing to save" in shown[-1]
    one.say("hello")
    one.command("/save good")
    one.command("/save bad")
    row = read_jsonl(one.folder / "good.jsonl")
    assert row == [{"messages": one.messages}] == read_jsonl(one.folder / "bad.jsonl")


def test_a_refused_prompt_leaves_the_conversation_as_it_was(talk: Any) -> None:
    one, models, shown = talk

    def refuse(*_: Any) -> Iterator[str]:
        raise InputError("too long.", code="chat.cannot_answer")
        yield ""

    models.answer = refuse
    one.say("hello")
    assert len(one.messages) == 1 and "too long" in shown[-1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("\r over", "\\x0d over"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("日本語 é", "日本語 é"),
    ],
)
def test_control_characters_are_shown_and_not_sent(text: str, shown: str) -> None:
    assert chat.visible(text) == shown


def test_lines_that_end_with_a_backslash_go_on() -> None:
    assert list(chat.lines_of(io.StringIO("a\\\nb\nc\n"), "> ")) == ["a\nb", "c"]


def test_prompts_of_a_file(tmp_path: Path) -> None:
    plain, rows = tmp_path / "a.txt", tmp_path / "a.jsonl"
    plain.write_text("one\n\ntwo\n")
    rows.write_text('{"prompt": "x"}\n{"messages": [{"role": "user", "content": "y"}]}\n')
    assert [m[0]["content"] for m in chat.prompts_of(plain)] == ["one", "two"]
    assert [m[0]["content"] for m in chat.prompts_of(rows)] == ["x", "y"]
    rows.write_text('{"prompt": "x"}\n[1]\n')
    with pytest.raises(InputError) as caught:
        list(chat.prompts_of(rows))
    assert caught.value.code == "chat.bad_prompt" and caught.value.problems[0].line == 2
