"""The tokens that Axolotl itself learns of rows with reasoning, under each setting of `thinking`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_thinking import ANSWER, ASK, LONGER, THOUGHT, THOUGHTFUL
from tests.support import axolotl_rows
from tests.support.families import family_tokenizer
from tests.support.prepared_rows import compared
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.files import write_jsonl
from tunebook.data.prompt import PromptEncoder
from tunebook.data.stretches import learned
from tunebook.data.thinking.answers import each_answer, without_reasoning
from tunebook.data.tokenize import AxolotlMask
from tunebook.pipeline.prepare import place_paths
from tunebook.runs.run import Run

MODELS = {"qwen3": "Qwen/Qwen3-1.7B", "qwen3.5": "Qwen/Qwen3.5-0.8B"}
END = "<|im_end|>"
ROWS: list[dict[str, Any]] = [
    {"id": "thought", "messages": THOUGHTFUL},
    {"id": "direct", "messages": [*ASK, {"role": "assistant", "content": "Five, no: four."}]},
    *each_answer({"id": "longer", "group": "g", "messages": LONGER, "gold": {"answer": "Six."}}),
]
# What is learned of each of them, by family and setting; an answer without reasoning is learned as it is.
OPEN = {"qwen3": "<think>\n", "qwen3.5": ""}
KEPT = [
    f"{THOUGHT}\n</think>\n\n{ANSWER}",
    "",
    f"{THOUGHT}\n</think>\n\n{ANSWER}",
    "Three twice.\n</think>\n\nSix.",
]
PLAIN = [ANSWER, "Five, no: four.", ANSWER, "Six."]


def config_of(family: str, thinking: str, folder: Path) -> dict[str, Any]:
    keys = (
        f"plugins=[tunebook.plugins.Thinking] thinking={thinking} sample_packing=false bf16=false tf32=false"
    )
    options = Options("real", model=MODELS[family], set=keys)
    config = dict(resolve(recipes.load_recipe("chat-lora"), options, for_this_machine=False).config)
    config["base_model"] = str(family_tokenizer(family, folder / "base"))
    config["datasets"][0] |= {"message_field_training": "weight"}
    run = Run(folder)
    write_jsonl(run / "data" / "train.jsonl", rows_of(thinking))
    return place_paths(config, run)


def rows_of(thinking: str) -> list[dict[str, Any]]:
    """Return the rows as a run writes them."""
    return [dict(without_reasoning(row)) for row in ROWS] if thinking == "off" else ROWS  # type: ignore[arg-type]


def wanted(family: str, thinking: str) -> list[str]:
    if thinking != "keep":
        return [f"{text}{END}" for text in PLAIN]
    return [
        f"{OPEN[family]}{kept}{END}" if kept else f"{plain}{END}"
        for kept, plain in zip(KEPT, PLAIN, strict=True)
    ]


@pytest.mark.slow
def test_exactly_these_tokens_are_learned(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    cases = [(family, thinking) for family in MODELS for thinking in ("off", "keep", "mask")]
    configs = {case: config_of(*case, tmp_path / "-".join(case)) for case in cases}
    folders = [axolotl_rows.prepare(configs[case], tmp_path / "-".join(case)) for case in cases]
    for case, folder, axolotl in zip(cases, folders, axolotl_rows.run(folders), strict=True):
        family, thinking = case
        tokenizer = AutoTokenizer.from_pretrained(folder / "base")
        encoder = PromptEncoder.of(tokenizer, configs[case])
        texts = [[tokenizer.decode(run) for run in learned(ids, labels)] for ids, labels in axolotl]
        assert sorted(texts) == sorted([text] for text in wanted(family, thinking)), case
        assert not any("<think>\n\n</think>" in run for runs in texts for run in runs), case
        shown = [tokenizer.decode(ids) for ids, _ in axolotl]
        assert sum(THOUGHT in text for text in shown) == (0 if thinking == "off" else 2), case
        found = compared(tmp_path, rows_of(thinking), axolotl, encoder)
        assert (found.differ, found.not_compared.total()) == (0, 0), (case, found.first)


TOOLS = json.dumps([{"type": "function", "function": {"name": "tide", "parameters": {"type": "object"}}}])
CALL = {"type": "function", "function": {"name": "tide", "arguments": '{"quay": "Low"}'}}
CALLED = '<tool_call>\n{"name": "tide", "arguments": {"quay": "Low"}}\n</tool_call>'


@pytest.mark.slow
def test_reasoning_around_a_tool_is_learned_in_one_row(tmp_path: Path) -> None:
    """Qwen3's template keeps the reasoning of all answers to one question."""
    turns: list[dict[str, Any]] = [{"role": "user", "content": "When is high water?"}]
    turns.append({"role": "assistant", "content": "", "tool_calls": [CALL], "reasoning_content": "Ask."})
    turns.append({"role": "tool", "content": "17.30"})
    turns.append({"role": "assistant", "content": "At 17.30.", "reasoning_content": "It says so."})
    rows = [{"id": f"r{n}", "messages": turns, "tools": TOOLS} for n in range(2)]  # `preprocess` fails on one
    folders, encoders = [], []
    for thinking in ("keep", "mask"):
        config = config_of("qwen3", thinking, tmp_path / thinking)
        write_jsonl(Path(config["datasets"][0]["path"]), rows)
        folders.append(axolotl_rows.prepare(config, tmp_path / thinking))
        encoders.append(PromptEncoder.of(AxolotlMask(config).tokenizer, config))
    keep, mask = axolotl_rows.run(folders)
    decode = encoders[0].tokenizer.decode
    assert [decode(run) for run in learned(*keep[0])] == [
        f"<think>\nAsk.\n</think>\n\n{CALLED}{END}",
        f"<think>\nIt says so.\n</think>\n\nAt 17.30.{END}",
    ]
    assert [decode(run) for run in learned(*mask[0])] == [f"{CALLED}{END}", f"At 17.30.{END}"]
    for axolotl, encoder in zip((keep, mask), encoders, strict=True):
        found = compared(tmp_path, rows, axolotl, encoder)
        assert (found.differ, found.not_compared.total()) == (0, 0), found.first


@pytest.mark.slow
@pytest.mark.parametrize("thinking", ["off", "keep", "mask"])
def test_check_sees_the_mask_that_the_run_has(thinking: str, tmp_path: Path) -> None:
    config = config_of("qwen3", thinking, tmp_path)
    mask = AxolotlMask(config)
    encoder = PromptEncoder.of(mask.tokenizer, config)
    for row, text in zip(ROWS, wanted("qwen3", thinking), strict=True):
        ids, labels = mask.row(row)  # type: ignore[arg-type]
        assert [mask.tokenizer.decode(run) for run in learned(ids, labels)] == [text]
        encoded = encoder.encode(row["messages"])
        full = [*encoded.context, *encoded.answer, encoded.end]
        assert ids[: len(full)] == full
        assert labels[len(encoded.context) : len(full)] == full[len(encoded.context) :]
