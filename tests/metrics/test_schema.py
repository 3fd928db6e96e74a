"""metrics.json has the documented form, and the page names every field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import ValidationError
from typing_extensions import is_typeddict

from tests.support.helpers import CONTENDERS
from tunebook.core.errors import InputError
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import ROOT
from tunebook.metrics.aggregate import MEASURED
from tunebook.metrics.schema import Metrics, read_metrics, validate, write_metrics
from tunebook.runs.run import Run

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("options", [{}, {"groups": 2, "retention": False}])
@pytest.mark.parametrize("task", CONTENDERS)
def test_metrics_json_follows_the_schema(
    task: str, options: dict[str, Any], handmade: Callable[..., Run]
) -> None:
    read_metrics(handmade(task, **options) / "metrics.json")


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"verdict": "good"},
        {"rows": "20"},
        {"contenders": {"tuned": {"accuracy": {"value": 1.0}}}},
        {"schema": 2},
    ],
)
def test_another_form_is_refused(change: dict[str, Any], handmade: Callable[..., Run]) -> None:
    found = read_json(handmade() / "metrics.json")
    with pytest.raises(ValidationError):
        validate(found | change)
    for key in change.keys() & found.keys():
        with pytest.raises(ValidationError):
            validate({name: value for name, value in found.items() if name != key})


@pytest.mark.parametrize(
    ("change", "code", "key"),
    [
        ({"schema": 2}, "run.other_version", "schema"),
        ({"rows": "20"}, "run.bad_metrics", "rows"),
        ({"more": 1}, "run.bad_metrics", "more"),
    ],
)
def test_another_file_is_refused_by_name(
    change: dict[str, Any], code: str, key: str, handmade: Callable[..., Run]
) -> None:
    path = handmade() / "metrics.json"
    write_json(path, read_json(path) | change)
    with pytest.raises(InputError) as caught:
        read_metrics(path)
    (problem,) = caught.value.problems
    assert (problem.code, problem.key, Path(str(problem.file)).name) == (code, key, "metrics.json")


def test_writing_leaves_the_file_as_it_was(handmade: Callable[..., Run]) -> None:
    path = handmade() / "metrics.json"
    before = path.read_bytes()
    write_metrics(path, read_metrics(path))
    assert path.read_bytes() == before


def forms(kind: Any) -> Iterator[Any]:
    """Yield the TypedDicts inside an annotation, and inside their fields."""
    if is_typeddict(kind):
        yield kind
        for field in get_type_hints(kind).values():
            yield from forms(field)
    for part in get_args(kind):
        yield from forms(part)


def test_the_page_names_every_field_and_metric() -> None:
    named = set(re.findall(r"`([a-z_0-9]+)`", PAGE))
    for form in set(forms(Metrics)):
        assert set(get_type_hints(form)) <= named, form.__name__
    for task, metrics in MEASURED.items():
        assert set(metrics) <= named, task


def test_the_page_names_no_field_that_is_not_there() -> None:
    table = PAGE.partition("## Metrics")[0]
    first = set(re.findall(r"^\| `([a-z_0-9]+)` \|", table, re.MULTILINE))
    assert first == set(get_type_hints(Metrics))
