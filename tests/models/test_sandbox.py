"""Templates of other people fail as templates, whatever Python they raise, and soon."""

from __future__ import annotations

import json
import re
import resource
import signal
from pathlib import Path

import pytest
from jinja2 import StrictUndefined, TemplateError

from tests.data.test_dataset import INTENT, copy_of, put
from tunebook.core.errors import InputError, RowFault
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.data.render import render
from tunebook.data.renderer import Renderer
from tunebook.models import sandbox
from tunebook.models.templates import ChatTemplate, traits

WIDE = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
DOUBLED = "{% set all = namespace(s='12345678') %}{% for i in range(60) %}{% set all.s = all.s ~ all.s %}"
SQUARED = "{% set all = namespace(s=3) %}{% for i in range(60) %}{% set all.s = all.s * all.s %}"
BAD = {
    "division": ("{{ 1 / 0 }}", "ZeroDivisionError"),
    "overflow": ("{{ 2.0 ** 99999 }}", "OverflowError"),
    "infinity": ("{{ (1e308 * 10) | int }}", "OverflowError"),
    "recursion": ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "RecursionError"),
    "brackets": ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "RecursionError"),
    "index": ("{{ [][3].text }}", ""),
    "digits": ("{{ 10 ** 5000 }}", "digits"),
    "power": ("{{ 9 ** (9 ** 9) }}", "bits"),
    "squares": (SQUARED + "{% endfor %}", "bits"),
    "product": ("{{ 'x' * 9999999999 }}", "letters"),
    "list": ("{{ 99999999 * [1] }}", "items"),
    "padding": ("{{ 'x'.ljust(30000000000) }}", "memory"),
    "filter": ("{{ 'x' | center(3000000000) }}", "memory"),
    "format": ("{{ '%9999999999d' % 1 }}", "memory"),
    "doubled": (DOUBLED + "{% endfor %}", "memory"),
    "loops": (WIDE, "seconds"),
    "unknown": ("{{ text.nothing.at_all }}", "has no attribute"),
    "class": ("{{ ().__class__.__bases__ }}", "unsafe"),
}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SECONDS", 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", BAD)
def test_a_template_of_rows_is_refused_with_file_line_and_name(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, said = BAD[kind]
    good = (ROOT / "datasets/kettlewick-intents/dataset.yaml").read_text(encoding="utf-8")
    copy_of(good.replace('prompt: "{{ text }}"', f"prompt: {json.dumps(text)}"), tmp_path, monkeypatch)
    dataset = load_dataset_config("own")
    put(dataset, INTENT)
    with pytest.raises(InputError) as caught:
        render(dataset, "train")
    problem = caught.value.problems[0]
    assert problem.code in ("rows.template_fails", "data.bad_template") and problem.key == "prompt"
    assert str(problem.file).endswith(("train.jsonl", "dataset.yaml")) and problem.line
    assert said in problem.text


@pytest.mark.slow
@pytest.mark.parametrize("kind", BAD)
def test_a_chat_template_is_broken_and_says_why(kind: str) -> None:
    text, said = BAD[kind]
    try:
        found = traits(ChatTemplate(text.replace("text.", "messages."), {}), "</s>")
    except TemplateError as error:
        found = {"broken": str(error)}
    assert said in found["broken"]


@pytest.mark.parametrize("key", ["where", "must"])
def test_expressions_and_rules_are_bounded_as_well(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = (ROOT / "datasets/kettlewick-intents/dataset.yaml").read_text(encoding="utf-8")
    lines = {
        "where": (r"^source:\n", "source:\n  where: 9 ** (9 ** 9) > 1\n"),
        "must": (r"^licence: .*$", "licence: x\nrules: {r: {must: '{{ 9 ** (9 ** 9) }}'}}"),
    }
    pattern, new = lines[key]
    text, count = re.subn(pattern, new, good, count=1, flags=re.MULTILINE)
    assert count == 1
    copy_of(text, tmp_path, monkeypatch)
    with pytest.raises(InputError, match="bits"):
        dataset = load_dataset_config("own")
        put(dataset, INTENT)
        render(dataset, "train")


def test_the_expression_of_gold_answers_is_bounded() -> None:
    dataset = load_dataset_config("kettlewick-intents").model_copy(update={"answers": "[9 ** (9 ** 9)]"})
    with pytest.raises(RowFault, match="bits"):
        Renderer(dataset).row(INTENT, "some")


def test_the_limits_end_with_the_template() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(TemplateError):
        sandbox.bounded(lambda: 1 / 0)
    assert sandbox.bounded(lambda: "text") == "text"
    assert (resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGVTALRM)) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0


def test_errors_of_our_own_pass() -> None:
    def refuse() -> None:
        raise InputError("own", code="data.own")

    with pytest.raises(InputError, match="own"):
        sandbox.bounded(refuse)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("{{ text }}", True),
        ("Passage: {{ row['context'] }}\n\n{% if note %}{{ note.title }}{% else %}none{% endif %}", True),
        ("{{ 'yes' if label is defined and label == 'a' or not text else text }}", True),
        ("{% for one in text %}{{ one }}{% endfor %}", False),
        ("{{ text * 9 }}", False),
        ("{{ text ~ text }}", False),
        ("{{ text | center(10 ** 9) }}", False),
        ("{{ text.format() }}", False),
        ("{% set a = text %}{{ a }}", False),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ text }}", False),
        ("{% include 'a' %}", False),
        ("{{ [text, text] }}", False),
        ("{% if text * 9 %}a{% endif %}", False),
        ("{{ row[text * 9] }}", False),
    ],
)
def test_only_what_writes_fields_and_chooses_is_rendered_without_limits(text: str, short: bool) -> None:
    assert sandbox.is_short(sandbox.Sandbox(), text) == short


def test_a_short_template_that_fails_is_a_template_error() -> None:
    template = sandbox.Sandbox(undefined=StrictUndefined).from_string("{{ text.title }}")
    with pytest.raises(TemplateError, match="title"):
        sandbox.unbounded(template.render, {"text": {}})
