"""Forks of long rows: choices with numbers, windows, a length, and a recipe that trains."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands.test_fork import home as home
from tests.support import long_passages
from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.config.overrides import Options
from tunebook.config.recipe import load_recipe
from tunebook.config.resolve import resolve
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.files import write_jsonl
from tunebook.data.dataset import load_dataset_config
from tunebook.data.formats.windows import held
from tunebook.metrics.intervals import FEWEST
from tunebook.pipeline.prepare import prepare_rows

QUESTIONS = {"questions": 60, "passages": 20}  # fewer than 100 rows, so that shares may be missed


def passages(folder: Path, characters: int) -> str:
    return str(long_passages.write(folder / "long.json", characters=characters, **QUESTIONS))


def fork(data: str, **options: Any) -> None:
    assert run_fork(ForkOptions("qa-lora", "mine", data, **options), Console()) == 0


@pytest.mark.slow
def test_rows_over_8192_tokens_stop_the_fork_with_choices_and_commands(home: Path) -> None:
    data = passages(home, 40_000)
    with pytest.raises(InputError) as caught:
        fork(data)
    said = str(caught.value)
    assert caught.value.code == "fork.long_rows" and not (home / "recipes" / "mine").exists()
    assert re.search(r"\d+ of \d+ train rows and \d+ of \d+ dev and test rows have more than 8192", said)
    command = f"make fork FROM=qa-lora NAME=mine DATA={data}"
    assert f"{command} WINDOW=300" in said and f"{command} LENGTH=" in said
    assert (
        len(
            re.findall(
                r"trial about \d+ minutes?, real (?:\d+ to )?\d+ minutes? of training and \d+ GiB", said
            )
        )
        >= 2
    )


@pytest.mark.slow
def test_windows_make_it_a_recipe_that_trains(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fork(passages(home, 40_000), window="120")
    shown = " ".join((home / "datasets" / "mine" / "fork.txt").read_text().split())
    source = load_dataset_config("mine").source
    assert source.window == 120
    recipe = load_recipe("mine")
    assert recipe.config["sequence_len"] <= 1024 and recipe.trial["sequence_len"] <= 512
    rows = prepare_rows(resolve(recipe, Options("trial", "cpu")), load_dataset_config("mine"))
    assert len(rows["train"]) >= 40 and min(len(rows["dev"]), len(rows["test"])) >= 3
    assert held(rows["train"]) == (len(rows["train"]), len(rows["train"]))
    found, of = held(rows["test"])
    assert f"{found} of {of} test windows contain an answer" in shown
    assert "without looking at the answer" in shown
    card = (home / "datasets" / "mine" / "README.md").read_text()
    assert "without looking at the answer" in card


@pytest.mark.slow
def test_a_length_is_taken_and_what_is_left_out_is_counted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"prompt": f"Say {n}. " + "word " * (40 if n < 80 else 9000), "completion": f"{n}."}
        for n in range(100)
    ]
    data = home / "chat.jsonl"
    write_jsonl(data, rows)
    assert (
        run_fork(
            ForkOptions("chat-lora", "mine", str(data), group="none", near="off", length="2048"), Console()
        )
        == 0
    )
    shown = " ".join((home / "datasets" / "mine" / "fork.txt").read_text().split())
    recipe = load_recipe("mine")
    assert recipe.config["sequence_len"] == 2048 and recipe.config["excess_length_strategy"] == "drop"
    assert re.search(r"rows of more than 2048 tokens are dropped from training: \d+ of \d+ train rows", shown)
    notes: list[str] = []
    found = prepare_rows(resolve(recipe, Options("trial", "cpu")), load_dataset_config("mine"), None, notes)
    assert all(len(row["messages"][-2]["content"]) < 9000 for row in found["train"])
    assert any("more than the 8192 tokens that the trial tier" in note for note in notes)


def test_a_long_system_prompt_gets_the_same_choice(home: Path) -> None:
    system = "Mind the rules of the house. " * 1600
    rows = [
        {
            "messages": [
                {"role": role, "content": text}
                for role, text in (("system", system), ("user", f"Ask {n}"), ("assistant", f"Say {n}"))
            ]
        }
        for n in range(60)
    ]
    data = home / "chat.jsonl"
    write_jsonl(data, rows)
    options = ForkOptions("chat-lora", "mine", str(data), near="off")
    with pytest.raises(InputError) as caught:
        run_fork(options, Console())
    assert caught.value.code == "fork.long_rows"
    assert "WINDOW" not in str(caught.value) and "LENGTH=" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"window": "many"}, "option.bad_length"),
        ({"window": "5"}, "option.bad_length"),
        ({"length": "12"}, "option.bad_length"),
        ({"length": "2048"}, "rows.too_few_to_train"),
    ],
)
def test_what_cannot_be_done_is_said(home: Path, options: dict[str, str], code: str) -> None:
    with pytest.raises(InputError) as caught:
        fork(passages(home, 20_000), **options)
    assert caught.value.code == code
    if code == "rows.too_few_to_train":
        assert "LENGTH=" in str(caught.value) and "WINDOW=300" in str(caught.value)


def test_a_window_needs_a_passage(home: Path) -> None:
    data = home / "a.jsonl"
    write_jsonl(data, [{"prompt": f"Say {n}", "completion": f"{n} is said"} for n in range(60)])
    with pytest.raises(InputError) as caught:
        run_fork(ForkOptions("chat-lora", "mine", str(data), window="300"), Console())
    assert caught.value.code == "option.no_passages"


def test_under_30_train_rows_are_no_recipe(home: Path) -> None:
    data = home / "a.jsonl"
    write_jsonl(data, [{"prompt": f"Say the number {n}", "completion": f"{n} is said"} for n in range(8)])
    with pytest.raises(InputError) as caught:
        run_fork(ForkOptions("chat-lora", "mine", str(data), near="off"), Console())
    assert caught.value.code == "rows.too_few_to_train"


def test_long_rows_below_8192_go_on_and_say_what_they_cost(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fork(passages(home, 15_000))
    shown = " ".join(capsys.readouterr().out.split())
    assert "take time: trial about" in shown and "WINDOW=300 instead: windows of 300 words" in shown
    details = (home / "datasets" / "mine" / "fork.txt").read_text()
    assert "LENGTH=" not in details, "2048 would leave no row, and 4096 is what it is"
    trial = yaml.safe_load((home / "recipes" / "mine" / "trial.yaml").read_text())
    assert 2048 < trial["sequence_len"] <= 4096


def test_a_small_set_is_not_packed_into_a_few_steps(home: Path) -> None:
    rows = [{"prompt": f"Say the number {n} aloud", "completion": f"{n} is said"} for n in range(1000)]
    for name, count, packed in (("few", 200, False), ("many", 1000, True)):
        data = home / f"{name}.jsonl"
        write_jsonl(data, rows[:count])
        assert run_fork(ForkOptions("chat-lora", name, str(data), near="off"), Console()) == 0
        config = load_recipe(name).config
        assert config["sample_packing"] is packed and config["pad_to_sequence_len"] is packed
    write_jsonl(data, rows[:60])
    assert run_fork(ForkOptions("chat-lora", "fewer", str(data), near="off"), Console()) == 0
    assert load_recipe("fewer").config["num_epochs"] == 5, "more epochs, but not hundreds"


@pytest.mark.slow
def test_of_few_groups_test_gets_enough_to_show_a_difference(home: Path) -> None:
    data = str(long_passages.write(home / "long.json", questions=640, passages=32, characters=2_000))
    fork(data)
    source = load_dataset_config("mine").source
    assert source.test_share == 0.25
    rows = prepare_rows(
        resolve(load_recipe("mine"), Options("real", "80gb"), for_this_machine=False),
        load_dataset_config("mine"),
    )
    assert len({row["group"] for row in rows["test"]}) >= FEWEST


def test_columns_for_an_honest_split_are_offered_first(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"text": f"The light of room {n} is out again, see to it", "label": "ab"[n % 2]}
        | {
            "tenant": f"t{n % 60}",
            "created": f"2026-03-{n % 28 + 1:02} 10:00",
            "mood": ["good", "bad"][n % 2],
        }
        for n in range(240)
    ]
    write_jsonl(home / "rows.jsonl", rows)
    options = ForkOptions("classify-lora", "mine", str(home / "rows.jsonl"), near="off")
    assert run_fork(options, Console()) == 0
    text = (home / "datasets" / "mine" / "fork.txt").read_text().partition("To decide")[2]
    first = text.strip().splitlines()[0]
    assert "GROUP=tenant" in first and "TIME=created" in first and "mood" not in first
    assert run_fork(replace(options, time="created"), Console()) == 0
    assert "rows count as independent" not in (home / "datasets" / "mine" / "fork.txt").read_text()
