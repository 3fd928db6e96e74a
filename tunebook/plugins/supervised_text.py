"""Before the first step, compare what is learned of every prepared row with what the rows say.

Axolotl tokenizes all rows anyway when a run trains, so comparing them costs seconds. tunebook/data/mask/ does
it; this module reads Axolotl's config and its dataset. `Progress` (tunebook/plugins/training.py) calls it, so
that every run has it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tunebook.core.files import write_json
from tunebook.data.mask.compare import Compared, Plan, compare
from tunebook.data.mask.prepared import Chunk, Prepared
from tunebook.data.mask.wanted import Source
from tunebook.data.prompt import PromptEncoder
from tunebook.data.stretches import IGNORED
from tunebook.data.thinking import setting
from tunebook.runs.supervised import FILE, Supervised, read_supervised, refuse_other_text

CHUNK = 4096  # rows
PAIRS = ("dpo", "ipo")  # kinds of `rl` whose trainer keeps the tokens of both answers
PAIR = ("prompt_ids", "chosen_ids", "rejected_ids")
SUPERVISED = ("input_ids", "labels")
# Keys of an entry of `datasets:` that leave the rows as they are in their file.
PLAIN = frozenset(
    """path type ds_type split field_messages field_chosen field_rejected message_field_training
    roles_to_train train_on_eos train_on_eot chat_template chat_template_jinja shards shards_idx
    preprocess_shards drop_system_message split_thinking""".split()
)
# Keys that do so with these values only, which are Axolotl's own.
AS_IS: dict[str, tuple[Any, ...]] = {
    "field_tools": ("tools",),
    "field_system": ("system",),
    "field_thinking": ("reasoning_content",),
    "template_thinking_key": ("reasoning_content",),
    "message_field_training": ("weight",),
    "message_property_mappings": ({"role": "role", "content": "content"},),
    "split": ("train",),
}
PART = ("shards", "preprocess_shards")


class _Rows:
    """The rows of a supervised training."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset.select_columns(list(SUPERVISED))

    def __len__(self) -> int:
        return len(self.dataset)

    def chunks(self) -> Iterator[Chunk]:
        for table in self.dataset.with_format("arrow").iter(batch_size=CHUNK):
            ids, labels = (table.column(name).combine_chunks() for name in SUPERVISED)
            lengths = np.asarray(ids.value_lengths())
            yield Chunk(np.asarray(ids.flatten()), np.asarray(labels.flatten()), lengths)

    def row(self, number: int) -> tuple[list[int], list[int]]:
        row = self.dataset[number]
        return list(row["input_ids"]), list(row["labels"])


class _Pairs:
    """Preference pairs: each is a row of the prompt with one answer, and then with the other."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset.select_columns(list(PAIR))

    def __len__(self) -> int:
        return len(self.dataset)

    def chunks(self) -> Iterator[Chunk]:
        for start in range(0, len(self), CHUNK):
            rows = [self.row(number) for number in range(start, min(start + CHUNK, len(self)))]
            ids, labels = (
                np.array([id for row in rows for id in row[part]], dtype=np.int64) for part in (0, 1)
            )
            yield Chunk(ids, labels, np.array([len(row[0]) for row in rows]))

    def row(self, number: int) -> tuple[list[int], list[int]]:
        row = self.dataset[number]
        prompt, *answers = (list(row[name]) for name in PAIR)
        masked = [IGNORED] * len(prompt)
        return (
            [id for answer in answers for id in (*prompt, *answer)],
            [id for answer in answers for id in (*masked, *answer)],
        )


def compare_supervised_text(cfg: Any, trainer: Any) -> None:
    """Compare all rows that `trainer` has, once in a run, and write what came of it to train/supervised.json.

    Raises:
        InputError: rows would be trained on other text than they have.
    """
    training = Path(cfg.output_dir)
    dataset, start = trainer.train_dataset, time.monotonic()
    fingerprint = str(getattr(dataset, "_fingerprint", ""))
    before = read_supervised(training)
    if before and fingerprint and before["fingerprint"] == fingerprint and not before["differ"]:
        return
    count = len(dataset) if hasattr(dataset, "__len__") else 0
    try:
        found = _compared(cfg, trainer.processing_class, dataset)
    except Exception as error:  # a fault of this comparison must not end a training
        found = _not_compared(count, f"the comparison failed: {type(error).__name__}: {error}")
    left = sum(found.not_compared.values())
    supervised = Supervised(
        rows=count,
        compared=0 if not count else max(0, count - left),
        differ=found.differ,
        first=found.first,
        left_out=found.left_out,
        not_compared=dict(found.not_compared),
        seconds=round(time.monotonic() - start, 2),
        fingerprint=fingerprint,
    )
    write_json(training / FILE, supervised)
    refuse_other_text(supervised)


def _not_compared(rows: int, why: str) -> Compared:
    found = Compared(rows)
    found.not_compared[why] = rows
    return found


def _compared(cfg: Any, tokenizer: Any, dataset: Any) -> Compared:
    columns = getattr(dataset, "column_names", None) or []
    count = len(dataset) if hasattr(dataset, "__len__") else 0
    kind = str(getattr(cfg.rl, "value", cfg.rl) or "")
    if not hasattr(dataset, "select_columns") or not count:
        return _not_compared(count, "rows that are streamed are tokenized while training")
    if kind and (kind not in PAIRS or not {*PAIR} <= {*columns}):
        return _not_compared(count, f"the trainer of rl: {kind} keeps no tokens that are learned as they are")
    if not kind and not {*SUPERVISED} <= {*columns}:
        return _not_compared(count, "the rows are tokenized while training")
    if not kind and not isinstance(dataset[0]["labels"], list):
        return _not_compared(count, "a classification head learns a label and no text")
    sources, others = [], []
    for entry in cfg.datasets:
        source = _source(entry, bool(kind))
        if isinstance(source, Source):
            sources.append(source)
        else:
            others.append(f"rows of {entry.path}, because {source}")
    if not sources:
        return _not_compared(count, "; ".join(others))
    plan = Plan(
        sources,
        _ends(cfg, tokenizer),
        others="; ".join(others),
        longest=None if cfg.excess_length_strategy == "raise" else cfg.sequence_len,
        cuts=cfg.excess_length_strategy == "truncate",
        once=bool(cfg.dataset_exact_deduplication),
        every_end=all("last" not in (e.train_on_eos, e.train_on_eot) for e in cfg.datasets),
        pair=bool(kind),
    )
    prepared: Prepared = _Pairs(dataset) if kind else _Rows(dataset)
    return compare(prepared, plan, _encoder(cfg, tokenizer))


def _encoder(cfg: Any, tokenizer: Any) -> PromptEncoder:
    return PromptEncoder(tokenizer, dict(cfg.chat_template_kwargs or {}), setting.of(cfg))


def _source(entry: Any, pair: bool) -> Source | str:
    """Return the file of an entry of `datasets:`, or why its rows cannot be compared."""
    wanted = "chat_template.argilla_chat" if pair else "chat_template"
    path = Path(str(entry.path))
    if entry.type != wanted:
        return f"their type is {entry.type}"
    if not path.is_file() or path.suffix not in (".jsonl", ".json"):
        return "they are not in a JSONL file on this machine"
    for key, value in entry.items():
        if value and (key not in PLAIN and key not in AS_IS or value not in AS_IS.get(key, (value,))):
            return f"{key} is set"
    part = any(entry.get(key) for key in PART)
    if pair:
        return Source(
            path, entry.field_chosen or "chosen", entry.field_rejected or "rejected", whole=not part
        )
    return Source(path, entry.field_messages or "messages", whole=not part)


def _ends(cfg: Any, tokenizer: Any) -> frozenset[int]:
    """Return the end-of-turn tokens that Axolotl looks for."""
    ends = {tokenizer.eos_token_id}
    for token in cfg.eot_tokens or []:
        ids = tokenizer.encode(token, add_special_tokens=False)
        ends |= set(ids) if len(ids) == 1 else set()
    return frozenset(ends - {None})
