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
from tunebook.core.files import AxolotlConfig, digest, file_sha256, write_json, write_jsonl
from tunebook.core.paths import ROOT, show
from tunebook.data import cache
from tunebook.data.dataset import Dataset
from tunebook.data.files.split_names import SPLITS, Split
from tunebook.data.lengths import FEWEST_ROWS, ROW, TRIAL_LENGTHS, fitting
from tunebook.data.sampling import sample_rows
from tunebook.data.thinking import setting
from tunebook.data.thinking.answers import without_reasoning
from tunebook.evaluation import suite
from tunebook.evaluation.endpoint.client import from_environment
from tunebook.evaluation.engines import vllm
from tunebook.models.methods import HEAD_PLUGIN, uses_head
from tunebook.models.shapes import positions
from tunebook.pipeline import manifest, replay_rows
from tunebook.runs.rows import RenderedRow
from tunebook.runs.run import Run


def with_labels(resolved: Resolved, dataset: Dataset) -> Resolved:
    """Return `resolved` with the labels of `dataset` as `class_labels`, in the order of the head's outputs,
    if the run trains a head.

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
    resolved: Resolved,
    dataset: Dataset,
    requested: dict[str, int] | None = None,
    notes: list[str] | None = None,
) -> dict[Split, list[RenderedRow]]:
    """Render every split and draw the number of rows set in trial.yaml for the trial tier, or fewer if
    `requested` says so; dev and test rows are the same for every seed of a run. `notes` receives messages for
    the user.

    Raises:
        InputError: hardly any row would be trained on, or no dev or test row fits the trial tier's base
            model.
    """
    rows = cache.all_rows(dataset)
    if setting.of(resolved.config) == "off":
        rows = {split: [*map(without_reasoning, some)] for split, some in rows.items()}
    trial = resolved.tier == "trial"
    rows["train"] = _trainable(rows["train"], resolved, dataset)
    counts: dict[str, int] = dict(resolved.recipe.rows) if trial else {}
    seed = resolved.config.get("seed", 42)
    for split in SPLITS:
        if trial and split != "train":
            rows[split] = _on_positions(rows[split], split, resolved, dataset, [] if notes is None else notes)
        count = min(counts.get(split, len(rows[split])), (requested or {}).get(split, len(rows[split])))
        drawn_by = seed if split == "train" else SAMPLE_SEED
        rows[split] = sample_rows(rows[split], count, drawn_by, stratify=bool(dataset.labels))
    if trial and resolved.config.get("excess_length_strategy") == "raise":
        _refuse_long(rows["train"] + rows["dev"], resolved, dataset)
    return rows


def fewer_drawn(
    rows: dict[Split, list[RenderedRow]], resolved: Resolved, requested: dict[str, int]
) -> list[str]:
    """Return a note for each split of the trial tier with fewer rows than trial.yaml or `requested` sets."""
    if resolved.tier != "trial":
        return []
    wanted = {split: min(count, requested.get(split, count)) for split, count in resolved.recipe.rows.items()}
    return [
        f"{len(some)} {split} rows are drawn instead of {wanted[split]}, because a sample keeps whole "
        "groups and label proportions, and train rows must fit sequence_len"
        for split, some in rows.items()
        if len(some) < wanted.get(split, 0)
    ]


def _refuse_long(rows: list[RenderedRow], resolved: Resolved, dataset: Dataset) -> None:
    """Raise InputError for rows that are too long, for which Axolotl would only fail after its imports and
    set-up."""
    limit = int(resolved.config.get("sequence_len") or 512)
    # definitely longer, whatever the template
    over = len(rows) - len(fitting(rows, (limit + ROW,))[limit + ROW])
    if over:
        text = (
            f"{over} of the {len(rows)} train and dev rows of {dataset.name} have more than {limit} tokens "
            "(sequence_len), and `raise` ends the training at the first of them. Use --set (SET=) to set a "
            "longer sequence_len, or excess_length_strategy=drop."
        )
        where = resolved.recipe.file
        raise InputError(Problem(text, where, key="excess_length_strategy", code="rows.over_sequence_len"))


def _trainable(rows: list[RenderedRow], resolved: Resolved, dataset: Dataset) -> list[RenderedRow]:
    """Return the train rows from which a run may draw: on the trial tier, those that Axolotl will not drop
    for their length, so that the sample consists of rows that are trained on.

    Raises:
        InputError: hardly any row is left.
    """
    limit = int(resolved.config.get("sequence_len") or 512)
    drops = (resolved.config.get("excess_length_strategy") or "drop") == "drop"
    # With the real tier's tokenizer, `make check` and Axolotl itself check the lengths.
    result = fitting(rows, (limit,))[limit] if drops and resolved.tier == "trial" else rows
    if len(result) >= FEWEST_ROWS:
        return result
    file = resolved.recipe.file
    if len(result) == len(rows):
        text = f"{dataset.name} has {len(rows)} train rows; fewer than {FEWEST_ROWS} have no measurable "
        text += "effect. Add rows."
        raise InputError(Problem(text, file, key="datasets", code="rows.too_few_to_train"))
    text = f"only {len(result)} of the {len(rows)} train rows of {dataset.name} have at most {limit} tokens "
    text += "(sequence_len), and longer rows are dropped. "
    longer = [size for size in TRIAL_LENGTHS if len(fitting(rows, (size,))[size]) >= FEWEST_ROWS]
    ways = [f"--set (SET=): sequence_len={longer[0]}"] if longer else []
    if dataset.answers:
        ways.append("`window: 300` under `source:` in dataset.yaml shortens the passages (docs/fork.md)")
    text += "; ".join(ways or ["Shorten the rows"]) + "."
    raise InputError(Problem(text, file, key="sequence_len", code="rows.too_few_to_train"))


def _on_positions(
    rows: list[RenderedRow], split: Split, resolved: Resolved, dataset: Dataset, notes: list[str]
) -> list[RenderedRow]:
    """Return the dev or test rows of a trial that fit its base model's positions.

    Raises:
        InputError: no row fits.
    """
    most = positions(resolved.config)
    if most is None:
        return rows
    result = fitting(rows, (most,))[most]
    if not result:
        text = f"each of the {len(rows)} {split} rows of {dataset.name} has more than {most} tokens, the "
        text += "positions of the trial tier's base model. Shorten the passages or conversations."
        raise InputError(Problem(text, resolved.recipe.file, key=split, code="rows.over_positions"))
    if len(result) < len(rows):
        notes.append(
            f"trial tier: {len(rows) - len(result)} of {len(rows)} {split} rows are ignored, because they "
            f"have more than the {most} tokens that the trial tier's base model supports"
        )
    return result


def place_paths(config: AxolotlConfig, run: Run) -> dict[str, Any]:
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


def more_rows(resolved: Resolved) -> dict[str, str]:
    """Return the hash of every further local file of rows that are trained on unchanged."""
    entries = [*resolved.config["datasets"][1:], *([resolved.replay.entry] if resolved.replay else [])]
    paths = [ROOT / str(entry.get("path")) for entry in entries]
    return {show(path): file_sha256(path) for path in paths if path.is_file()}


def evaluation_digest(settings: suite.Suite, dataset: Dataset, config: AxolotlConfig) -> str:
    """Return the hash of everything that affects an evaluation in addition to the model and the rows; raises
    what `_endpoint` and `served.engine` raise."""
    part = dataset.model_dump(include={"rules", "labels", "baseline_prompt"}, mode="json")
    others = _endpoint(settings, dataset) | vllm.engine(config)
    return digest({"suite": settings.model_dump(), "dataset": part, **others})


def _endpoint(settings: suite.Suite, dataset: Dataset) -> dict[str, Any]:
    """Return the settings of the endpoint that takes part, or {} for none.

    Raises:
        InputError: its variables are invalid, a judge is enabled without an endpoint, or rows have tools.
    """
    named = from_environment()
    if settings.judge and not named:
        raise InputError(
            "TUNEBOOK_ENDPOINT: the judge needs an endpoint, but none is set (docs/endpoints.md).",
            code="endpoint.missing",
        )
    if settings.mode == "quick" or not named:
        return {}
    if dataset.tools:
        raise InputError(
            f"TUNEBOOK_ENDPOINT: rows of {dataset.name} have tools, which cannot be sent to endpoints. "
            "Unset the variable.",
            code="endpoint.no_tools",
        )
    return {"endpoint": named.model_dump(include={"address", "model", "prompt"}, exclude_defaults=True)}


def write_inputs(
    run: Run,
    resolved: Resolved,
    dataset: Dataset,
    settings: suite.Suite,
    evaluation: str,
    replay: list[RenderedRow] | None = None,
) -> None:
    """Write the config, settings, state and manifest of `run`, and the conversations of `replay`, which the
    config then names beside the recipe's own rows."""
    config = place_paths(resolved.config, run)
    if resolved.replay and replay:
        write_jsonl(run / replay_rows.FILE, replay)
        config["datasets"].append(replay_rows.drawn_entry(resolved.replay, run))
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
