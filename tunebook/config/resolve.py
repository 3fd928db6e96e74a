"""Compose the config of a run: recipe < trial < MODEL and model table < hardware < SET, SEED, STEPS."""

from __future__ import annotations

from pathlib import Path

from tunebook.config import method_limits
from tunebook.config.continue_from import continued
from tunebook.config.keys import check_keys, schema
from tunebook.config.overrides import Options, Tier, merge, parsed
from tunebook.config.recipe import Recipe
from tunebook.config.replay import apply_replay, take_replay
from tunebook.config.resolved import Resolved
from tunebook.core.errors import InputError, Problem, raise_all
from tunebook.core.files import AxolotlConfig
from tunebook.core.paths import show
from tunebook.data.thinking import setting
from tunebook.hardware import machine, memory, memory_settings, overlays
from tunebook.models import shapes, trial_model
from tunebook.models.registry import known_model, model_table, row_keys

# Hardware keys that affect what is learned: if the recipe or SET sets them, the run gets another id.
RESULT_KEYS = ("optimizer", "sample_packing", "plugins")
OUTPUT_KEYS = ("output_dir", "dataset_prepared_path")
FILLED = 0.9  # of a GPU's nominal memory, because drivers report less
PROGRESS_PLUGIN = "tunebook.plugins.Progress"
TOKEN_MEAN = "tunebook.plugins.TokenMean"


def pick_tier(options: Options) -> Tier:
    """Return the tier given by the options; by default `real` with a GPU and `trial` without."""
    return options.tier or ("real" if machine.gpus() else "trial")


def resolve(recipe: Recipe, options: Options, for_this_machine: bool = True) -> Resolved:
    """Compose a run's config and check its keys; with `for_this_machine` False, this machine's hardware is
    not detected and selects no overlay.

    Raises:
        InputError: unknown keys or wrong types in any layer; lists all of them, with file and line.
    """
    tier = pick_tier(options)
    overrides = parsed(options)
    trial = dict(recipe.trial) if tier == "trial" else {}
    if tier == "trial" and not trial:
        raise InputError(
            f"{show(recipe.folder)}: the trial tier needs a trial.yaml, which this recipe does not have.",
            code="recipe.no_trial",
        )
    share, replayed = take_replay(trial, overrides)
    chosen = {} if options.model is None else {"base_model": known_model(options.model)}
    plain = merge(merge(merge(recipe.config, trial), chosen), overrides)
    named = plain.get("plugins")
    plugins = {
        "plugins": [name for name in named if name in schema()["plugins"]] if isinstance(named, list) else []
    }
    problems = check_keys(recipe.config, recipe.lines, recipe.file)
    problems += check_keys({**plugins, **trial}, recipe.trial_lines, show(recipe.folder / "trial.yaml"))
    problems += check_keys({**plugins, **overrides}, {}, "--set (SET=)")
    if not plain.get("base_model"):
        problems.append(
            Problem(
                "missing; name a Hub model or a folder.",
                recipe.file,
                None,
                "base_model",
                "config.missing_key",
            )
        )
    raise_all(list(dict.fromkeys(problems)))

    table = row_keys(plain["base_model"], plain.get("adapter"))
    if trial.get("chat_template_jinja") and plain["base_model"] == trial.get("base_model"):
        # this base model brings its own template
        table = {key: value for key, value in table.items() if key != "chat_template"}
    config, replay = apply_replay(merge(merge(merge(recipe.config, trial), chosen), table), share)
    name = options.hardware or (overlays.guess() if for_this_machine else None)
    overlay = overlays.overlay(name) if name else None
    off = {**table, **method_limits.stays_off(config)}
    over = {k: v for k, v in overlay.keys.items() if off.get(k) is not False} if overlay else {}
    if tier == "trial" and plain["base_model"] != trial.get("base_model"):
        _must_be_small(plain["base_model"])
    last = {"seed": options.seed, "max_steps": options.steps}
    last = {key: value for key, value in last.items() if value is not None}
    final = _thinking(merge(merge(merge(config, over), overrides), last), recipe)
    world = options.gpus or _processes(overlay, for_this_machine)
    without_hardware = _thinking(merge(merge(config, overrides), last), recipe)
    identity = {
        key: value
        for key, value in without_hardware.items()
        if (key not in overlays.KEYS or key in RESULT_KEYS) and key not in OUTPUT_KEYS
    }
    identity |= {"global_batch": _global_batch(without_hardware), **replayed}
    if _sets_batch(overrides):
        identity["global_batch"] *= world  # a micro batch set by hand is that of each GPU
    else:
        most = over.get("micro_batch_size")
        if most and overlay and overlay.machine:
            most = _fitting(final, overlay.machine.gib, most, world)
        final |= split_batch(_global_batch(without_hardware), most, world, final)
    final["plugins"] = list(dict.fromkeys([*final.get("plugins", []), PROGRESS_PLUGIN]))
    on_cpu = overlay is not None and overlay.name == "cpu"
    if final["base_model"] == trial_model.NAME and (tier == "trial" or on_cpu):
        final["base_model"] = str(trial_model.ensure())
    if on_cpu:
        final |= {key: value for key, value in overlays.for_long_rows(final).items() if key not in overrides}
    if options.from_run is not None:
        keys, identity["from_run"] = continued(final, options.from_run)
        final |= keys
    changed = sorted(key for key in final if final[key] != recipe.config.get(key))
    return Resolved(recipe, tier, overlay, world, final, identity, changed, replay)


def _thinking(config: AxolotlConfig, recipe: Recipe) -> AxolotlConfig:
    """Return `config` with what its key `thinking` implies.

    Raises:
        InputError: an unknown value.
    """
    try:
        return setting.switched(config)
    except ValueError as error:
        line = recipe.lines.get((setting.KEY,))
        problem = Problem(f"{error}", recipe.file, line, setting.KEY, code="thinking.bad_value")
        raise InputError(problem, problems=[problem]) from None


def split_batch(batch: int, most: int | None, world: int, config: AxolotlConfig) -> dict[str, int]:
    """Return micro_batch_size and gradient_accumulation_steps for `world` processes at a global batch of
    `batch` rows: the micro batch is the largest divisor that does not exceed `most`.

    Raises:
        InputError: the global batch cannot be divided evenly.
    """
    if most is None and world == 1:
        return {}
    if batch % world:
        fits = max(count for count in range(1, world) if batch % count == 0)
        raise InputError(
            f"--gpus (GPUS=): a global batch of {batch} is not divisible by {world} GPUs. Use "
            f"GPUS={fits}, or set micro_batch_size and gradient_accumulation_steps with --set (SET=).",
            code="config.uneven_batch",
        )
    share = batch // world
    most = min(most or config.get("micro_batch_size", 1), share)
    micro = next(size for size in range(most, 0, -1) if share % size == 0)
    return {"micro_batch_size": micro, "gradient_accumulation_steps": share // micro}


def _fitting(config: AxolotlConfig, gib: int, most: int, world: int) -> int:
    """Return the largest micro batch, at most `most`, expected to fit GPUs of `gib` GiB; `most` itself if the
    base model's shape is not known."""
    try:
        shape = shapes.find(str(config["base_model"]))
    except InputError:
        return most
    how = memory_settings.sharding(config, world)
    return memory.largest_rows(shape, memory_settings.setting(config), FILLED * gib, most, how, world)


def _processes(overlay: overlays.Overlay | None, for_this_machine: bool) -> int:
    """Return the default number of training processes: one per GPU."""
    if not for_this_machine:
        return overlay.machine.gpus if overlay and overlay.machine else 1
    return 1 if overlay and overlay.name == "cpu" else max(1, len(machine.gpus()))


def _global_batch(config: AxolotlConfig) -> int:
    return int(config.get("micro_batch_size", 1)) * int(config.get("gradient_accumulation_steps", 1))


def _sets_batch(overrides: AxolotlConfig) -> bool:
    return bool({"micro_batch_size", "gradient_accumulation_steps"} & set(overrides))


def _must_be_small(base: str) -> None:
    known = model_table().get(base, {})
    if not Path(base).is_dir() and known.get("parameters", 10**12) > 600_000_000:
        raise InputError(
            "base_model: the trial tier accepts a local folder or a model with at most 0.6B parameters "
            f"(got {base!r}).",
            code="config.too_large",
        )
