"""A model that cannot be loaded without its own Python code is refused before anything loads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.check.test_check_promises import found_in, text_of, write_base
from tests.config.test_resolve import Make, make  # noqa: F401 (a fixture)
from tunebook.core.errors import InputError
from tunebook.models.base_files import own_code
from tunebook.models.locate import model_folder

MAP = {"AutoConfig": "configuration_mine.Mine", "AutoModelForCausalLM": "modeling_mine.Mine"}


def write(folder: Path, **changes: object) -> Path:
    base = write_base(folder)
    for name, settings in (("config.json", changes), ("tokenizer_config.json", changes.pop("tokenizer", {}))):
        path = base / name
        path.write_text(json.dumps(json.loads(path.read_text()) | dict(settings)))  # type: ignore[call-overload]
    (base / "modeling_mine.py").write_text("raise SystemExit('the code of the model ran')\n")
    return base


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "mine", "auto_map": MAP}, "config.json"),
        ({"model_type": None, "auto_map": MAP}, "config.json"),
        ({"tokenizer": {"tokenizer_class": "MyTokenizer", "auto_map": {"AutoTokenizer": ["a.B", None]}}},
         "tokenizer_config.json"),
        # What transformers knows is loaded without it, and so is what names no code.
        ({"model_type": "llama", "auto_map": MAP}, None),
        ({"model_type": "mine"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_code_of_its_own_is_named(changes: dict[str, object], named: str | None, tmp_path: Path) -> None:
    assert own_code(str(write(tmp_path / "base", **changes))) == named


def test_check_refuses_it_with_the_key(make: Make, tmp_path: Path) -> None:  # noqa: F811
    base = write(tmp_path / "base", model_type="mine", auto_map=MAP)
    found = [one for one in found_in(make(text_of(base, {}))) if one.code == "base.own_code"]
    assert [(one.grade, one.key) for one in found] == [("error", "base_model")]
    assert found[0].line and "trust_remote_code" in found[0].text


def test_a_model_of_somebody_else_is_refused_as_well(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", model_type="mine", auto_map=MAP)
    with pytest.raises(InputError) as caught:
        model_folder(str(folder), "MODEL")
    assert caught.value.code == "model.own_code" and caught.value.problems[0].key == "MODEL"
