"""Files that a run hands out, in its metrics and its report."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tunebook.core.files import read_json, write_json
from tunebook.export.parity import FILE, RUN, blank_line, line_of, path_of
from tunebook.metrics.answers import Answer
from tunebook.metrics.schema import read_metrics
from tunebook.models.fingerprint import weights_hash
from tunebook.report.parity import result
from tunebook.report.report import write_report
from tunebook.report.verdict import compare
from tunebook.runs.run import Run


@pytest.fixture
def measured(handmade: Callable[..., Run]) -> Run:
    """A run of which two files were measured."""
    run = handmade("qa")
    (run / "model").mkdir(exist_ok=True)
    (run / "model" / "model.safetensors").write_bytes(b"weights")
    records: list[Answer] = [
        {"id": str(i), "group": str(i), "gold": "a", "answer": "a", "f1": 1.0, "stopped": True}
        for i in range(9)
    ]
    both = {RUN: records, FILE: records}
    for name in ("gguf-q8_0", "merged"):
        blank = blank_line(name, weights_hash(run / "model"), "f1", 0.02, records)
        path = path_of(run, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, dict(line_of(blank, both, {RUN: [1.0] * 9, FILE: [1.0] * 9}, [], 1.0)))
    return run


def changed(run: Run, name: str, **values: object) -> None:
    path = path_of(run, name)
    write_json(path, {**read_json(path), **values})


def test_both_stand_in_metrics_and_report(measured: Run) -> None:
    compare(measured)
    found = read_metrics(measured / "metrics.json")
    assert [line["artefact"] for line in found["exports"]] == ["gguf-q8_0", "merged"]
    assert "exports_to_measure_again" not in found


@pytest.mark.parametrize("change", [{"weights": "others"}, {"share_of_later_version": 0.5}, {"rows": None}])
def test_a_line_of_another_version_or_of_other_weights_is_named(
    measured: Run, change: dict[str, object]
) -> None:
    changed(measured, "merged", **change)
    assert "merged" in compare(measured)
    found = read_metrics(measured / "metrics.json")
    assert [line["artefact"] for line in found["exports"]] == ["gguf-q8_0"]
    assert found["exports_to_measure_again"] == ["merged"]
    for path in (write_report(measured), measured / "report.md"):
        assert "the measurement of merged is out of date" in path.read_text()


def test_where_no_line_counts_each_is_named(measured: Run) -> None:
    for name in ("gguf-q8_0", "merged"):
        changed(measured, name, weights="others")
    compare(measured)
    found = read_metrics(measured / "metrics.json")
    assert "exports" not in found
    assert found["exports_to_measure_again"] == ["gguf-q8_0", "merged"]


@pytest.mark.parametrize(
    ("metric", "low", "high", "passed", "said"),
    [
        ("loss", -0.001, 0.011, True, "no drop shown"),
        ("loss", 0.007, 0.011, True, "worse, within 0.02"),  # bits per byte: lower is better
        ("accuracy", -0.03, -0.001, True, "worse, within 0.02"),
        ("accuracy", 0.001, 0.03, True, "no drop shown"),
        ("accuracy", -0.2, -0.1, False, "worse"),
    ],
)
def test_a_shown_drop_within_the_tolerance_is_no_missing_one(
    metric: str, low: float, high: float, passed: bool, said: str
) -> None:
    line = blank_line("gguf-q8_0", "0" * 64, metric, 0.02, [])
    line.update({"low": low, "high": high, "passed": passed})
    assert result(line) == said
