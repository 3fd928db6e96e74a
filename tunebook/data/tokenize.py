"""Rows as the model sees them, token by token.

In: rendered rows and an Axolotl config. Out: token counts, masks, and rows worth showing. Runs only in a
child process (tunebook/check/axolotl_child.py), because it imports transformers and Axolotl.
"""

from __future__ import annotations

import contextlib
import random
import re
from typing import Any

from jinja2 import TemplateError

from tunebook.core.errors import InputError
from tunebook.data.formats.turns import trained
from tunebook.data.markers import of_template
from tunebook.data.prompt import PromptEncoder, with_arguments
from tunebook.data.stretches import lacks
from tunebook.data.thinking.answers import without_reasoning
from tunebook.data.token_counts import count_tokens
from tunebook.data.tool_calls import texts
from tunebook.models.sandbox import bounded
from tunebook.runs.rows import RenderedRow

SEED = 42
MOST = 30_000  # rows checked at most, evenly spread
IGNORED = -100  # the label of a token that is not trained on
# The keys that a row's mask depends on; the rest of a config may need a GPU.
MASK_KEYS = frozenset(
    """base_model base_model_config revision_of_model tokenizer_config tokenizer_type tokenizer_use_fast
    tokenizer_legacy tokenizer_use_mistral_common chat_template chat_template_jinja
    chat_template_kwargs special_tokens tokens added_tokens_overrides eot_tokens default_system_message
    train_on_inputs sequence_len datasets seed rl""".split()
)


def load_tokenizer(config: dict[str, Any]) -> Any:
    """Return the tokenizer of a config's base model with the config's special tokens and chat template."""
    from transformers import AutoTokenizer

    name = config.get("tokenizer_config") or config["base_model"]
    tokenizer = AutoTokenizer.from_pretrained(
        name, revision=config.get("revision_of_model"), trust_remote_code=False
    )
    for key, token in (config.get("special_tokens") or {}).items():
        setattr(tokenizer, key, token)
    eot = config.get("eot_tokens")
    if eot and len(eot) == 1:
        tokenizer.eos_token = eot[0]
    if config.get("chat_template_jinja"):
        tokenizer.chat_template = config["chat_template_jinja"]
    return tokenizer


def lengths(
    encoder: PromptEncoder, rows: list[RenderedRow]
) -> tuple[list[tuple[int, int]], dict[int, str], dict[int, str]]:
    """Return the token count of each row (for a preference pair, with its longer answer) and the position of
    its last answer; the errors of rows that the template rejects (their lengths are 0); and what rendered
    rows lack of the answers to be learned."""
    whole, prompts, refused, lost = list[str](), list[str](), dict[int, str](), dict[int, str]()
    end = encoder.tokenizer.eos_token or ""
    for index, row in enumerate(rows):
        messages, tools = row["messages"], row.get("tools")
        try:
            full = bounded(encoder.text, messages, tools)
            if missing := lacks(full, row, end):
                lost[index] = missing
            if row.get("rejected"):
                full = max(full, bounded(encoder.text, [*messages[:-1], *row["rejected"]], tools), key=len)
            start = bounded(encoder.text, messages[:-1], tools, opened=True)
        except TemplateError as error:
            refused[index] = str(error)
            full = start = ""
        whole.append(full)
        prompts.append(start)
    backend = getattr(encoder.tokenizer, "backend_tokenizer", None)
    if backend is None:
        sizes = [
            len(encoder.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in whole + prompts
        ]
    else:
        encoder.tokenizer("", add_special_tokens=False)  # a tokenizer without padding and truncation
        sizes = count_tokens(backend, whole + prompts)
    return list(zip(sizes[: len(whole)], sizes[len(whole) :], strict=True)), refused, lost


def special_names(tokenizer: Any) -> set[str]:
    """Return the special tokens of a tokenizer, as text."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return {name for name in (*tokenizer.all_special_tokens, *added) if name.strip()}


def marks(tokenizer: Any) -> set[str]:
    """Return the special tokens of a tokenizer and the tokens that its chat template writes around turns."""
    return special_names(tokenizer) | of_template(str(tokenizer.chat_template or ""))


def special_in_text(tokenizer: Any, rows: list[RenderedRow]) -> dict[int, str]:
    """Return, by row index, the special tokens of the tokenizer that a row's own text contains. Such a token
    would end or start a turn, although somebody only wrote about it."""
    names = special_names(tokenizer)
    if not names:
        return {}
    pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))
    result = {}
    for number, row in enumerate(rows):
        own = [*texts(row), *(turn["content"] for turn in row.get("rejected", []))]
        match = next((match for text in own if (match := pattern.search(text))), None)
        if match:
            result[number] = match[0]
    return result


def contract(encoder: PromptEncoder, row: RenderedRow) -> tuple[list[int], int] | str:
    """Return the ids of a row up to its end-of-turn token and the position of its answer, or the error of
    that answer or, in a conversation, of an earlier one."""
    try:
        if "rejected" not in row:
            encoder.passes(row["messages"], trained(row["messages"]), row.get("tools"))
        encoded = encoder.encode(row["messages"], row.get("tools"))
    except (InputError, TemplateError) as error:
        return str(error)
    return [*encoded.context, *encoded.answer, encoded.end], len(encoded.context)


class AxolotlMask:
    """Axolotl's own tokens and labels of a row for a config."""

    def __init__(self, config: dict[str, Any]) -> None:
        from axolotl.loaders.tokenizer import load_tokenizer as axolotl_tokenizer
        from axolotl.prompt_strategies import load
        from axolotl.utils.config import normalize_config, validate_config
        from axolotl.utils.dict import DictDefault

        needed = {key: value for key, value in config.items() if key in MASK_KEYS}
        needed |= {"datasets": config["datasets"][:1], "micro_batch_size": 1, "num_epochs": 1}
        needed |= {"gradient_accumulation_steps": 1, "learning_rate": 1e-4, "output_dir": "unused"}
        cfg = validate_config(DictDefault(needed))
        normalize_config(cfg)
        self.tokenizer = axolotl_tokenizer(cfg)
        entry, self.pair = cfg.datasets[0], None
        if config.get("rl"):
            from axolotl.prompt_strategies.dpo import load as load_pairs

            # as tunebook.plugins.PreferencePrompts does
            template = with_arguments(self.tokenizer.chat_template, config.get("chat_template_kwargs"))
            self.tokenizer.chat_template = template
            self.pair, _ = load_pairs(entry.type, cfg)
        else:
            self.strategy = load(entry.type, self.tokenizer, cfg, entry)
            self.encoder = PromptEncoder.of(self.tokenizer, config)

    def row(self, row: RenderedRow) -> tuple[list[int], list[int]]:
        """Return input ids and labels; for a preference pair, those of the chosen answer."""
        if self.pair is None:
            if self.encoder.thinking == "off":
                row = without_reasoning(row)
            made = self.strategy.tokenize_prompt(row)
            ids, labels = list(made["input_ids"]), list(made["labels"])
            with contextlib.suppress(InputError):  # `contract` reports it
                # as tunebook.plugins.Thinking does
                labels = self.encoder.relabelled(row["messages"], ids, labels, row.get("tools"))
            return ids, labels
        return cut_pair(self.tokenizer, self.pair(row, tokenizer=self.tokenizer), "chosen")


def cut_pair(tokenizer: Any, pair: dict[str, str], answer: str) -> tuple[list[int], list[int]]:
    """Return ids and labels of one answer of a preference pair, tokenized as in trl's DPOTrainer under
    Axolotl."""
    from axolotl.utils.data.utils import remove_double_bos_token

    def cut(text: str) -> list[int]:
        ids = {name: list(value) for name, value in tokenizer(text).items()}
        if tokenizer.bos_token_id is None:
            return ids["input_ids"]
        return list(remove_double_bos_token(ids, tokenizer.bos_token_id)["input_ids"])

    prompt = cut(pair["prompt"])
    whole = cut(pair["prompt"] + pair[answer])
    return whole, [IGNORED] * len(prompt) + whole[len(prompt) :]


def spread(count: int, wanted: int) -> list[int]:
    """Return `wanted` evenly spread indices below `count`."""
    step = max(1, count / max(1, wanted))
    return [int(place * step) for place in range(min(count, wanted))]


def pick(sizes: list[tuple[int, int]], suspicious: dict[int, str], wanted: int) -> dict[int, str]:
    """Choose `wanted` rows to show, each with a reason: a quarter suspicious, a quarter longest, a quarter
    shortest, and the rest at random."""
    chosen: dict[int, str] = {}
    order = sorted(range(len(sizes)), key=lambda index: sizes[index][0])
    quarter = max(1, wanted // 4)
    for index, why in [*suspicious.items()][:quarter]:
        chosen[index] = why
    for index in [i for i in reversed(order) if i not in chosen][:quarter]:
        chosen[index] = "longest"
    for index in [i for i in order if i not in chosen][:quarter]:
        chosen[index] = "shortest"
    rest = [i for i in range(len(sizes)) if i not in chosen]
    for index in sorted(random.Random(SEED).sample(rest, max(0, min(len(rest), wanted - len(chosen))))):
        chosen[index] = "random"
    return dict([*chosen.items()][:wanted])


def suspicious(rows: list[RenderedRow], sizes: list[tuple[int, int]], limit: int | None) -> dict[int, str]:
    """Return rows worth a look, with the reason: too long, an answer that is truncated or repeats the prompt,
    or characters left by a wrong encoding."""
    reasons: dict[int, str] = {}
    for index, (row, (size, start)) in enumerate(zip(rows, sizes, strict=True)):
        prompt, answer = row["messages"][-2]["content"], row["messages"][-1]["content"]
        if limit and start >= limit:
            reasons[index] = "the answer lies beyond sequence_len"
        elif limit and size > limit:
            reasons[index] = "longer than sequence_len"
        elif "\ufffd" in prompt + answer or "\u00c3\u00a9" in prompt + answer:
            reasons[index] = "characters from a wrong encoding"
        elif len(answer) > 20 and answer in prompt and row["gold"].get("answers") is None:
            reasons[index] = "the prompt contains the answer"
    return reasons


def pieces(tokenizer: Any, ids: list[int], labels: list[int]) -> list[dict[str, Any]]:
    """Return each token for display: text, id, whether it is trained on, whether it is special."""
    special = set(tokenizer.all_special_ids) | {
        id for id, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    shown = []
    for id, label in zip(ids, labels, strict=True):
        text = tokenizer.decode([id], clean_up_tokenization_spaces=False)
        shown.append({"text": text, "id": id, "learned": label != IGNORED, "special": id in special})
    return shown


def packed(sizes: list[int], capacity: int) -> list[list[int]]:
    """Return the rows of each packed sequence, by Axolotl's own packing (first fit, in the given order)."""
    import numpy
    from axolotl.utils.samplers.multipack import pack_group

    fits = [index for index, size in enumerate(sizes) if size <= capacity]
    if not fits:
        return []
    counts = numpy.array([sizes[index] for index in fits])
    bins = pack_group(counts, 0, capacity, len(fits), 200, True)
    return [[fits[int(place)] for place in one] for one in bins]
