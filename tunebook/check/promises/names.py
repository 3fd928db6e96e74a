"""Names and numbers in a config that the base model must have: layers, modules, tokens, positions.

Files that are not on this machine are not checked here; Axolotl reports errors when it starts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from tunebook.check.findings import Add
from tunebook.check.training_rules import AXOLOTL
from tunebook.config.resolved import Resolved
from tunebook.core.errors import InputError
from tunebook.models import base_files, methods, shapes
from tunebook.models.base_files import BaseFiles
from tunebook.models.methods import LORA

PEFT_TARGETS = "https://huggingface.co/docs/peft/developer_guides/lora"
FREEZE = AXOLOTL + "src/axolotl/utils/freeze.py"
TABLES = ("embed_tokens", "lm_head")
TARGETS = ("lora_target_modules", "lora_modules_to_save", "ia3_target_modules", "bottleneck_target_modules")


def layers(resolved: Resolved, add: Add) -> None:
    config, count = resolved.config, _size(resolved, "layers")
    key, chosen = "peft_layers_to_transform", config.get("peft_layers_to_transform")
    wrong = sorted(n for n in chosen or [] if count is not None and not 0 <= n < count)
    if wrong:
        text = f"the base model has layers 0 to {(count or 0) - 1} (got {', '.join(map(str, wrong))})."
        add("error", key, text, "List existing layers.", PEFT_TARGETS, code="base.no_such_layer")
    if chosen == []:
        do = "To adapt all layers, remove the key."
        add("error", key, "is an empty list.", do, PEFT_TARGETS, code="base.no_layers")
    if chosen and isinstance(config.get("lora_target_modules"), str):
        text = "PEFT rejects it if lora_target_modules is a regular expression."
        do = "Put the layers into the expression."
        add("error", key, text, do, PEFT_TARGETS, code="base.layers_of_expression")


def modules(resolved: Resolved, add: Add) -> None:
    config, files = resolved.config, files_of(resolved)
    names = files.modules if files else None
    # transformers uses other names for the weights of experts than their files.
    if not names or not files or any(files.text.get(key) for key in shapes.EXPERTS):
        return
    if methods.uses_head(config):
        names = names - {"lm_head"} | {"score"}
    ends = sorted({name.rpartition(".")[2] for name in names})
    there = f"The base model has {', '.join(ends)}."
    if config.get("adapter") in LORA or config.get("adapter") in ("ia3", "bottleneck"):
        for key in TARGETS:
            for wanted in _missing(config.get(key), names, whole=key == "lora_modules_to_save"):
                text = f"no layer of {Path(str(config['base_model'])).name} is called {wanted!r}."
                add("error", key, text, there, PEFT_TARGETS, code="base.no_such_module")
        for key in ("lora_rank_pattern", "lora_alpha_pattern"):
            for pattern in config.get(key) or {}:
                if not _found(rf"(.*\.)?({pattern})", names):
                    text = f"{pattern!r} matches no module of the base model, so it has no effect."
                    add("error", key, text, there, PEFT_TARGETS, code="base.pattern_unused")
        parameters = config.get("lora_target_parameters") or []
        for wanted in [parameters] if isinstance(parameters, str) else parameters:
            if not any(name == wanted or name.endswith(f".{wanted}") for name in files.weights or ()):
                text = f"no parameter is called {wanted!r}."
                add("error", "lora_target_parameters", text, there, code="base.no_such_parameter")
    key, patterns = "unfrozen_parameters", config.get("unfrozen_parameters") or []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        plain = re.sub(r"\[[0-9]*(:[0-9]*)?\]$", "", str(pattern))
        # As in Axolotl: a dot matches only a dot, and matching the beginning of a name is enough.
        if not _found(re.sub(r"\.(?!\+)", r"\\.", plain), files.weights or frozenset(), whole=False):
            text = f"{pattern!r} matches no parameter of the base model, so it trains nothing."
            do = f"An example of a name: {sorted(files.weights or ())[0]}."
            add("error", key, text, do, FREEZE, code="base.no_such_weight")
    if patterns and config.get("adapter"):
        text = f"is ignored with adapter: {config['adapter']}, which freezes the base model."
        add("error", key, text, "Remove one of the two keys.", FREEZE, code="base.frozen_by_adapter")


def _missing(wanted: Any, names: frozenset[str], whole: bool) -> list[str]:
    """Return the wanted modules that PEFT would not find. A list names the ends of paths, a text is a regular
    expression over whole paths. `whole` modules are saved, so they may contain other modules or be a norm;
    adapted modules are linear layers and embeddings."""
    if not wanted or wanted == "all-linear":
        return []
    if whole:
        there = {".".join(name.split(".")[:end]) for name in names for end in range(1, name.count(".") + 2)}
    else:
        there = {name for name in names if "norm" not in name.rpartition(".")[2]}
    if isinstance(wanted, str):
        return [] if _found(wanted, frozenset(there)) else [wanted]
    return [each for each in wanted if not any(n == each or n.endswith(f".{each}") for n in there)]


def _found(pattern: str, names: frozenset[str], whole: bool = True) -> bool:
    try:
        compiled = re.compile(pattern)
    except re.error:
        return False
    return any((compiled.fullmatch if whole else compiled.match)(name) for name in names)


def tokens(resolved: Resolved, add: Add) -> None:
    """Check that new tokens have trained rows, and that tokens referred to exist."""
    config, files = resolved.config, files_of(resolved)
    known = files.tokens if files else None
    special = {k: v for k, v in (config.get("special_tokens") or {}).items() if v}
    named: dict[str, list[str]] = {"tokens": list(config.get("tokens") or []), "special_tokens": []}
    for value in special.values():
        named["special_tokens"] += value if isinstance(value, list) else [value]
    saved = config.get("lora_modules_to_save") or []
    trains_them = not config.get("adapter") or all(name in saved for name in TABLES)
    for key, words in named.items():
        new = [word for word in words if known is not None and word not in known]
        unknown = new if known is not None else (words if key == "tokens" else [])
        if unknown and not trains_them:
            text = (
                f"the base model has no token {', '.join(map(repr, unknown))}, and the embedding of a new "
                "token is not trained."
            )
            do = "Add lora_modules_to_save: [embed_tokens, lm_head], or name a token of the base model."
            add("error", key, text, do, code="base.untrained_token")
        elif new:
            text = (
                f"the base model does not know {', '.join(map(repr, new))}: if rows contain it, the "
                "baseline is "
            )
            text += "prompted with a meaningless token."
            add("warning", key, text, "Use plain words if you can.", code="base.new_token")
    for word in config.get("eot_tokens") or []:
        if known is not None and word not in known and word not in named["tokens"]:
            text = f"the base model has no token {word!r}."
            add("error", "eot_tokens", text, "Name a token that ends a turn.", code="base.unknown_turn_end")
    size, key = _size(resolved, "vocab"), "peft_trainable_token_indices"
    for number in _indices(config.get(key)):
        if size is not None and not 0 <= number < size + len(named["tokens"]):
            text = f"the base model has token ids 0 to {size - 1} (got {number})."
            add("error", key, text, "Use ids of its tokenizer.", PEFT_TARGETS, code="base.no_such_token")


def lengths(resolved: Resolved, add: Add) -> None:
    config, files = resolved.config, files_of(resolved)
    limit, most = config.get("sequence_len"), files.positions if files else None
    if files and limit and most and limit > most:
        text = f"{limit} is more than the {most} positions of the base model (max_position_embeddings)."
        add(
            "error",
            "sequence_len",
            text,
            f"Use at most {most}, or a base model for longer texts.",
            code="base.too_long",
        )
    window = files.text.get("sliding_window") if files else None
    if window and files and files.text.get("use_sliding_window") is not False and limit and limit > window:
        text = (
            f"layers with a sliding window only see the last {window} tokens, but ranked labels see all of "
            "them."
        )
        add(
            "warning",
            "sequence_len",
            text,
            f"Keep rows with ranked labels below {window} tokens.",
            code="base.sliding_window",
        )


def ends(resolved: Resolved, add: Add) -> None:
    """Check that the special-token ids in config.json are within the base model's vocabulary."""
    files = files_of(resolved)
    if not files:
        return
    size = files.text.get("vocab_size")
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = files.text.get(key)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and size and not 0 <= number < size and number != -1:
                text = (
                    f"config.json of the base model sets {key} to {number}, but the vocabulary has {size} "
                    "tokens."
                )
                add(
                    "error",
                    "base_model",
                    text,
                    "Correct config.json of the base model.",
                    code="base.bad_token_id",
                )


def _indices(value: Any) -> list[int]:
    lists = value.values() if isinstance(value, dict) else [value or []]
    return [number for one in lists for number in one]


def files_of(resolved: Resolved) -> BaseFiles | None:
    """Return facts about the config's base model, from its files."""
    config = resolved.config
    return base_files.read(str(config["base_model"]), config.get("revision_of_model"))


def _size(resolved: Resolved, what: Literal["layers", "vocab"]) -> int | None:
    """Return the number of layers or tokens of the config's base model: from its files, or from its known
    shape."""
    if files := files_of(resolved):
        found = files.layers if what == "layers" else files.text.get("vocab_size")
        if found:
            return int(found)
    try:
        return int(getattr(shapes.find(str(resolved.config["base_model"])), what))
    except InputError:
        return None


RULES = (layers, modules, tokens, lengths, ends)
