"""metrics.json has the documented form, and the page names every field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from tests.support.helpers import CONTENDERS
from tunebook.core.files import read_json
from tunebook.core.paths import ROOT
from tunebook.metrics.aggregate import MEASURED
from tunebook.metrics.schema import Metrics
from tunebook.runs.run import Run

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("options", [{}, {"groups": 2, "retention": False}])
@pytest.mark.parametrize("task", CONTENDERS)
def test_metrics_json_follows_the_schema(
    task: str, options: dict[str, Any], handmade: Callable[..., Run]
) -> None:
    Metrics.model_validate(read_json(handmade(task, **options) / "metrics.json"))


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
        Metrics.model_validate(found | change)
    for key in change.keys() & found.keys():
        with pytest.raises(ValidationError):
            Metrics.model_validate({name: value for name, value in found.items() if name != key})


def models(kind: Any) -> Iterator[type[BaseModel]]:
    """Yield the models inside an annotation, and inside their fields."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from models(field.annotation)
    for part in get_args(kind):
        yield from models(part)


def test_the_page_names_every_field_and_metric() -> None:
    named = set(re.findall(r"`([a-z_0-9]+)`", PAGE))
    for model in set(models(Metrics)):
        fields = {field.alias or name for name, field in model.model_fields.items()}
        assert fields <= named, model.__name__
    for task, metrics in MEASURED.items():
        assert set(metrics) <= named, task


def test_the_page_names_no_field_that_is_not_there() -> None:
    table = PAGE.partition("## Metrics")[0]
    first = set(re.findall(r"^\| `([a-z_0-9]+)` \|", table, re.MULTILINE))
    assert first == {field.alias or name for name, field in Metrics.model_fields.items()}
