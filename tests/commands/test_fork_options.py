"""Every option of fork on every kind of data, alone and in pairs: it has an effect, is said, or is refused by
name. Never does a library's own error come through, and never is an option taken without a word."""

from __future__ import annotations

import csv
import io
import itertools
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_fork import home  # noqa: F401
from tests.data.test_formats import put
from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.commands.fork.tables.facts import table_options
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.data.dataset import load_dataset_config
from tunebook.data.render import render_all

ROWS = 60
WORDS = """order refund parcel login card invoice window lamp shelf garden bike train ticket meal hotel river
harbour kettle teapot ladder bucket saddle violin""".split()
TABLE = ("encoding", "delimiter", "header", "sheet", "quotes")


def sentence(number: int) -> str:
    return " ".join(random.Random(number).sample(WORDS, 9))


def cells(number: int) -> dict[str, Any]:
    label = ("door", "roof", "lift")[number % 3]
    return {
        "text": f"{sentence(number)}; the {label} again",
        "label": label,
        "who": f"tenant {number % 12}",
        "when": f"2026-03-{number % 28 + 1:02} 10:00",
        "n": number,
    }


def rest(number: int) -> dict[str, Any]:
    return {key: value for key, value in cells(number).items() if key in ("who", "when", "n")}


def table(delimiter: str, some: range = range(ROWS)) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, [*cells(0)], delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(cells, some))
    return out.getvalue()


def talk(number: int) -> dict[str, Any]:
    said = {"role": "assistant", "content": f"It is {number}."}
    return {"messages": [{"role": "user", "content": sentence(number)}, said], **rest(number)}


def prompt(number: int) -> dict[str, Any]:
    return {"prompt": sentence(number), "completion": f"It is {number}.", **rest(number)}


def lines(row: Callable[[int], dict[str, Any]]) -> Callable[[Path], str]:
    return lambda folder: str(put(folder, "a.jsonl", [row(number) for number in range(ROWS)]))


def labelled(folder: Path, name: str) -> str:
    rows = [cells(number) for number in range(ROWS)]
    sheet = [[*rows[0]], *([*row.values()] for row in rows)]
    return str(put(folder, name, sheet if name.endswith(".xlsx") else rows))


def by_split(folder: Path) -> str:
    parts = {"train": range(40), "dev": range(40, 50), "test": range(50, 60)}
    paths = {name: put(folder, f"{name}.csv", table(",", some)) for name, some in parts.items()}
    return " ".join(f"{name}={path}" for name, path in paths.items())


def by_column(folder: Path) -> str:
    split = ["train"] * 40 + ["validation"] * 10 + ["test"] * 10
    return str(put(folder, "a.jsonl", [{**cells(n), "split": split[n]} for n in range(ROWS)]))


def folders(folder: Path) -> str:
    for number in range(ROWS):
        row = cells(number)
        put(folder, f"texts/{row['label']}/{number}.txt", f"{row['text']} \u00e9t\u00e9")
    return str(folder / "texts")


def articles(folder: Path) -> str:
    made = []
    for number in range(12):
        passage = " ".join(sentence(12 * number + part) for part in range(3)) + f" It was tenant {number}."
        asked = [
            {
                "id": f"{number}-{part}",
                "question": f"Who was it in {sentence(number * 5 + part)}?",
                "answers": [{"text": f"tenant {number}", "answer_start": passage.index(f"tenant {number}")}],
            }
            for part in range(5)
        ]
        made.append({"title": f"house {number}", "paragraphs": [{"context": passage, "qas": asked}]})
    return str(put(folder, "a.json", {"version": "1", "data": made}))


def questions(number: int) -> dict[str, Any]:
    passage = f"{sentence(number)} It was tenant {number}."
    asked = {"question": f"Who was it in {sentence(number + 100)}?", "answers": [f"tenant {number}"]}
    return {**asked, "context": passage, **rest(number)}


def pair(number: int) -> dict[str, Any]:
    return {"prompt": sentence(number), "chosen": f"It is {number}.", "rejected": "No.", **rest(number)}


@dataclass(frozen=True)
class Data:
    """A kind of data: the recipe that it is forked from, and how DATA is made in a folder."""

    origin: str
    made: Callable[[Path], str]
    by_hand: tuple[str, ...] = ()  # options about files that it takes


DATA = {
    "csv": Data(
        "classify-lora",
        lambda at: str(put(at, "a.csv", table(","))),
        ("encoding", "delimiter", "header", "quotes"),
    ),
    "semicolons": Data(
        "classify-lora",
        lambda at: str(put(at, "a.csv", table(";"))),
        ("encoding", "delimiter", "header", "quotes"),
    ),
    "jsonl": Data("classify-lora", lambda at: labelled(at, "a.jsonl"), ("encoding",)),
    "json": Data("classify-lora", lambda at: labelled(at, "a.json"), ("encoding",)),
    "excel": Data("classify-lora", lambda at: labelled(at, "a.xlsx"), ("header", "sheet")),
    "parquet": Data("classify-lora", lambda at: labelled(at, "a.parquet")),
    "three files": Data("classify-lora", by_split, ("encoding", "delimiter", "header", "quotes")),
    "a column of splits": Data("classify-lora", by_column, ("encoding",)),
    "folders": Data("classify-lora", folders, ("encoding",)),
    "chat": Data("chat-lora", lines(talk), ("encoding",)),
    "prompts": Data("chat-lora", lines(prompt), ("encoding",)),
    "pairs": Data("chat-dpo", lines(pair), ("encoding",)),
    "squad": Data("qa-lora", articles, ("encoding",)),
    "questions": Data("qa-lora", lines(questions), ("encoding",)),
}
# Values of each option: some fit some kinds of data, some fit none.
VALUES = {
    "task": ["classification", "chat"],
    "fields": ["text=text label=label", "prompt=prompt completion=completion"],
    "group": ["who", "none", "text", "nothing"],
    "time": ["when", "text", "nothing"],
    "drop": ["n", "label", "when", "nothing"],
    "near": ["off", "strict"],
    "where": ["n > 3", "n >= 0", "nothing > 3", "n < 0"],
    "roles": ["agent=assistant", "assistant=assistant", "user=user assistant=assistant"],
    "repair": ["join_turns"],
    "encoding": ["cp1252", "utf-16"],
    "delimiter": ["comma", "pipe"],
    "header": ["1", "3", "none"],
    "sheet": ["Sheet", "nothing"],
    "quotes": ["none"],
    "labels": ["join", "whole", "nofile.txt"],
    "window": ["50"],
    "length": ["512"],
    "allow": ["hub_model_id"],
    "thinking": ["keep", "off"],
    "drop_bad": [3],
    "model": ["Qwen/Qwen3-0.6B"],
}
ALL = [(option, value) for option, values in VALUES.items() for value in values]
# The other kinds take minutes together.
TIERS = {"csv": [], "chat": [pytest.mark.slow], "squad": [pytest.mark.slow], "pairs": [pytest.mark.slow]}
# Options that may say what would be done anyway: a person settles it.
SETTLES = ("task", "fields", "delimiter", "header", "labels")
LIBRARY = ("pydantic", "Traceback", "validation error", "Value error", "NoneType", "Error:", "jinja2")


def outcome(place: Path, data: str, origin: str, given: dict[str, Any]) -> str | None:
    """Fork, and return what was written, None with the message in `place`/said where it was refused."""
    said = place / "said"
    said.unlink(missing_ok=True)
    for kind in ("recipes", "datasets"):
        shutil.rmtree(place / kind / "mine", ignore_errors=True)
    own = {name: str(value) for name, value in given.items() if name in TABLE}
    others = {name: value for name, value in given.items() if name not in TABLE}
    try:
        if own:
            words = [own.get(name, "usual" if name == "quotes" else "") for name in TABLE]
            others["table"] = table_options(*words)
        run_fork(ForkOptions(origin, "mine", data, **others), Console(quiet=True))
    except InputError as error:
        said.write_text(str(error))
        return None
    files = ["recipes/mine/recipe.yaml", "datasets/mine/dataset.yaml", "datasets/mine/README.md"]
    return "".join((place / name).read_text() for name in files)


def said_by_name(place: Path, given: dict[str, Any]) -> bool:
    said = (place / "said").read_text()
    assert not any(word in said for word in LIBRARY), said
    return any(f"{name.upper()}=" in said or f"--{name}" in said for name in given)


@pytest.mark.parametrize(
    "kind", [pytest.param(one, marks=TIERS.get(one, [pytest.mark.long])) for one in DATA]
)
def test_each_option_has_an_effect_or_is_refused_by_name(kind: str, home: Path) -> None:  # noqa: F811
    data = DATA[kind].made(home / "own")
    plain = outcome(home, data, DATA[kind].origin, {})
    assert plain, (home / "said").read_text()
    wrong = []
    for option, value in ALL:
        made = outcome(home, data, DATA[kind].origin, {option: value})
        if made is None and not said_by_name(home, {option: value}):
            wrong.append((option, value, "refused without its name", (home / "said").read_text()))
        elif made == plain and f"{option.upper()}=" not in made and option not in SETTLES:
            wrong.append((option, value, "taken, and nothing differs", ""))
        elif made is not None and option in TABLE and option not in DATA[kind].by_hand:
            wrong.append((option, value, "taken by a file that it cannot be for", ""))
    assert not wrong, "\n".join(str(one) for one in wrong)


@pytest.mark.long
@pytest.mark.parametrize("kind", DATA)
def test_two_options_together_end_in_a_fork_or_a_sentence_that_names_one(kind: str, home: Path) -> None:  # noqa: F811
    data = DATA[kind].made(home / "own")
    wrong = []
    for (one, first), (other, second) in itertools.combinations(ALL, 2):
        given = {one: first, other: second}
        if one != other and outcome(home, data, DATA[kind].origin, given) is None:
            if not said_by_name(home, given):
                wrong.append((given, (home / "said").read_text()))
    assert not wrong, "\n".join(str(one) for one in wrong)


def test_what_needs_no_row_is_said_before_a_file_is_opened(
    home: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither FROM's files nor DATA's."""
    data = DATA["csv"].made(home / "own")
    monkeypatch.setattr("tunebook.commands.fork.fork.load_origin", None)
    monkeypatch.setattr("tunebook.commands.fork.read.find", None)
    for given, code in (
        ({"data": "nofile"}, "fork.no_such_file"),
        ({"data": f"train={data} test={data}"}, "option.bad_data"),
        ({"data": f"train={data} train={data}"}, "option.bad_data"),
        ({"fields": "text=text text=who"}, "option.bad_fields"),
        ({"fields": "text=text label=text"}, "option.bad_fields"),
        ({"fields": "title=text"}, "option.unknown_field"),
        ({"drop": "who", "group": "who"}, "option.contradiction"),
        ({"drop": "when", "time": "when"}, "option.contradiction"),
        ({"drop": "meta", "fields": "text=meta.text label=label"}, "option.contradiction"),
        ({"task": "summaries"}, "option.bad_task"),
        ({"model": "nobody/nothing"}, "model.unknown_base"),
        ({"where": "score >="}, "data.bad_where"),
        ({"roles": "agent"}, "option.bad_roles"),
        ({"repair": "mend"}, "option.unknown_repair"),
        ({"labels": "nofile.txt"}, "fork.no_such_file"),
        ({"labels": "join whole join.txt more.txt"}, "option.bad_labels"),
        ({"window": "few"}, "option.bad_length"),
        ({"length": "long"}, "option.bad_length"),
    ):
        options = ForkOptions(**{"origin": "classify-lora", "name": "mine", "data": data, **given})  # type: ignore[arg-type]
        with pytest.raises(InputError) as caught:
            run_fork(options, Console(quiet=True))
        assert caught.value.code == code, given


def test_a_folder_of_texts_in_another_encoding_is_decoded_once(home: Path) -> None:  # noqa: F811
    data = folders(home / "own")
    for path in Path(data).rglob("*.txt"):
        path.write_bytes(path.read_text().encode("cp1252"))
    options = ForkOptions("classify-lora", "mine", data, table=table_options("cp1252", "", "", "", "usual"))
    assert run_fork(options, Console(quiet=True)) == 0
    texts = [row["messages"][-2]["content"] for row in render_all(load_dataset_config("mine"))["train"]]
    assert texts and all(text.endswith("\u00e9t\u00e9") for text in texts)


@pytest.mark.parametrize(
    ("start", "named", "fine"), [(b"\xef\xbb\xbf", "utf-8", True), (b"\xef\xbb\xbf", "cp1252", False)]
)
def test_the_mark_of_a_file_says_its_encoding(start: bytes, named: str, fine: bool, home: Path) -> None:  # noqa: F811
    path = put(home, "marked.csv", start + table(",").encode())
    options = ForkOptions("classify-lora", "mine", str(path), table=table_options(named, "", "", "", "usual"))
    if fine:
        assert run_fork(options, Console(quiet=True)) == 0
        assert load_dataset_config("mine").source.columns["text"] == "text"
        return
    with pytest.raises(InputError) as caught:
        run_fork(options, Console(quiet=True))
    assert caught.value.code == "data.not_in_encoding" and "ENCODING=" in str(caught.value)


def test_what_where_keeps_is_said(home: Path) -> None:  # noqa: F811
    data = DATA["csv"].made(home / "own")
    for where, said in (
        ("n|int >= 0", "keeps 60 of 60 rows of train: it changes nothing"),
        ("n|int < 50", "keeps 50 of 60"),
    ):
        made = outcome(home, data, "classify-lora", {"where": where})
        assert made and said in made
    assert outcome(home, data, "classify-lora", {"where": "n|int > 99"}) is None
    assert "WHERE=" in (home / "said").read_text() and "none of the 60 rows" in (home / "said").read_text()


def test_a_label_that_is_several_names_its_line(home: Path) -> None:  # noqa: F811
    rows = [{**cells(n), "label": "roof|door" if n in (7, 9, 11) else cells(n)["label"]} for n in range(ROWS)]
    rows[8]["label"], rows[20]["label"] = "door|lift", "lift|roof"
    options = ForkOptions(
        "classify-lora", "mine", str(put(home, "b.jsonl", rows)), fields="text=text label=label"
    )
    with pytest.raises(InputError) as caught:
        run_fork(options, Console(quiet=True))
    (problem,) = caught.value.problems
    assert (problem.code, problem.line, problem.key) == ("labels.several_in_one", 8, "label")
    assert str(problem.file).endswith("b.jsonl")
