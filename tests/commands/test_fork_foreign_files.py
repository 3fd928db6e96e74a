"""Files of public datasets and other tools, each forked as a person would: the rows are what was written by
hand, or the refusal names the next step."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_fork import home  # noqa: F401
from tests.support.foreign_files import CASES, LABEL, LABELS, Case, put, text
from tunebook.commands.fork import fork as fork_module
from tunebook.commands.fork.fork import ForkOptions, run_fork
from tunebook.commands.fork.tables.facts import table_options
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.data.dataset import load_dataset_config
from tunebook.data.render import each_row, render_all
from tunebook.runs.rows import RenderedRow

TABLE = ("encoding", "delimiter", "header", "sheet", "quotes")


def turns(row: RenderedRow) -> tuple[str, ...]:
    """Return a rendered row as tests/support/foreign_files.py writes it, without its system prompt."""
    said = [turn for turn in row["messages"] if turn["role"] != "system"]
    rejected = [f"R: {turn['content']}" for turn in row.get("rejected", [])]
    return (*(f"{t['role'][0].upper()}{t.get('weight', '')}: {t['content']}" for t in said), *rejected)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] * (at % 4 > 0))
        for at, case in enumerate(CASES)
    ],
)
def test_a_file_is_read_right_or_refused_with_a_next_step(
    case: Case,
    home: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fork_module, "run_check", lambda *_: 0)
    options: dict[str, Any] = dict(case.options)
    given = {name: options.pop(name, "") for name in TABLE}
    (home / "given").mkdir()
    data = str(case.write(home / "given"))
    asked = ForkOptions(case.origin, "mine", data, table=table_options(**given), **options)
    if case.fault:
        with pytest.raises(InputError) as caught:
            run_fork(asked, Console(quiet=True))
        assert case.fault in caught.value.codes
        assert case.says in str(caught.value)
        assert not (home / "datasets" / "mine").exists()
        return
    assert run_fork(asked, Console(quiet=True)) == 0
    rows = [row for some in render_all(load_dataset_config("mine")).values() for row in some]
    assert Counter(map(turns, rows)) == Counter(case.expected)


def test_a_fault_in_a_gathered_folder_names_the_own_file_and_line(
    home: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fork_module, "run_check", lambda *_: 0)
    for name in LABELS:
        rows = [{"text": text(len(name) * 100 + n)} for n in range(20)]
        put(home, f"given/{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    bad = home / "given" / "fog.jsonl"
    bad.write_text(bad.read_text().replace(text(305), ""))
    asked = ForkOptions(LABEL, "mine", str(home / "given"))
    with pytest.raises(InputError) as caught:
        run_fork(asked, Console(quiet=True))
    problem = caught.value.problems[0]
    assert (Path(str(problem.file)).name, problem.line, problem.key) == ("fog.jsonl", 6, "text")
    bad.write_text(bad.read_text().replace('"text": ""', '"text": "mended"'))
    assert run_fork(asked, Console(quiet=True)) == 0
    located = [one for one in each_row(load_dataset_config("mine"), "train")]
    assert ("fog.jsonl", 6) in [(Path(one.place).name, one.line) for one in located]
