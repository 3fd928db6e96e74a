"""The prompt contract on a tokenizer and a template as its maker ships them, beside the fixture after it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_prompt import TALK
from tests.support.families import FAMILIES, family_tokenizer
from tests.support.real_tokenizers import PACKAGES, real_tokenizer
from tunebook.core.paths import ROOT
from tunebook.data.prompt import PromptEncoder
from tunebook.models.registry import model_table
from tunebook.models.templates import ChatTemplate, traits

pytestmark = pytest.mark.slow


def hold(folder: Path, family: str) -> list[str]:
    """Assert that each prompt, its answer and the end of the turn begin the row; return the prompts' ends."""
    from transformers import AutoTokenizer

    keys = next(row["axolotl"] for row in model_table().values() if row["family"] == family)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    options = keys.get("chat_template_kwargs") or {}
    encoder, ends = PromptEncoder(tokenizer, options), []
    talks: list[Any] = [TALK, TALK[1:3], TALK[:3]]
    for talk in talks:
        encoded = encoder.encode(talk)
        row = tokenizer.apply_chat_template(talk, tokenize=False, **options)
        whole = tokenizer(row, add_special_tokens=False)["input_ids"]
        asked = [*encoded.context, *encoded.answer, encoded.end]
        assert whole[: len(asked)] == asked
        assert tokenizer.decode(encoded.answer) == talk[-1]["content"]
        ends.append(tokenizer.decode(encoded.context)[-40:])
    return ends


@pytest.mark.parametrize("family", PACKAGES)
def test_the_contract_holds_on_the_real_one_as_on_the_fixture(family: str, tmp_path: Path) -> None:
    real = real_tokenizer(family)
    assert hold(real, family) == hold(family_tokenizer(family, tmp_path / "twin"), family)


@pytest.mark.parametrize("family", PACKAGES)
def test_the_fixture_has_the_traits_of_the_real_template(family: str) -> None:
    text = json.loads((real_tokenizer(family) / "tokenizer_config.json").read_text())["chat_template"]
    twin = (ROOT / f"tests/fixtures/families/{family}.jinja").read_text()
    for thinking in (False, True):
        names = [set(traits(ChatTemplate(one, {"enable_thinking": thinking}), None)) for one in (text, twin)]
        assert names[0] == names[1]


@pytest.mark.parametrize(
    ("name", "expected"), [("qwen3_5", {"rewrites_turns"}), ("gemma4", {"prompt_differs"})]
)
def test_axolotls_own_templates_say_why_a_family_is_on_the_shelf(name: str, expected: set[str]) -> None:
    """As they come with Axolotl. Gemma 4's prompt for an answer has a thought that no row has."""
    found = importlib.util.find_spec("axolotl")
    assert found is not None and found.origin is not None
    path = Path(found.origin).parent / "utils" / "chat_templates" / "templates" / f"{name}.jinja"
    template = ChatTemplate(path.read_text(), {"enable_thinking": False, "bos_token": "<bos>"})
    assert set(traits(template, None)) == expected
    on_the_shelf = {"qwen3_5": "qwen3.5", "gemma4": "gemma4"}[name] in FAMILIES
    assert on_the_shelf == ("prompt_differs" not in expected)
