"""`tunebook evaluate`: evaluate a finished run again, or a model fine-tuned elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunebook.config.overrides import Options
from tunebook.config.recipe import Recipe
from tunebook.config.resolve import pick_tier
from tunebook.config.resolved import Resolved
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.files import AxolotlConfig, digest, write_json
from tunebook.core.paths import slug
from tunebook.data import cache
from tunebook.data.dataset import load_dataset_config
from tunebook.data.files.split_names import SPLITS
from tunebook.data.thinking.answers import without_reasoning
from tunebook.evaluation import suite
from tunebook.hardware import overlays
from tunebook.models import trial_model
from tunebook.models.fingerprint import weights_hash
from tunebook.models.hub import reach_hub
from tunebook.models.locate import model_folder
from tunebook.models.registry import model_table
from tunebook.pipeline.fetch import fetch
from tunebook.pipeline.prepare import evaluation_digest, write_inputs
from tunebook.pipeline.recipe import finish, show_run
from tunebook.runs.model_files import find_with_model
from tunebook.runs.rows import write_rows
from tunebook.runs.run import pick, point_latest


def evaluate_run(name: str, console: Console) -> int:
    """Evaluate, compare and report a trained run again; finished batches are reused if nothing that affects
    them has changed. Return the exit code.

    Raises:
        InputError: no such run, or one that has not finished training.
    """
    run = find_with_model(name, "train")
    with run.locked():
        run.forget("evaluate", "compare", "report")
        finish(run, console)
    return show_run(run, console)


def evaluate_model(
    model: str, task: str, base: str | None, mode: str, tier: Any, console: Console, beside: str = ""
) -> int:
    """Evaluate a model fine-tuned elsewhere on the dataset `task`, against the best prompt of its base model.

    Args:
        model: a folder or a Hub id: an adapter, or full weights.
        base: a folder or a Hub id; not needed for an adapter, which names its base model.
        mode: quick, default or full.
        beside: other models to evaluate as well: folders or Hub ids.

    Raises:
        InputError: a folder without a model, a missing base model, or an unknown dataset.
        MachineError: the Hub is needed and cannot be reached.
    """
    dataset = load_dataset_config(task)
    folder = model_folder(model, "MODEL")
    adapter = folder / "adapter_config.json"
    shape = json.loads(adapter.read_text()) if adapter.is_file() else None
    base = base or (shape or {}).get("base_model_name_or_path")
    if not base:
        raise InputError(
            "--base (BASE=) is missing. Name the base model of this model, to compare with.",
            code="option.missing_base",
        )
    picked = pick_tier(Options(tier=tier))
    overlay = overlays.overlay(overlays.guess())
    config: AxolotlConfig = {
        "base_model": _base_folder(base, picked == "trial" or overlay.name == "cpu"),
        **model_table().get(base, {}).get("axolotl", {}),
        **{key: overlay.keys[key] for key in ("bf16", "attn_implementation") if key in overlay.keys},
        "datasets": [{"path": f"datasets/{task}/rows/train.jsonl"}],
        "seed": 42,
    }
    config = {key: value for key, value in config.items() if value is not None}
    if shape:
        config["adapter"] = str(shape.get("peft_type", "LORA")).lower()
    name = "evaluate-" + slug(Path(model).name)
    recipe = Recipe(name, folder, config, {}, {}, {}, {}, {})
    settings = suite.load_suite(recipe, dataset.task, picked, mode, beside)
    settings.checkpoints = "last"
    rows = {split: [*map(without_reasoning, some)] for split, some in cache.all_rows(dataset).items()}
    made_of = [weights_hash(folder), config, {split: rows[split] for split in SPLITS}]
    resolved = Resolved(recipe, picked, overlay, 1, config, {"base_model": base}, [])
    run = pick(name, digest(made_of)[:10], new=False)
    evaluation = evaluation_digest(settings, dataset, config)
    resolved = replace(resolved, config=fetch(config, settings, run, evaluation, console))
    with run.locked():
        if run.state().get("evaluation") not in (None, evaluation):
            run.forget("evaluate", "compare", "report")
        write_inputs(run, resolved, dataset, settings, evaluation)
        point_latest(run)
        for split in SPLITS:
            write_rows(run / "data" / f"{split}.jsonl", rows[split])
        if not (run / "model").exists():
            (run / "model").symlink_to(folder.resolve())
        (run / "train").mkdir(exist_ok=True)
        write_json(run / "train" / "history.json", {"steps": None, "trained_tokens": None, "log": []})
        for stage in ("check", "data", "train"):
            run.mark(stage, "done")
        finish(run, console)
    return show_run(run, console)


def _base_folder(base: str, trial: bool) -> str:
    """Return the folder of the base model, or its id if it is on the Hub or in the Hub's cache; for the trial
    tier's base model (`trial`), return the copy that this machine makes without the Hub.

    Raises:
        MachineError: the Hub is needed and cannot be reached.
    """
    if Path(base).is_dir():
        return str(model_folder(base, "BASE"))
    if trial and base == trial_model.NAME:
        return str(trial_model.ensure())
    reach_hub(base, None)
    return base
