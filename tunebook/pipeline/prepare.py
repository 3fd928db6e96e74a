"""Everything a run folder needs before training: rows, config.yaml, settings.json and the trial tier's
stand-ins."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from typing import Any

import yaml

from tunebook.config.resolved import Resolved
from tunebook.core.errors import InputError, Problem
from tunebook.core.files import digest, file_sha256, write_json
from tunebook.core.paths import ROOT, show
from tunebook.data import cache
from tunebook.data.dataset import Dataset
from tunebook.data.lengths import FEWEST_ROWS, fitting
from tunebook.data.sampling import sample_groups
from tunebook.data.sources import SPLITS, Split
from tunebook.evaluation import suite
from tunebook.evaluation.endpoint.client import from_environment
from tunebook.evaluation.engines import vllm
from tunebook.models.methods import HEAD_PLUGIN, uses_head
from tunebook.pipeline import manifest
from tunebook.runs.rows import RenderedRow
from tunebook.runs.run import Run


def with_labels(resolved: Resolved, dataset: Dataset) -> Resolved:
    """Return `resolved` with the labels of `dataset` as `class_labels`, in the order of the outputs, for a
    run that trains a head.

    Raises:
        InputError: the dataset has no labels.
    """
    if not uses_head(resolved.config):
        return resolved
    if not dataset.labels:
        raise InputError(
            f"plugins: {HEAD_PLUGIN} needs a dataset with labels; datasets/{dataset.name} has none.",
            code="labels.missing",
        )
    labels = {"class_labels": dataset.labels}
    return replace(resolved, config=resolved.config | labels, identity=resolved.identity | labels)


SAMPLE_SEED = 42


def prepare_rows(
    resolved: Resolved, dataset: Dataset, asked: dict[str, int] | None = None
) -> dict[Split, list[RenderedRow]]:
    """Render every split and draw the rows that trial.yaml names on the trial tier, or fewer where
    `asked` says so; those of dev and test are the same for every seed of a run."""
    rows = cache.all_rows(dataset)
    if resolved.tier == "trial":
        rows["train"] = _trainable(rows["train"], resolved, dataset)
    counts: dict[str, int] = dict(resolved.recipe.rows) if resolved.tier == "trial" else {}
    seed = resolved.config.get("seed", 42)
    for split in SPLITS:
        count = min(counts.get(split, len(rows[split])), (asked or {}).get(split, len(rows[split])))
        drawn_by = seed if split == "train" else SAMPLE_SEED
        rows[split] = sample_groups(rows[split], count, drawn_by, stratify=bool(dataset.labels))
    return rows


def fewer_drawn(rows: dict[Split, list[RenderedRow]], resolved: Resolved, asked: dict[str, int]) -> list[str]:
    """Return what to say of splits of the trial tier that have fewer rows than trial.yaml or `asked`
    names."""
    if resolved.tier != "trial":
        return []
    wanted = {split: min(count, asked.get(split, count)) for split, count in resolved.recipe.rows.items()}
    return [
        f"{len(some)} {split} rows are drawn and not {wanted[split]}: a draw keeps whole groups and the "
        "shares of the labels, and train only has rows that fit sequence_len"
        for split, some in rows.items()
        if len(some) < wanted.get(split, 0)
    ]


def _trainable(rows: list[RenderedRow], resolved: Resolved, dataset: Dataset) -> list[RenderedRow]:
    """Return the train rows that Axolotl will not drop for their length, so that the trial's sample is drawn
    among rows that are trained on.

    Raises:
        InputError: hardly any is left.
    """
    limit = int(resolved.config.get("sequence_len") or 512)
    if (resolved.config.get("excess_length_strategy") or "drop") != "drop":
        return rows
    result = fitting(rows, (limit,))[limit]
    if len(result) < min(len(rows), FEWEST_ROWS):
        raise InputError(
            Problem(
                f"only {len(result)} of the {len(rows)} train rows of {dataset.name} have at most {limit} "
                "tokens (sequence_len), and longer ones are dropped. Raise it with --set (SET=): "
                f"sequence_len={min(8192, 4 * limit)}, or shorten the rows.",
                resolved.recipe.file,
                key="sequence_len",
                code="rows.too_few_to_train",
            )
        )
    return result


def place_paths(config: dict[str, Any], run: Run) -> dict[str, Any]:
    """Return `config` with its data and output paths inside the run folder."""
    placed = dict(config)
    placed["datasets"] = [
        {**config["datasets"][0], "path": str(run / "data" / "train.jsonl"), "ds_type": "json"},
        *config["datasets"][1:],
    ]
    if config.get("test_datasets"):
        placed["test_datasets"] = [
            {**config["test_datasets"][0], "path": str(run / "data" / "dev.jsonl"), "ds_type": "json"},
            *config["test_datasets"][1:],
        ]
    placed["output_dir"] = str(run / "train")
    placed["dataset_prepared_path"] = str(run / "train" / "prepared")
    return placed


def more_rows(config: dict[str, Any]) -> dict[str, str]:
    """Return the hash of every further local file under `datasets:`, which is trained on as it is."""
    paths = [ROOT / str(entry.get("path")) for entry in config["datasets"][1:]]
    return {show(path): file_sha256(path) for path in paths if path.is_file()}


def evaluation_digest(settings: suite.Suite, dataset: Dataset, config: dict[str, Any]) -> str:
    """Return the hash of what decides an evaluation in addition to the model and the rows; raises what
    `_endpoint` and `served.engine` raise."""
    asked = dataset.model_dump(include={"rules", "labels", "baseline_prompt"}, mode="json")
    others = _endpoint(settings, dataset) | vllm.engine(config)
    return digest({"suite": settings.model_dump(), "dataset": asked, **others})


def _endpoint(settings: suite.Suite, dataset: Dataset) -> dict[str, Any]:
    """Return which endpoint takes part, {} for none.

    Raises:
        InputError: its variables are wrong, a judge is set without an endpoint, or rows offer tools.
    """
    named = from_environment()
    if settings.judge and not named:
        raise InputError(
            "TUNEBOOK_ENDPOINT: the judge needs an endpoint (docs/endpoints.md); none is named.",
            code="endpoint.missing",
        )
    if settings.mode == "quick" or not named:
        return {}
    if dataset.tools:
        raise InputError(
            f"TUNEBOOK_ENDPOINT: rows of {dataset.name} offer tools, which are not sent to endpoints. "
            "Unset it.",
            code="endpoint.no_tools",
        )
    return {"endpoint": named.model_dump(include={"address", "model"})}


def write_inputs(
    run: Run, resolved: Resolved, dataset: Dataset, settings: suite.Suite, evaluation: str
) -> None:
    config = place_paths(resolved.config, run)
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    write_json(
        run / "settings.json",
        {
            "recipe": resolved.recipe.name,
            "tier": resolved.tier,
            "seed": resolved.config.get("seed", 42),
            "base_model": resolved.config["base_model"],
            "hardware": resolved.hardware,
            "world": resolved.world,
            "dataset": dataset.model_dump(mode="json", exclude={"folder"}),
            "suite": settings.model_dump(),
        },
    )
    state = run.state()
    write_json(run / "state.json", {**state, "evaluation": evaluation})
    command = "tunebook " + shlex.join(sys.argv[1:])
    write_json(run / "manifest.json", manifest.build(resolved, dataset, command))
