"""Options of fork for conversations of other tools: they are written into dataset.yaml, and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_fork import PAIRS, fork, home
from tests.data.test_formats import put
from tests.support.foreign_rows import openai
from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.yaml_file import read_yaml
from tunebook.data.dataset import load_dataset_config
from tunebook.data.render import render_all

__all__ = ["home"]
NAMES = "system Kundin Haus"


def talk(asked: str, said: str, *more: str) -> dict[str, Any]:
    return {"messages": openai("A: Hello.", f"U: {asked}", "U: Well?", f"A: {said}", *more, names=NAMES)}


TALKS = [talk(row["prompt"], row["completion"], *["U: Thanks."][n % 2 :]) for n, row in enumerate(PAIRS)]


def test_roles_and_repairs(home: Path) -> None:
    fork(
        home,
        TALKS,
        "chat-lora",
        roles="Kundin=user Haus=assistant",
        repair="join_turns drop_opening drop_unanswered",
    )
    source = read_yaml(home / "datasets" / "mine" / "dataset.yaml")[0]["source"]
    assert source["roles"] == {"Kundin": "user", "Haus": "assistant"}
    rows = render_all(load_dataset_config("mine"))
    assert sum(map(len, rows.values())) == len(PAIRS)
    turns = {tuple(turn["content"] for turn in row["messages"]) for some in rows.values() for row in some}
    assert turns == {(row["prompt"] + "\n\nWell?", row["completion"]) for row in PAIRS}
    card = (home / "datasets" / "mine" / "README.md").read_text()
    for repair, count in (("join_turns", 48), ("drop_opening", 48), ("drop_unanswered", 24)):
        line = next(line for line in card.splitlines() if f"REPAIR={repair}" in line)
        assert f"in {count} conversations" in line


def test_rows_that_where_leaves_out(home: Path) -> None:
    rows = [{**row, "label": bool(n % 8)} for n, row in enumerate(PAIRS)]
    with pytest.raises(InputError) as caught:
        run_fork(ForkOptions("chat-lora", "mine", str(put(home, "a.jsonl", rows))), Console())
    assert caught.value.problems[0].key == "label"
    assert caught.value.code == "rows.meaning_not_read"
    assert 'WHERE="label"' in str(caught.value)
    fork(home, rows, "chat-lora", where="label")
    assert sum(map(len, render_all(load_dataset_config("mine")).values())) == 42


def test_messages_of_openassistant(home: Path) -> None:
    rows = []
    for n, row in enumerate(PAIRS):
        tree = {"message_tree_id": f"t{n}", "rank": None}
        rows += [
            {"message_id": f"t{n}", "parent_id": None, "text": row["prompt"], "role": "prompter", **tree},
            {
                "message_id": f"a{n}",
                "parent_id": f"t{n}",
                "text": row["completion"],
                "role": "assistant",
                **tree,
            },
        ]
    fork(home, rows, "chat-lora")
    dataset = load_dataset_config("mine")
    assert (dataset.source.reader, dataset.group) == ("oasst_best_paths", "tree")
    assert sum(map(len, render_all(dataset).values())) == len(PAIRS)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"roles": "Kundin"}, "option.bad_roles"),
        ({"roles": "Kundin=guest"}, "option.bad_roles"),
        ({"roles": "'Kundin=user"}, "option.bad_roles"),
        ({"repair": "join"}, "option.unknown_repair"),
        ({"where": "label >"}, "data.bad_where"),
    ],
)
def test_options_that_say_nothing(home: Path, options: dict[str, str], code: str) -> None:
    data = str(put(home, "a.jsonl", TALKS))
    with pytest.raises(InputError) as caught:
        run_fork(ForkOptions("chat-lora", "mine", data, **options), Console())  # type: ignore[arg-type]
    assert caught.value.code == code


def test_a_repair_of_rows_that_are_no_conversations(home: Path) -> None:
    data = str(put(home, "a.jsonl", PAIRS))
    with pytest.raises(InputError) as caught:
        run_fork(ForkOptions("chat-lora", "mine", data, repair="join_turns"), Console())
    assert caught.value.code == "option.repair_not_chat"


def test_a_row_on_which_where_fails_is_named(home: Path) -> None:
    rows = [{**row, "score": n} for n, row in enumerate(PAIRS)]
    rows[7]["score"] = None
    data = str(put(home, "a.jsonl", rows))
    with pytest.raises(InputError) as caught:
        run_fork(ForkOptions("chat-lora", "mine", data, where="score > 3", drop="score"), Console())
    (problem,) = caught.value.problems
    assert (problem.code, problem.line, problem.key) == ("rows.where_fails", 8, "source.where")
