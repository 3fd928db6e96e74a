"""Send many rows to an endpoint, several at a time; an answered row is never sent again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tunebook.core import files
from tunebook.core.errors import MachineError
from tunebook.core.files import Record, digest, write_json
from tunebook.core.paths import show
from tunebook.data.prompt import Messages
from tunebook.evaluation.endpoint.client import PREFIX, Client, RowError, Settings
from tunebook.runs.rows import RenderedRow

FAILED_IN_A_ROW, FAILED_SHARE = 5, 0.1  # failures after which evaluation with the endpoint stops
Progress = Callable[[int, int], None]


def ask_all(
    prompts: dict[str, Messages], settings: Settings, path: Path, progress: Progress
) -> dict[str, Record]:
    """Send every conversation in `prompts` and return the record of each id: a reply, or an `error`.

    Records are appended to `path` as they arrive. Replies to the same prompt are reused from there; failed
    rows are sent again.

    Raises:
        InputError, MachineError: the endpoint rejects the requests, or too many rows failed; `path` is kept.
    """
    same = settings.model_dump(include={"address", "model", "max_tokens", "seed"})
    keys = {name: digest({"messages": messages, **same}) for name, messages in prompts.items()}
    there = {record["key"]: record for record in files.read_records(path) if "error" not in record}
    left = [name for name, key in keys.items() if key not in there]
    done, failed, in_a_row = len(prompts) - len(left), 0, 0
    progress(done, len(prompts))
    client, writing = Client(settings), threading.Lock()

    def one(name: str) -> Record | None:
        try:
            record = client.ask(prompts[name])
        except RowError as error:
            if client.stop.is_set():
                return None
            record = {"error": settings.hide_key(str(error)), "retries": error.retries}
        record = {"key": keys[name], "id": name, **record}
        with writing:
            files.append_record(path, record)
        return record

    with client.http, ThreadPoolExecutor(settings.concurrency) as pool:
        try:
            if left:
                client.check_name()
            for future in as_completed([pool.submit(one, name) for name in left]):
                record = future.result()
                assert record, "only stopped rows have none"
                there[record["key"]] = record
                done += 1
                progress(done, len(prompts))
                in_a_row = in_a_row + 1 if "error" in record else 0
                failed += "error" in record
                if in_a_row >= FAILED_IN_A_ROW or failed > max(1, FAILED_SHARE * len(prompts)):
                    raise MachineError(
                        f"{PREFIX}: {settings.address}: {failed} rows got no answer; the last error: "
                        f"{record['error']}. {done - failed} answers are kept in {show(path)}. Rerun the "
                        f"same command for the remaining rows, or unset {PREFIX} to evaluate without the "
                        "endpoint.",
                        code="endpoint.too_many_failures",
                    )
        except BaseException:
            client.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: there[key] for name, key in keys.items()}


def summary(records: list[Record], settings: Settings) -> dict[str, Any]:
    """Return the number of requests and their cost; tokens and dollars are None if a price or count is
    unknown."""
    good = [record for record in records if "error" not in record]

    def total(name: str) -> int | None:
        counts = [record[name] for record in good]
        return None if None in counts else sum(counts)

    tokens_in, tokens_out = total("tokens_in"), total("tokens_out")
    prices, cost = (settings.price_in, settings.price_out), None
    if None not in (tokens_in, tokens_out, *prices):
        cost = (tokens_in * prices[0] + tokens_out * prices[1]) / 1e6  # type: ignore[operator]
    return {
        "model": settings.model,
        "address": settings.address,
        "rows": len(records),
        "answered": len(good),
        "errors": len(records) - len(good),
        "retries": sum(record["retries"] for record in records),
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "dollars": cost,
    }


def endpoint_answers(
    rows: list[RenderedRow],
    messages: list[Messages],
    settings: Settings,
    folder: Path,
    progress: Progress,
) -> list[Record]:
    """Return the endpoint's record for each row, as `ask_all` does; files are kept in `folder`."""
    prompts = {row["id"]: turns for row, turns in zip(rows, messages, strict=True)}
    replies = ask_all(prompts, settings, folder / "answers.jsonl", progress)
    records = [replies[row["id"]] for row in rows]
    write_json(folder / "summary.json", summary(records, settings))
    return records
