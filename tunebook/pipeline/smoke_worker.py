"""The smoke test in the child process, before training: choose the longest rows."""

from __future__ import annotations

from collections.abc import Callable

from tunebook.core.files import write_json
from tunebook.data.prompt import PromptEncoder
from tunebook.data.sampling import enough_rows
from tunebook.data.tokenize import lengths, load_tokenizer
from tunebook.data.tool_calls import texts
from tunebook.pipeline.smoke import CHUNK, ROWS, STEPS
from tunebook.runs.rows import RenderedRow, read_rows, write_rows
from tunebook.runs.run import Run


def choose_rows(nested: Run) -> None:
    """Write the longest rows of the run around `nested` that its config trains on, enough for all steps.

    Raises:
        ValueError: no row is short enough.
    """

    config = nested.config()
    world = nested.placement()["world"]
    encoder = PromptEncoder.of(load_tokenizer(config), config)
    drops = (config.get("excess_length_strategy") or "drop") == "drop"
    limit = config.get("sequence_len", 512) if drops else None

    def size(rows: list[RenderedRow]) -> list[int]:
        return [count for count, _ in lengths(encoder, rows)[0]]

    batch = config.get("micro_batch_size", 1) * config.get("gradient_accumulation_steps", 1)
    data = nested.folder.parent / "data"
    rows, tokens = longest(read_rows(data / "train.jsonl"), size, batch * STEPS * world, limit)
    if not rows:
        raise ValueError(f"no train row has at most {limit} tokens (sequence_len)")
    write_rows(nested / "data" / "train.jsonl", enough_rows(rows, config, STEPS * world))
    dev = longest(read_rows(data / "dev.jsonl"), size, ROWS, limit)[0] or rows[:ROWS]
    once = {"micro_batch_size": config.get("eval_batch_size") or config.get("micro_batch_size", 1)}
    once |= {key: config[key] for key in ("sample_packing", "sequence_len") if key in config}
    write_rows(nested / "data" / "dev.jsonl", enough_rows(dev, once, world))
    write_rows(nested / "data" / "test.jsonl", [])
    write_json(nested / "longest.json", {"tokens": tokens, "asked": len(dev)})


def longest(
    rows: list[RenderedRow], size: Callable[[list[RenderedRow]], list[int]], count: int, limit: int | None
) -> tuple[list[RenderedRow], int]:
    """Return the `count` longest of `rows` with at most `limit` tokens, and the length of the longest in
    tokens.

    Rows are sorted by characters, so that only as many rows as needed are tokenised.

    Args:
        size: returns the number of tokens of each row; 0 for a row that cannot be trained on.
    """
    order = sorted(rows, key=lambda row: -sum(map(len, texts(row))))
    chosen: list[RenderedRow] = []
    most = 0
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        for row, tokens in zip(chunk, size(chunk), strict=True):
            if 0 < tokens and (limit is None or tokens <= limit) and len(chosen) < count:
                chosen.append(row)
                most = max(most, tokens)
        if len(chosen) == count:
            break
    return chosen, most
