"""The config and settings of a rehearsal: the real tier's, with few rows, few steps and small batches."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from tunebook.config.for_cpu import Switched, for_cpu
from tunebook.config.overrides import parse_rows
from tunebook.config.resolved import Resolved
from tunebook.core.files import AxolotlConfig, digest, file_sha256, read_jsonl, write_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.dataset import Dataset
from tunebook.data.sources import source_file
from tunebook.evaluation.suite import Suite
from tunebook.pipeline.prepare import more_rows
from tunebook.pipeline.smoke import REPORTING
from tunebook.runs import versions
from tunebook.runs.run import Run

ROWS = {"train": 64, "dev": 8, "test": 8}
MORE_ROWS = 16  # of each further entry of `datasets:`
STEPS = 4
MICRO_TOKENS, MOST_ACCUMULATION = 2048, 2  # tokens of a micro batch at most, micro batches of a step at most
DEV_ROWS, GENERATED, NEW_TOKENS, AGREEMENT, ITEMS = 4, 4, 16, 4, 8
# They decide nothing about what a rehearsal shows, so that a passed one holds for any of their values.
ANY = ("seed", "max_steps", "global_batch")
# what leaves this machine, or starts from something outside the run
OUTSIDE = frozenset("push_dataset_to_hub profiler_steps resume_from_checkpoint lora_model_dir".split())


def row_counts(requested: str) -> dict[str, int]:
    """Return the number of rows of each split: `ROWS`, or fewer if `--rows` says so; raises what `parse_rows`
    raises."""
    fewer = parse_rows(requested)
    return {split: min(count, fewer.get(split, count)) for split, count in ROWS.items()}


def key(resolved: Resolved, dataset: Dataset) -> str:
    """Return the hash of what a rehearsal is about: the config without hardware keys, dataset.yaml and its
    files, and the lock file. `make launch` looks for a rehearsal with the hash of what it would start."""
    source = dataset.source
    files: dict[str, str | None] = {}
    for split in source.splits if source.hub else source.files:
        path = source_file(source, dataset.folder, split)
        files[split] = file_sha256(path) if path and path.is_file() else None
    identity = {name: value for name, value in resolved.identity.items() if name not in ANY}
    rows = [dataset.model_dump(mode="json", exclude={"folder"}), files, more_rows(resolved)]
    return digest([identity, rows, versions.lock_hash()])[:10]


def rehearsal_config(real: Resolved, base: Path) -> tuple[AxolotlConfig, list[Switched], list[str]]:
    """Return the config of a rehearsal of `real` on the model in `base`, what a CPU switches off in it, and
    the keys that are left out because they reach beyond this machine."""
    config, switched = for_cpu(real.config)
    outside = sorted(name for name in config if name in OUTSIDE or REPORTING.match(name))
    config = {name: value for name, value in config.items() if name not in outside}
    outside = [name for name in outside if real.config[name]]
    length = int(config.get("sequence_len") or 512)
    real_micro = int(config.get("micro_batch_size", 1))
    batch = real_micro * int(config.get("gradient_accumulation_steps", 1)) * real.world
    fits = max(1, MICRO_TOKENS // length)
    micro = min(real_micro, fits)
    config |= {
        "base_model": str(base),
        "micro_batch_size": micro,
        "gradient_accumulation_steps": max(1, min(MOST_ACCUMULATION, batch // micro)),
        "eval_batch_size": min(int(config.get("eval_batch_size") or real_micro), fits),
        "max_steps": min(STEPS, int(config.get("max_steps") or STEPS)),
    }
    if config.get("sample_packing"):
        config["eval_sample_packing"] = False  # these few dev rows fill no batch, which Axolotl refuses
    for name in ("eval_steps", "save_steps"):
        if isinstance(config.get(name), int) and config[name] > 1:
            config[name] = STEPS // 2
    for name in ("revision_of_model", "tokenizer_config", "base_model_config"):
        config.pop(name, None)  # the cut model's folder has everything
    return config, switched, outside


def few_more_rows(config: AxolotlConfig, run: Run) -> None:
    """Let each further entry of `datasets:` have few rows: a local file's are copied into the run."""
    config["datasets"] = list(config["datasets"])
    for index, entry in enumerate(config["datasets"][1:], 1):
        path = ROOT / str(entry.get("path"))
        if path.is_file() and path.suffix == ".jsonl":
            rows = list(itertools.islice(read_jsonl(path), MORE_ROWS))
            write_jsonl(run / "data" / f"more-{index}.jsonl", rows)
            config["datasets"][index] = {**entry, "path": str(run / "data" / f"more-{index}.jsonl")}
        elif "[" not in (split := str(entry.get("split") or "train")):
            config["datasets"][index] = {**entry, "split": f"{split}[:{MORE_ROWS}]"}


def rehearsal_suite(suite: Suite) -> tuple[Suite, list[str]]:
    """Return the suite with few rows and short answers, and what is left out of it."""
    harness = sorted(name for name, task in suite.retention.items() if task.kind == "harness")
    left_out = [f"lm-evaluation-harness's tasks: {', '.join(harness)}"] if harness else []
    left_out += [f"other models: {', '.join(suite.beside)}"] if suite.beside else []
    left_out += ["the judge"] if suite.judge else []
    tasks = {
        name: task.model_copy(update={"limit": min(task.limit or ITEMS, ITEMS)})
        for name, task in suite.retention.items()
        if name not in harness
    }
    less: dict[str, Any] = {
        "max_new_tokens": min(NEW_TOKENS, suite.max_new_tokens),
        "dev_rows": min(DEV_ROWS, suite.dev_rows),
        "generate_rows": min(GENERATED, suite.generate_rows or GENERATED),
        "agreement_rows": min(AGREEMENT, suite.agreement_rows),
        "latency_rows": min(AGREEMENT, suite.latency_rows),
        "retention": tasks,
        "beside": [],
        "judge": False,
    }
    return suite.model_copy(update=less), left_out
