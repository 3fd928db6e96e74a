"""`tunebook bench`: how fast a recipe trains on this machine, and with how much memory.

Runs a few real optimizer steps of the recipe's own config through Axolotl; nothing is saved or evaluated.
With `weights` random, a randomly initialised model of the same architecture is created locally and the rows
are the project's own, repeated, so nothing is downloaded. With `against` trl, plain transformers, PEFT and
TRL then train on the same rows with the same settings on the same GPU.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import statistics
import time
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import typer
import yaml

from tunebook.commands.options import Name, takes
from tunebook.commands.options import console as command_console
from tunebook.config.overrides import Options
from tunebook.config.recipe import load_recipe
from tunebook.config.resolve import resolve
from tunebook.config.resolved import Resolved
from tunebook.core.console import Console
from tunebook.core.environment import environment
from tunebook.core.errors import GOOD, TunebookError
from tunebook.core.files import AxolotlConfig, read_json, write_json
from tunebook.core.paths import runs_folder, show, slug
from tunebook.core.process import ChildError
from tunebook.data import cache
from tunebook.data.dataset import load_dataset_or_stand_in
from tunebook.data.sampling import enough_rows
from tunebook.hardware import gpus, memory
from tunebook.hardware import machine as hardware
from tunebook.hardware.memory_settings import Setting, setting
from tunebook.models import random_model, shapes
from tunebook.pipeline import prepare
from tunebook.pipeline.prepare import place_paths
from tunebook.plan import hours
from tunebook.runs.rows import write_rows
from tunebook.runs.run import Run
from tunebook.runs.supervised import read_supervised, refuse_other_text
from tunebook.training.launch import WORKER, follow_all

MEASURE_PLUGIN = "tunebook.plugins.Measure"
DEV_METRIC = "tunebook.plugins.DevMetric"  # evaluations on dev
WARM_UP = 2  # warm-up steps that are not counted: kernels are compiled, the allocator adapts its sizes
DROPPED = """evals_per_epoch saves_per_epoch eval_steps save_steps test_datasets early_stopping_patience
load_best_model_at_end metric_for_best_model auto_resume_from_checkpoints""".split()
SHOWN = """adapter lora_r load_in_4bit sequence_len sample_packing micro_batch_size
gradient_accumulation_steps attn_implementation gradient_checkpointing optimizer bf16 fp16 tf32
torch_compile lora_mlp_kernel lora_qkv_kernel lora_o_kernel liger_fused_linear_cross_entropy
liger_rms_norm liger_rope liger_glu_activation deepspeed fsdp_version plugins""".split()
PACKAGES = ("axolotl", "torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "liger-kernel")


def run_bench(
    name: str,
    options: Options,
    console: Console,
    steps: int = 12,
    weights: Literal["base", "random"] = "base",
    against: Literal["trl"] | None = None,
    label: str = "",
) -> int:
    """Measure recipe `name`, write the result to benchmarks/results/bench/ and show it.

    Args:
        steps: number of optimizer steps, at least three, because the first two are not counted.
        label: a word for the result's file name, if the recipe is measured with changed settings.

    Raises:
        InputError: the recipe or the options are invalid.
        TunebookError: the training failed; the message names its log.
    """
    recipe = load_recipe(name)
    resolved = resolve(recipe, replace(options, steps=steps))
    dataset = load_dataset_or_stand_in(recipe.dataset, weights == "random" or resolved.tier == "trial")
    resolved = prepare.with_labels(resolved, dataset)
    base = str(resolved.config["base_model"])
    config = _short(resolved.config)
    if weights == "random":
        with console.timed(None, "base") as words:
            config["base_model"] = str(random_model.ensure(base))
            words.append(f"random weights in the shape of {base}")
    run = Run(runs_folder() / "bench" / name)
    shutil.rmtree(run.folder, ignore_errors=True)
    with run.locked():
        rows = enough_rows(cache.all_rows(dataset)["train"], config, steps * resolved.world)
        write_rows(run / "data" / "train.jsonl", rows)
        (run / "config.yaml").write_text(yaml.safe_dump(place_paths(config, run), sort_keys=False))
        write_json(run / "settings.json", {"world": resolved.world, "base_model": config["base_model"]})
        found: dict[str, Any] = {
            "recipe": name,
            "label": label,
            "changed": options.set,
            "base_model": base,
            "weights": weights,
            "data": dataset.name,
            "seed": config.get("seed"),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "world": resolved.world,
            "machine": hardware.facts(),
            "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
            "config": {key: config[key] for key in SHOWN if key in config},
            "tunebook": _measured(WORKER, ["--train"], run, "train", resolved, base, console),
        }
        if against:
            found[against] = _measured(
                "tunebook.commands.bench_trl", [], run, against, resolved, base, console
            )
            found[against].pop("plan", None)  # which is of Axolotl's kernels
            ours, theirs = (found[side]["tokens_per_second"] for side in ("tunebook", against))
            found["ratio"] = round(ours / theirs, 3)
        shutil.rmtree(run / "train", ignore_errors=True)
        shutil.rmtree(run / "model", ignore_errors=True)
    folder = environment().bench
    path = folder / f"{_slug(name, label, weights, found['machine'])}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    _show(found, against, console)
    console.note(f"result: {show(path)}")
    return GOOD


def _short(config: AxolotlConfig) -> dict[str, Any]:
    """Return a config that only trains: no evaluation on dev, no checkpoints."""
    kept = {key: value for key, value in config.items() if key not in DROPPED}
    plugins = [name for name in config.get("plugins", []) if name != DEV_METRIC] + [MEASURE_PLUGIN]
    return kept | {"save_strategy": "no", "val_set_size": 0, "plugins": plugins}


def _measured(
    module: str, flags: list[str], run: Run, folder: str, resolved: Resolved, base: str, console: Console
) -> dict[str, Any]:
    """Train once in a child process and return what it cost."""
    (run / folder).mkdir(exist_ok=True)
    start = time.time()
    with console.timed(None, "measure") as words:
        try:
            follow_all(run, [(module, flags, resolved.world)], console)
        except ChildError as error:
            refuse_other_text(read_supervised(run / folder))
            raise TunebookError(
                f"the training failed: {error}\nFull log: {show(run.log)}.", code="train.failed"
            ) from None
        words.append(f"{'Axolotl' if folder == 'train' else folder}: {resolved.config['max_steps']} steps")
    config = run.config()
    return summary(read_json(run / folder / "bench.json"), setting(config), base, resolved.world, start)


def summary(
    raw: dict[str, Any], s: Setting, base: str, world: int, start: float, card: gpus.Gpu | None = None
) -> dict[str, Any]:
    """Return the summary of a meter's file (tunebook/plugins/meter.py): speed, memory and MFU.

    Rates are for all processes together, over the steps after the warm-up. MFU is the FLOPs that the model
    requires (tunebook/plan/hours.py: step_flops, without recomputation) over time and the GPU's dense 16-bit
    peak (hardware/facts/gpus.yaml); HFU also counts recomputation (Korthikanti et al. 2022, arXiv 2205.05198,
    section 5).
    """
    counted = raw["steps"][WARM_UP:]
    took = sum(step["seconds"] for step in counted)
    total = {key: sum(step[key] for step in counted) * world for key in ("tokens", "real", "trained")}
    seconds = sorted(step["seconds"] for step in counted)
    losses = [step["loss"] for step in raw["steps"] if "loss" in step]
    found: dict[str, Any] = {
        "tokens_per_second": round(total["tokens"] / took, 1),
        "real_tokens_per_second": round(total["real"] / took, 1),
        "trained_tokens_per_second": round(total["trained"] / took, 1),
        "steps": len(counted),
        "step_seconds": {
            "median": round(statistics.median(seconds), 4),
            "min": round(seconds[0], 4),
            "max": round(seconds[-1], 4),
        },
        "start_up_seconds": round(raw["began"] - start, 1),
        "loaded_gib": raw["loaded_gib"] and round(raw["loaded_gib"], 2),
        "peak_gib": round(raw["peak_gib"], 2),
        "reserved_gib": raw["reserved_gib"] and round(raw["reserved_gib"], 2),
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
    }
    if not shapes.known(base):
        return found
    shape = shapes.find(base)
    length = total["real"] / world / max(1, sum(step["sequences"] for step in counted))
    found["mean_length"] = round(length, 1)
    card = card or _card()
    if card is not None:
        peak = card.tflops * 1e12 * world
        plain = replace(s, checkpointing=False, attention="eager")  # eager attention recomputes nothing
        rate = total["tokens"] / took
        found["mfu"] = round(rate * hours.step_flops(shape, plain, length) / peak, 4)
        found["hfu"] = round(rate * hours.step_flops(shape, s, length) / peak, 4)
        found["plan"] = {"peak_gib": round(memory.total(shape, s), 2), "setting": asdict(s)}
    return found


def _card() -> gpus.Gpu | None:
    """Return the row of hardware/facts/gpus.yaml for this machine's GPU."""
    found = hardware.gpus()
    words = re.findall(r"[a-z0-9]+", found[0]["name"].lower()) if found else []
    return next((card for key, card in gpus.gpus().items() if key.split("-")[-1] in words), None)


def _slug(name: str, label: str, weights: str, machine: dict[str, Any]) -> str:
    card = machine["gpus"][0]["name"] if machine["gpus"] else "cpu"
    words = [name, label, "random" if weights == "random" else "", card.removeprefix("NVIDIA ")]
    return "-".join(slug(word) for word in words if word)


def _show(found: dict[str, Any], against: str | None, console: Console) -> None:
    sides = [("Axolotl", found["tunebook"])] + ([(against, found[against])] if against else [])
    table = []
    for side, measured in sides:
        mfu = f"{measured['mfu']:.1%} / {measured['hfu']:.1%}" if "mfu" in measured else "unknown peak"
        plan = f" (plan {measured['plan']['peak_gib']:.1f})" if "plan" in measured else ""
        table.append(
            {
                "trainer": side,
                "tokens/s": f"{measured['tokens_per_second']:,.0f}",
                "without padding": f"{measured['real_tokens_per_second']:,.0f}",
                "trained": f"{measured['trained_tokens_per_second']:,.0f}",
                "MFU / HFU": mfu,
                "peak GiB": f"{measured['peak_gib']:.2f}{plan}",
                "step s": f"{measured['step_seconds']['median']:.2f}",
                "start-up s": f"{measured['start_up_seconds']:.0f}",
                "loss": f"{measured['first_loss']:.3f} to {measured['last_loss']:.3f}",
            }
        )
    card = found["machine"]["gpus"][0]["name"] if found["machine"]["gpus"] else found["machine"]["cpu"]
    console.table(table, f"{found['recipe']}, {found['weights']} weights, {found['world']} x {card}")
    if against:
        console.note(f"{found['ratio']:.2f} times the tokens per second of {against}")


@takes("set", "model", "tier", "hardware", "gpus")
def bench_command(
    name: Name,
    options: Options,
    steps: Annotated[int, typer.Option(min=3, help="optimizer steps; the first two are not counted")] = 12,
    weights: Annotated[
        Literal["base", "random"], typer.Option(help="random: no download, same speed and memory")
    ] = "base",
    against: Annotated[Literal["trl"] | None, typer.Option(help="also measure plain TRL")] = None,
    label: Annotated[str, typer.Option(help="a word to add to the result's file name")] = "",
) -> int:
    """Measure training speed and memory on this machine.

    Tokens per second, MFU and peak memory of a few real steps; nothing is saved.
    """
    return run_bench(name, options, command_console(), steps, weights, against, label)
