"""Measure answers per second and latency of a served run, compared with plain `model.generate`.

    .venv/bin/python -m benchmarks.serve_load runs/classify-lora/latest --rows 24

RUN is a finished run. Its first test rows are sent to `tunebook serve` with each engine, by 1, 4 and 8
clients at a time, and then answered with the same weights by transformers' `generate` in batches of 1, 4 and
8 prompts, one after the other on the same machine. Every answer uses greedy decoding and the run's own length
limit. Takes minutes. Writes benchmarks/results/serve_load.json and a table of docs/after-training.md.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx

from tunebook.core.files import read_json, write_json
from tunebook.core.markdown import markdown_table
from tunebook.core.paths import ROOT
from tunebook.core.ranks import wanted_threads
from tunebook.hardware import machine
from tunebook.models import llama_cpp
from tunebook.report.markdown_blocks import fill
from tunebook.runs.rows import Messages, read_rows
from tunebook.runs.run import Run, find

TARGET = ROOT / "benchmarks" / "results" / "serve_load.json"
DOC = ROOT / "docs" / "after-training.md"
CLIENTS = (1, 4, 8)
PLAIN = "model.generate"
NAMES = {"transformers": "ENGINE=transformers", "llamacpp": "ENGINE=llamacpp, q8_0", PLAIN: PLAIN}


@contextmanager
def served(run: Run, engine: str) -> Iterator[str]:
    """Serve `run` and yield the address of its chat completions."""
    words = [sys.executable, "-m", "tunebook.commands.cli", "serve", str(run.folder), "--port", "0"]
    child = subprocess.Popen([*words, "--engine", engine], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    try:
        said = []
        for text in child.stdout:
            said.append(text)
            if "/v1, model" in text:
                break
        else:
            raise SystemExit(f"{engine} was not served:\n{''.join(said)}")
        yield f"{text.split()[1].rstrip(',')}/chat/completions"
    finally:
        child.terminate()
        child.wait()


def line(engine: str, clients: int, wall: float, seconds: list[float]) -> dict[str, Any]:
    """Return one line of results: `seconds` of each answer, `wall` seconds in total."""
    return {
        "engine": engine,
        "clients": clients,
        "answers_per_second": round(len(seconds) / wall, 3),
        "median": round(statistics.median(seconds), 3),
        "p90": round(statistics.quantiles(seconds, n=10)[-1], 3),
    }


def load(address: str, bodies: list[dict[str, Any]], clients: int) -> tuple[float, list[float]]:
    """Send `bodies`, `clients` at a time; return the total seconds and those of each answer."""

    def one(body: dict[str, Any]) -> float:
        start = time.monotonic()
        client.post(address, json=body).raise_for_status()
        return time.monotonic() - start

    with httpx.Client(timeout=600) as client, ThreadPoolExecutor(clients) as pool:
        one(bodies[0])  # warm
        start = time.monotonic()
        seconds = list(pool.map(one, bodies))
        return time.monotonic() - start, seconds


def plain(run: Run, messages: list[Messages]) -> Callable[[int], tuple[float, list[float]]]:
    """Return a function that answers `messages` with the weights of `run` in batches; an answer takes as long
    as its batch."""
    import torch

    from tunebook.core.ranks import Ranks
    from tunebook.data.prompt import PromptEncoder
    from tunebook.evaluation.engines.loader import Models
    from tunebook.evaluation.inputs import load_inputs

    inputs = load_inputs(run)
    models = Models(inputs.config, run / "model", Ranks())
    net = models.open("tuned", engine=False).net  # type: ignore[attr-defined]
    options = {"max_new_tokens": inputs.suite.max_new_tokens, "do_sample": False}
    options |= {"eos_token_id": models.tokenizer.eos_token_id, "pad_token_id": models.tokenizer.pad_token_id}

    encoder = PromptEncoder(models.tokenizer, inputs.config.get("chat_template_kwargs"))
    prompts = [encoder.context(one) for one in messages]

    def answer(batch: int) -> tuple[float, list[float]]:
        start, seconds = time.monotonic(), []
        for first in range(0, len(prompts), batch):
            some = prompts[first : first + batch]
            padded = models.tokenizer.pad({"input_ids": some}, padding_side="left", return_tensors="pt")
            began = time.monotonic()
            with torch.inference_mode():
                net.generate(**padded, **options)
            seconds += [time.monotonic() - began] * len(some)
        return time.monotonic() - start, seconds

    return answer


def measure(run: Run, rows: int, engines: list[str], note: str) -> dict[str, Any]:
    """Return the lines of the table, with hardware and versions."""
    messages = [row["messages"][:-1] for row in read_rows(run / "data" / "test.jsonl")[:rows]]
    name, most = str(run.settings()["recipe"]), run.settings()["suite"]["max_new_tokens"]
    bodies = [{"model": name, "messages": one, "max_tokens": most, "temperature": 0} for one in messages]
    lines = []
    for engine in engines:
        with served(run, engine) as address:
            lines += [line(engine, clients, *load(address, bodies, clients)) for clients in CLIENTS]
    answer = plain(run, messages)
    answer(max(CLIENTS))  # warm
    lines += [line(PLAIN, batch, *answer(batch)) for batch in CLIENTS]
    facts = {key: machine.facts()[key] for key in ("cpu", "cores", "memory_gib", "gpus", "python")}
    facts |= {"threads": wanted_threads() or facts["cores"], "note": note}
    versions = {one: importlib.metadata.version(one) for one in ("torch", "transformers", "fastapi")}
    versions["llama.cpp"] = f"of llama-cpp-python {llama_cpp.VERSION}"
    head = {"recipe": name, "tier": run.settings()["tier"], "rows": rows, "max_new_tokens": most}
    return {**head, "date": time.strftime("%Y-%m-%d"), "machine": facts, "versions": versions, "lines": lines}


def table(found: dict[str, Any]) -> str:
    """Return the block of the page."""
    rows = [
        {
            "": NAMES[one["engine"]],
            "clients, or batch": str(one["clients"]),
            "answers/s": f"{one['answers_per_second']:.2f}",
            "seconds an answer": f"{one['median']:.2f}",
            "slowest tenth": f"{one['p90']:.2f}",
        }
        for one in found["lines"]
    ]
    head, machine = found, found["machine"]
    busy = f", with {machine['note']}" if machine["note"] else ""
    text = (
        f"{head['rows']} test rows of {head['recipe']} ({head['tier']} tier), at most "
        f"{head['max_new_tokens']} tokens an answer, with {machine['threads']} of {machine['cores']} cores "
        f"of {machine['cpu']}{busy}:"
    )
    return f"{textwrap.fill(text, 88)}\n\n{markdown_table(rows).strip()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--engines", default="transformers,llamacpp")
    given = parser.parse_args()
    write_json(TARGET, measure(find(given.run), given.rows, given.engines.split(","), given.note))
    fill(DOC, "serve-load", table(read_json(TARGET)))


if __name__ == "__main__":
    main()
