"""Tokenizers of the model families: the trial model's words with a family's special tokens and template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support import tiny
from tunebook.core.paths import ROOT

FAMILIES: dict[str, Any] = json.loads((ROOT / "tests/fixtures/families/families.json").read_text())
# How Qwen's own tokenizer cuts text before merging (Qwen3's tokenizer.json): it keeps the two newlines
# after an empty think block together, where the trial model's would look at what follows them.
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)


def template_of(family: str) -> str:
    return (ROOT / f"tests/fixtures/families/{family}.jinja").read_text()


def family_tokenizer(family: str, folder: Path, small: bool = False) -> Path:
    """Save the trial tokenizer with a family's special tokens and template, as that family ships it; with
    `small`, that of the tiny model."""
    tokenizer = in_memory(family, small)
    tokenizer.save_pretrained(folder)
    tiny.model(vocab_size=len(tokenizer)).config.save_pretrained(folder)
    return folder


def in_memory(family: str, small: bool = False) -> Any:
    """Return the tokenizer of a family."""
    from tokenizers import Regex, pre_tokenizers

    given = FAMILIES[family]
    tokenizer = tiny.tokenizer() if small else tiny.trial_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": given["special_tokens"]})
    if family.startswith("qwen"):
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.eos_token, tokenizer.pad_token = given["eos"], given["pad"]
    if given["bos"]:
        tokenizer.bos_token = given["bos"]
    tokenizer.chat_template = template_of(family)
    return tokenizer
