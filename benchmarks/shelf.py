"""Check every model of the shelf as far as a CPU can, and write the table of docs/models.md.

    .venv/bin/python -m benchmarks.shelf                  # about ten minutes on two cores
    .venv/bin/python -m benchmarks.shelf --only granite   # models with this in their name

For each model: its architecture with tiny sizes (tests/support/shelf.py) trains two steps of chat-lora's real
tier, once padded and once packed; before the first step the run compares what is learned of every prepared
row, as Axolotl made it, with the rows. `make plan`'s memory of the whole model is compared with what torch
tracks of a LoRA step on fake tensors of true width, at two small numbers of layers, continued in a straight
line to the model's own. Run it on both lanes; the file keeps each.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.plan_memory import tensors_gib, track
from tests.support import real_tokenizers, shelf
from tests.support.trainings import train
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import ROOT
from tunebook.hardware.memory_settings import Setting
from tunebook.models import shapes
from tunebook.models.registry import model_table
from tunebook.report.markdown_blocks import fill
from tunebook.runs.run import Run
from tunebook.runs.supervised import read_supervised

TARGET = ROOT / "benchmarks" / "results" / "shelf.json"
PAGE = ROOT / "docs" / "models.md"
TRACKED = Setting(1, 2048, False, rank=16, checkpointing=True)
HEAD = ["model", "tokenizer", "learned as the rows say", "loss, two steps", "packed = padded"]
HEAD += ["plan against tracked, GiB"]


def own_tokenizer(base: str) -> Path | None:
    """Return the folder of the model's own tokenizer, if it has been fetched."""
    family = model_table()[base]["family"]
    return real_tokenizers.tokenizer_if_there(family) if family in real_tokenizers.PACKAGES else None


def trained(bases: list[str], folder: Path) -> dict[str, dict[str, Any]]:
    """Train each model padded, and packed where packing needs no GPU; return what came of it."""
    runs: dict[str, dict[str, Run]] = {}
    for base in bases:
        place = folder / base.replace("/", "--")
        shelf.small_base(base, place / "base", own_tokenizer(base))
        packs = "packing" not in model_table()[base]
        batches = ("padded", "packed") if packs else ("padded",)
        runs[base] = {batch: shelf.prepare(base, place / "base", place / batch, batch) for batch in batches}
    train([run for some in runs.values() for run in some.values()], {})
    return {base: _result(base, some) for base, some in runs.items()}


def _result(base: str, runs: dict[str, Run]) -> dict[str, Any]:
    from safetensors import safe_open

    logs = {batch: read_json(run / "train" / "history.json")["log"] for batch, run in runs.items()}
    seen = {
        batch: [[entry[key] for key in ("loss", "grad_norm")] for entry in log if "loss" in entry]
        for batch, log in logs.items()
    }
    mask = read_supervised(runs["padded"] / "train")
    assert mask is not None
    with safe_open(runs["padded"] / "model" / "adapter_model.safetensors", "pt") as weights:
        adapters = [bool(weights.get_tensor(name).any()) for name in weights.keys() if "lora_B" in name]
    own = own_tokenizer(base) is not None
    found = {
        "tokenizer": "its own" if own else "written after its family's",
        "rows": mask["rows"],
        "rows_as_written": mask["compared"] - mask["differ"],
        "losses": [loss for loss, _ in seen["padded"]],
        "adapters": len(adapters),
        "adapters_learned": sum(adapters),
    }
    if "packed" in seen:
        pairs = [
            (one, two)
            for a, b in zip(seen["packed"], seen["padded"], strict=True)
            for one, two in zip(a, b, strict=True)
        ]
        found["packed_differs"] = max(abs(one - two) / abs(two) for one, two in pairs)
    return found


def tracked(base: str) -> dict[str, float]:
    """Return the tracked and the planned peak of tensors in GiB of a step of TRACKED; in a fresh process."""
    shape = shapes.find(base)
    if shape.delta:
        from tests.support.delta_kernels import put_in_place

        put_in_place()
    few = shape.delta.every if shape.delta else 2
    low, high = (track(shape.model_copy(update={"layers": n * few}), TRACKED) for n in (1, 2))
    peak = low + (high - low) * (shape.layers / few - 1)
    return {"tracked_gib": round(peak, 2), "plan_gib": round(tensors_gib(shape, TRACKED), 2)}


def table(lanes: dict[str, Any]) -> str:
    """Return the table in Markdown; a cell has a value for each lane, in their order, if they differ."""
    lines = [HEAD, ["---"] * len(HEAD)]
    for base in model_table():
        rows = [_cells(lane["models"][base]) for lane in lanes.values() if base in lane["models"]]
        lines.append([base, *(" and ".join(dict.fromkeys(cells)) for cells in zip(*rows, strict=True))])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _cells(found: dict[str, Any]) -> list[str]:
    first, last = found["losses"]
    packed = found.get("packed_differs")
    ratio = found["plan_gib"] / found["tracked_gib"] - 1
    return [
        found["tokenizer"],
        f"{found['rows_as_written']} of {found['rows']} rows",
        f"{first:.2f} to {last:.2f}",
        "needs a GPU" if packed is None else "yes" if packed < 1e-3 else f"{packed:.1%} off",
        f"{found['plan_gib']:.2f} / {found['tracked_gib']:.2f} ({ratio:+.1%})",
    ]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only models with this in their name")
    only = parser.parse_args(argv).only.lower()
    bases = [base for base in model_table() if only in base.lower()]
    lanes = read_json(TARGET) if TARGET.is_file() else {}
    lane = lanes.setdefault(version("axolotl"), {"models": {}})
    lane["versions"] = {name: version(name) for name in ("torch", "transformers", "peft")}
    lane["tracked"] = {
        "rows": TRACKED.rows,
        "tokens": TRACKED.tokens,
        "rank": TRACKED.rank,
        "checkpointing": True,
    }
    with tempfile.TemporaryDirectory() as folder:
        found = trained(bases, Path(folder))
    fresh = functools.partial(ProcessPoolExecutor, 1, multiprocessing.get_context("spawn"))
    for base in bases:
        with fresh() as pool:
            found[base] |= pool.submit(tracked, base).result()
        known = lane["models"] | {base: found[base]}
        lane["models"] = {name: known[name] for name in model_table() if name in known}
        print(base, json.dumps(found[base]), flush=True)
        write_json(TARGET, dict(sorted(lanes.items())))
    if not only:
        fill(PAGE, "shelf-checked", table(lanes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
