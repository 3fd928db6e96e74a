"""Rows with reasoning: fork asks what becomes of it, and writes the same recipe for every way to write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_fork import TEXTS, fork, home  # noqa: F401
from tests.data.test_formats import put
from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.data.dataset import load_dataset_config
from tunebook.data.field_use.find import uses
from tunebook.data.render import render_all

THOUGHT = "Nobody has looked into it."
LINES = 75  # of trial.yaml with its chat template


def field(number: int) -> dict[str, Any]:
    return {"content": f"Nobody knows why {TEXTS[number]}.", "reasoning_content": f"{THOUGHT} {number}"}


def inline(number: int) -> dict[str, Any]:
    return {"content": f"<think>\n{THOUGHT} {number}\n</think>\n\nNobody knows why {TEXTS[number]}."}


def chat(turn: Any) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"Why is it that {text}?"},
                {"role": "assistant", **turn(number)},
            ]
        }
        for number, text in enumerate(TEXTS)
    ]


def prompts() -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"Why is it that {text}?",
            "completion": field(n)["content"],
            "reasoning": f"{THOUGHT} {n}",
        }
        for n, text in enumerate(TEXTS)
    ]


def long() -> list[dict[str, Any]]:
    rows = chat(field)
    for row in rows:
        turns = [{"role": "user", "content": "Are you sure?"}]
        row["messages"] += [
            *turns,
            {"role": "assistant", "content": "Yes.", "reasoning_content": "I looked."},
        ]
    return rows


WAYS = {"a field": chat(field), "inline": chat(inline), "prompts": prompts()}


@pytest.mark.parametrize("way", WAYS)
def test_reasoning_is_not_taken_without_a_word(way: str, home: Path) -> None:  # noqa: F811
    options = ForkOptions("chat-lora", "mine", str(put(home, "a.jsonl", WAYS[way])))
    with pytest.raises(InputError) as error:
        run_fork(options, Console(quiet=True))
    assert error.value.codes[0] in ("rows.meaning_not_read", "fork.thinking_undecided")
    assert "THINKING=keep" in str(error.value) and "THINKING=mask" in str(error.value)
    assert not (home / "recipes" / "mine").exists()


@pytest.mark.parametrize("thinking", ["off", "keep", "mask"])
@pytest.mark.parametrize("way", WAYS)
def test_the_option_writes_the_key_and_what_it_needs(way: str, thinking: str, home: Path) -> None:  # noqa: F811
    lines = 15 if thinking == "off" else LINES
    recipe = fork(home, WAYS[way], "chat-lora", lines=lines, thinking=thinking)
    assert "tunebook.plugins.Thinking" in recipe.config["plugins"]
    for tier in ("real", "trial"):
        config = resolve(recipe, Options(tier, "80gb"), for_this_machine=False).config  # type: ignore[arg-type]
        assert config["thinking"] == thinking
        if thinking != "off":
            assert config["chat_template_kwargs"] == {"enable_thinking": True}
    dataset = load_dataset_config("mine")
    assert dataset.source.reasoning
    rows = [row for some in render_all(dataset).values() for row in some]
    assert len(rows) == len(TEXTS)
    for row in rows:
        answer = row["messages"][-1]
        assert answer["reasoning_content"].startswith(THOUGHT)
        assert answer["content"].startswith("Nobody knows") and row["gold"]["answer"] == answer["content"]
    assert "reasoning" in (home / "datasets" / "mine" / "README.md").read_text()


def test_a_field_of_reasoning_is_learned_or_shown(home: Path) -> None:  # noqa: F811
    fork(home, WAYS["a field"], "chat-lora", lines=LINES, thinking="keep")
    found = {use.path: use.fate for use in uses(load_dataset_config("mine"))}
    assert found["messages[].reasoning_content"] == "learned"


def test_each_answer_of_a_conversation_becomes_a_row(home: Path) -> None:  # noqa: F811
    recipe = fork(home, long(), "chat-lora", lines=LINES, thinking="keep")
    assert recipe.config["datasets"][0]["message_field_training"] == "weight"
    rows = render_all(load_dataset_config("mine"))
    whole = sum(len(rows[split]) for split in ("dev", "test"))
    assert len(rows["train"]) == 2 * (len(TEXTS) - whole)
    assert "each answer of a conversation" in (home / "datasets" / "mine" / "README.md").read_text()


@pytest.mark.parametrize(
    ("origin", "rows"),
    [
        ("chat-lora", chat(lambda n: {"content": f"Nobody knows why {TEXTS[n]}."})),
        ("classify-lora", [{"text": text, "label": "ab"[n % 2]} for n, text in enumerate(TEXTS)]),
    ],
)
def test_the_option_without_reasoning_is_refused(origin: str, rows: Any, home: Path) -> None:  # noqa: F811
    options = ForkOptions(origin, "mine", str(put(home, "a.jsonl", rows)), thinking="keep")
    with pytest.raises(InputError) as error:
        run_fork(options, Console(quiet=True))
    assert error.value.code == "option.no_effect" and "THINKING=" in str(error.value)


def test_a_recipe_says_what_becomes_of_reasoning(home: Path) -> None:  # noqa: F811
    """Rows that are read with reasoning need the key; one without any is a warning."""
    from tunebook.check.config import config_findings

    fork(home, WAYS["a field"], "chat-lora", lines=LINES, thinking="keep")
    path = home / "recipes" / "mine" / "recipe.yaml"
    text = path.read_text()

    def codes(changed: str) -> list[tuple[str, str]]:
        path.write_text(changed)
        resolved = resolve(recipes.load_recipe("mine"), Options("real", "80gb"), for_this_machine=False)
        return [
            (one.grade, one.code) for one in config_findings(resolved) if one.code.startswith("thinking.")
        ]

    (line,) = [line for line in text.splitlines() if line.startswith("thinking:")]
    assert codes(text) == []
    assert codes(text.replace(line, "")) == [("error", "thinking.not_set")]
    assert codes(text.replace(line, "thinking: off")) == []
    data = home / "datasets" / "mine" / "dataset.yaml"
    data.write_text(data.read_text().replace("reasoning: true", "reasoning: false"))
    assert codes(text) == [("warning", "thinking.no_reasoning")]
    path.write_text(text.replace(line, "thinking: sometimes"))
    with pytest.raises(InputError) as error:
        resolve(recipes.load_recipe("mine"), Options("real", "80gb"), for_this_machine=False)
    (problem,) = error.value.problems
    assert (problem.code, problem.key) == ("thinking.bad_value", "thinking")
    assert problem.line == text.splitlines().index(line) + 1
