"""For every family on the shelf, what is learned is the assistant's turns and their ends, and no more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.forked import with_axolotl
from tests.support.masks import CALL, TALKS, WITH_TOOLS, make
from tunebook.core.paths import ROOT

FAMILIES: dict[str, Any] = json.loads((ROOT / "tests/fixtures/families/families.json").read_text())
ENDS = {"granite": "<|end_of_text|>", "phi4-mini": "<|end|>", "olmo3": "<|endoftext|>"}


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return with_axolotl(make, tmp_path_factory.mktemp("masks"))


def expected(family: str, talk: str) -> list[str]:
    """Return the assistant's turns with their ends, as the template writes them. Olmo 3 ends a turn in the
    middle with another token than the last one; generation does not stop there, and it is not learned."""
    end = ENDS.get(family, "<|im_end|>")
    texts = []
    for turn in TALKS[talk]["messages"]:
        if turn["role"] == "assistant":
            text = turn["content"]
            if turn.get("tool_calls"):
                arguments = json.dumps(CALL["function"]["arguments"])
                call, between = f'{{"name": "{CALL["function"]["name"]}", "arguments": {arguments}}}', "\n"
                if family == "qwen3.5":  # XML, after an empty line
                    quay = CALL["function"]["arguments"]["quay"]
                    call, between = f"<parameter=quay>\n{quay}\n</parameter>\n</function>", "\n\n"
                    call = f"<function={CALL['function']['name']}>\n{call}"
                text += (between if text else "") + f"<tool_call>\n{call}\n</tool_call>"
            texts.append(text + end)
    if family == "olmo3":
        texts[:-1] = [text.removesuffix(end) for text in texts[:-1]]
    return texts


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_learned_is_the_assistants_turns_and_their_ends(family: str, masks: dict[str, Any]) -> None:
    for talk in ("single", "system", "turns"):
        found = masks[family][talk]
        assert found["learned"] == expected(family, talk), talk
        if talk != "single":
            assert "Be brief." in found["text"], "the system prompt is kept"


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_supervised_turn_is_learned_whole(family: str, masks: dict[str, Any]) -> None:
    """What `make check` says of Axolotl's own masks: nothing, and something where one label is missing."""
    for talk, found in masks[family].items():
        if talk in ("tools", "call") and family not in WITH_TOOLS:
            continue
        assert found["faults"] == [], talk
        assert found["cut"], talk


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_tool_calls_are_learned_and_tool_answers_are_not(family: str, masks: dict[str, Any]) -> None:
    found = masks[family]["tools"]
    shown = '"name": "tide"' in found["text"].partition("When is high water")[0]
    assert shown == (family in WITH_TOOLS)
    if shown:
        assert found["learned"] == expected(family, "tools")
        assert "17.30</" not in "".join(found["learned"])
        assert masks[family]["call"]["learned"] == expected(family, "call")


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_run_finds_no_fault_in_what_axolotl_makes_and_one_in_each_row_with_a_hole(
    family: str, masks: dict[str, Any]
) -> None:
    right, holes = (masks["compared"][family][kind] for kind in ("right", "holes"))
    assert (right["differ"], right["first"], right["not_compared"]) == (0, [], {})
    assert holes["differ"] == holes["all"] >= 3 and len(holes["first"]) == 3
