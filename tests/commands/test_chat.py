"""The conversation of `tunebook chat`, with models that answer what they are told to."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunebook.commands.after import chat
from tunebook.core.errors import InputError
from tunebook.core.files import read_jsonl, write_jsonl
from tunebook.core.markdown import visible


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
    one, models, shown = talk
    one.say("hello")
    assert one.command("/system Be rude.") and one.messages == [{"role": "system", "content": "Be rude."}]
    one.say("hello")
    assert one.command("/reset") and len(one.messages) == 1
    assert one.command("/what\x1b") and "no such command: /what\\x1b" in shown[-1]
    assert one.command("/help") and "no such" not in shown[-1]
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
        ("\x1b]8;;http://x\x07go\x1b]8;;\x07", "\\x1b]8;;http://x\\x07go\\x1b]8;;\\x07"),
        ("\x1b]52;c;cm0=\x1b\\\\", "\\x1b]52;c;cm0=\\x1b\\\\"),
        ("\x9b31m\x00\x85", "\\x9b31m\\x00\\x85"),
        ("\u061c\u200f\u2028\ud800", "\\u061c\\u200f\\u2028\\ud800"),
        ("می\u200cروم 👩\u200d🔬", "می\u200cروم 👩\u200d🔬"),
    ],
)
def test_control_characters_are_shown_and_not_sent(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lines_that_end_with_a_backslash_go_on() -> None:
    assert list(chat.lines_of(io.StringIO("a\\\nb\nc\n"), "> ")) == ["a\nb", "c"]


def test_prompts_of_a_file(tmp_path: Path) -> None:
    plain, rows = tmp_path / "a.txt", tmp_path / "a.jsonl"
    plain.write_text("one\n\ntwo\u2028more\r\n")
    rows.write_text('{"prompt": "x"}\n{"messages": [{"role": "user", "content": "y"}]}\n')
    assert [(n, m[0]["content"]) for n, m in chat.prompts_of(plain)] == [(1, "one"), (3, "two\u2028more")]
    assert [m[0]["content"] for _, m in chat.prompts_of(rows)] == ["x", "y"]


@pytest.mark.parametrize(
    "line",
    [b"[1]", b'"x"', b'{"messages": []}', b'{"prompt": 3}', b'{"messages": [{"role": "user"}]}', b"\xff"],
)
def test_a_line_that_is_no_prompt_is_named(tmp_path: Path, line: bytes) -> None:
    rows = tmp_path / "a.jsonl"
    rows.write_bytes(b'{"prompt": "x"}\n' + line + b"\n")
    with pytest.raises(InputError) as caught:
        list(chat.prompts_of(rows))
    assert caught.value.code == "chat.bad_prompt" and caught.value.problems[0].line == 2


def test_a_batch_names_the_prompt_that_cannot_be_answered(tmp_path: Path) -> None:
    models, source, out = Told(), tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    write_jsonl(source, [{"prompt": "x"}, {"prompt": "y"}])
    chat.batch(models, list(chat.prompts_of(source)), "Brief.", out, source)  # type: ignore[arg-type]
    assert [row["messages"][-1]["content"] for row in read_jsonl(out)] == ["tuned 2", "tuned 2"]
    out.unlink()
    models.answer = refuse_second(models.answer)  # type: ignore[method-assign]
    with pytest.raises(InputError) as caught:
        chat.batch(models, list(chat.prompts_of(source)), "", out, source)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.problems[0].line) == ("chat.cannot_answer", 2)
    assert not list(tmp_path.glob("b.jsonl*"))


def refuse_second(answer: Any) -> Any:
    def given(model: str, messages: list[dict[str, Any]]) -> Iterator[str]:
        if messages[-1]["content"] == "y":
            raise InputError("too long.", code="chat.cannot_answer")
        yield from answer(model, messages)

    return given


HOSTILE = "<script>alert(1)</script>\x1b]52;c;cm0=\x07\x1b[2J\u202egnp.exe\x00\u2028" + "x" * 100_000


def test_hostile_answers_are_text(talk: Any, tmp_path: Path) -> None:
    """In the conversation and in a batch's file, whose lines stay one a prompt and come back as they were."""
    one, models, shown = talk

    def hostile(*_: Any) -> Iterator[str]:
        yield from (HOSTILE[:30], HOSTILE[30:])

    models.answer = hostile
    one.say("hello")
    assert not {"\x1b", "\x07", "\x00", "\u202e", "\u2028"} & set("".join(shown))
    source, out = tmp_path / "a.txt", tmp_path / "b.jsonl"
    source.write_text("hello\n")
    chat.batch(models, list(chat.prompts_of(source)), "", out, source)
    assert not {b"\x1b"[0], 7, 0} & set(out.read_bytes())
    assert read_jsonl(out)[0]["messages"][-1]["content"] == HOSTILE.strip()
