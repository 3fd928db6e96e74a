"""What a fork says and leaves: one screen, every field, bad rows by name, and nothing half made."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_fork import LABELS, PAIRS, home  # noqa: F401
from tests.data.test_formats import put
from tunebook.check.findings import Finding, Findings
from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.commands.fork.output import earlier, screen, write
from tunebook.config.overrides import Options
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.files import read_jsonl
from tunebook.data.dataset import load_dataset_config
from tunebook.data.field_use.show import Use
from tunebook.data.render import each_row, render_all

BAD = [{"prompt": f"Where is shed {n}?", "completion": " "} for n in range(5)]


def fork(home: Path, rows: Any, origin: str = "chat-lora", file: str = "a.jsonl", **options: Any) -> int:  # noqa: F811
    return run_fork(ForkOptions(origin, "mine", str(put(home, file, rows)), **options), Console())


def test_bad_rows_up_to_n_are_left_out_and_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    rows = [*PAIRS[:20], {**BAD[0], "id": "s0"}, *PAIRS[20:], *BAD[1:]]
    assert fork(home, rows, drop_bad=5) == 0
    dataset = load_dataset_config("mine")
    assert dataset.allow_drop == 5
    assert sum(map(len, render_all(dataset).values())) == len(PAIRS)
    named = read_jsonl(home / "datasets" / "mine" / write.LEFT_OUT)
    places = [(row["line"], row["id"], row["field"], row["code"]) for row in named]
    assert places[0] == (21, "s0", "completion", "rows.empty_text")
    assert [line for line, *_ in places] == [21, *range(len(PAIRS) + 2, len(PAIRS) + 6)]
    said = capsys.readouterr().out
    assert "5 bad rows" in said and write.LEFT_OUT in said
    assert "5 bad rows are dropped" in (home / "datasets" / "mine" / "README.md").read_text()


def test_more_bad_rows_than_allowed_are_counted_by_kind(home: Path) -> None:  # noqa: F811
    broken = [*PAIRS, *BAD, {"prompt": "x", "completion": float("inf")}]
    with pytest.raises(InputError) as caught:
        fork(home, broken, drop_bad=5)
    assert caught.value.codes == ["rows.empty_text", "rows.more_faults", "rows.not_text"]
    assert "DROP_BAD=6" in str(caught.value) and "2 more of this kind" in str(caught.value)
    assert not (home / "datasets" / "mine").exists()


def test_a_document_that_is_cut_off_is_never_left_out(home: Path) -> None:  # noqa: F811
    with pytest.raises(InputError) as caught:
        fork(home, json.dumps(PAIRS)[:-30], file="a.json", drop_bad=50)
    assert "data.not_json_list" in caught.value.codes
    assert "DROP_BAD" not in str(caught.value)


def test_all_fields_that_are_refused_are_in_one_option(home: Path) -> None:  # noqa: F811
    rows = [{**row, "score": 3, "images": ["a.png"]} for row in PAIRS]
    with pytest.raises(InputError) as caught:
        fork(home, rows)
    assert 'DROP="score images"' in str(caught.value)
    assert fork(home, rows, drop="score images") == 0


def test_a_nested_field_is_left_out_by_its_path(home: Path) -> None:  # noqa: F811
    rows = [{**row, "meta": {"score": 3, "shop": "s"}} for row in PAIRS]
    with pytest.raises(InputError) as caught:
        fork(home, rows)
    assert [problem.key for problem in caught.value.problems[:1]] == ["meta.score"]
    assert fork(home, rows, drop="meta.score") == 0


def test_the_screen_lists_every_field(home: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    rows = [{**row, "id": n, "meta": {"shop": "\x1b[31mred", "n": n}} for n, row in enumerate(PAIRS)]
    assert fork(home, rows) == 0
    said = capsys.readouterr().out
    for name in ("prompt", "completion", "id", "meta.shop", "meta.n"):
        assert name in said
    assert "\x1b" not in said and len(said.splitlines()) <= 25
    assert all(len(line) <= 80 for line in said.splitlines())
    assert "meta.shop" in (home / "datasets" / "mine" / earlier.REPORT).read_text()


def noisy() -> Findings:
    found = Findings()
    for grade in ("error", "warning", "note"):
        for kind in range(6):
            for row in range(400):
                text = f"something long about row {row} " * 5
                found.add(
                    Finding(grade, f"kind {kind}", text, file="a.jsonl", line=row, code="rows.left_out")
                )  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("code", "end"),
    [(0, "make recipe NAME=mine"), (2, "correct the errors"), (4, "see what could not be checked")],
)
def test_the_screen_of_a_large_noisy_file_has_25_lines(code: int, end: str) -> None:
    fields = [
        Use(f"messages[].part_{n}.{'x' * 40}", fate, 10**6, ["'" + "a" * 24 + "'"] * 2)  # type: ignore[arg-type]
        for n in range(30)
        for fate in ("learned", "used", "not learned")
    ]
    told = screen.Told(
        read="/a/very/long/path/" * 9,
        made="recipes/mine " * 12,
        counts={"train": 10**6, "dev": 10, "test": 10},
        own=frozenset(["test"]),
        grouped="by customer",
        groups=10**5,
        labels={f"label {n} {'y' * 50}": n for n in range(500)},
        fields=fields,
        decide=[f"a decision of many words, and more of them {n} " * 9 for n in range(9)],
        details=["how it was read"] * 400,
        report="datasets/mine/fork.txt",
        left_out=7,
        found=noisy(),
    )
    lines = screen.lines(told, "make recipe NAME=mine", code)
    assert len(lines) <= 25 and all(len(line) <= 80 for line in lines)
    assert end in lines[-1] and lines[-1].startswith("next" if code == 0 else "stopped")
    assert any(line.startswith("decide") for line in lines)
    assert any(line.endswith("(6 more to decide)") for line in lines)
    whole = screen.report(told)
    assert all(use.path in whole for use in fields) and whole.count("something long about row 399") >= 18


def test_an_error_is_on_the_screen_with_what_to_do() -> None:
    found = Findings()
    found.extend([Finding("note", f"kind {n}", "long " * 40, code="rows.left_out") for n in range(9)])
    text = "test has 120 rows in 5 groups. " + "With fewer than 6 groups, no difference counts as shown. " * 3
    found.add(Finding("error", "size", text, "Take another GROUP=.", "d.yaml", code="split.shows_nothing"))
    told = screen.Told(
        "x", "y", {"train": 9, "dev": 9, "test": 9}, frozenset(), "by title", 9, {}, [], [], [], "f"
    )
    lines = screen.lines(replace(told, found=found), "make recipe NAME=mine", 2)
    assert "Take another GROUP=." in " ".join(line.strip() for line in lines) and len(lines) <= 25


def test_after_a_failed_check_there_is_no_next(
    home: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(name: str, options: Options, console: Console, as_json: bool, found: Findings) -> int:
        copy = f"{home / 'datasets' / 'mine' / 'source' / 'a.jsonl'}"
        found.add(Finding("error", "rows", "bad.", file=copy, line=7, code="rows.empty_text"))
        return 2

    monkeypatch.setattr("tunebook.commands.fork.fork.run_check", fails)
    assert fork(home, LABELS, "classify-lora") == 2
    said = capsys.readouterr().out
    assert "make recipe" not in said and "fork.txt" in said
    report = (home / "datasets" / "mine" / earlier.REPORT).read_text()
    assert f"{home / 'a.jsonl'}:7: bad." in report, "the person's own file, not our copy"


class Killed(BaseException):
    """The process ends here: nothing after it runs, not even what cleans up."""


@contextmanager
def killed_at(step: int, patch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """End a fork before its call number `step` that changes files."""
    count = [0]

    def counted(call: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            count[0] += 1
            if count[0] == step:
                raise Killed
            return call(*args, **kwargs)

        return wrapped

    def rmtree(*args: Any, **kwargs: Any) -> None:
        if count[0] < step:
            shutil_rmtree(*args, **kwargs)

    shutil_rmtree = shutil.rmtree
    with patch.context() as inner:
        inner.setattr(earlier, "scrap", counted(earlier.scrap))
        inner.setattr(earlier, "record", counted(earlier.record))
        inner.setattr(write.os, "rename", counted(write.os.rename))
        inner.setattr(write.shutil, "copyfile", counted(write.shutil.copyfile))
        inner.setattr(write.shutil, "rmtree", rmtree)
        inner.setattr("tunebook.commands.fork.fork.run_check", counted(lambda *_: 0))
        yield count


@pytest.mark.slow
@pytest.mark.parametrize("step", range(1, 9))
def test_the_same_command_works_after_a_kill_at_any_step(
    step: int,
    home: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with killed_at(step, monkeypatch) as count, pytest.raises(Killed):
        fork(home, LABELS, "classify-lora")
    assert count == [step]
    assert fork(home, LABELS, "classify-lora") == 0
    for kind in ("datasets", "recipes"):
        assert not list((home / kind).glob(".fork-*"))
        assert (home / kind / "mine" / "README.md").is_file()
    assert len(list(each_row(load_dataset_config("mine"), "train"))) == len(LABELS)


def test_half_a_fork_is_written_again_and_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert fork(home, LABELS, "classify-lora") == 0
    shutil.rmtree(home / "recipes" / "mine")  # as after a kill between the two renames
    for kind in ("datasets", "recipes"):
        (home / kind / ".fork-999999999").mkdir()
    capsys.readouterr()
    assert fork(home, LABELS, "classify-lora") == 0
    assert "was stopped before it was done" in capsys.readouterr().err
    assert (home / "recipes" / "mine" / "recipe.yaml").is_file()
    assert not [*home.glob("*/.fork-*")]


def test_there_are_eight_steps(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    with killed_at(99, monkeypatch) as count:
        fork(home, LABELS, "classify-lora")
    assert count == [8], "each is tried above"


def test_a_fork_that_a_person_changed_is_not_written_again(home: Path) -> None:  # noqa: F811
    assert fork(home, LABELS, "classify-lora") == 0
    recipe = home / "recipes" / "mine" / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "# mine\n")
    with pytest.raises(InputError) as caught:
        fork(home, LABELS, "classify-lora")
    assert caught.value.code == "fork.name_taken" and recipe.read_text().endswith("# mine\n")


def test_other_options_may_be_tried_and_other_data_does_not_take_the_name(
    home: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert fork(home, LABELS, "classify-lora") == 0
    assert fork(home, LABELS, "classify-lora", group="none") == 0
    with pytest.raises(InputError) as caught:
        fork(home, LABELS, "classify-lora", file="b.jsonl")
    assert caught.value.code == "fork.name_taken"
    monkeypatch.setenv("TUNEBOOK_RUNS", str(home / "runs"))
    (home / "runs" / "mine").mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        fork(home, LABELS, "classify-lora")
    assert caught.value.code == "fork.name_taken", "it has been run"


def test_a_fork_that_still_runs_keeps_its_folder(home: Path) -> None:  # noqa: F811
    running, dead = home / "datasets" / ".fork-1", home / "datasets" / ".fork-999999999"
    running.mkdir()
    dead.mkdir()
    earlier.clear(home / "datasets")
    assert running.is_dir() and not dead.exists()
    os.utime(running, (0, 0))
    earlier.clear(home / "datasets")
    assert not running.exists(), "another process has its number by now"
