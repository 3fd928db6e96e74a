"""What a rehearsal says at its end: what was exercised, and what only a GPU can show."""

from __future__ import annotations

from dataclasses import dataclass

from tunebook.config.for_cpu import Switched
from tunebook.config.resolved import Resolved
from tunebook.core.files import AxolotlConfig
from tunebook.models import lanes
from tunebook.models.cut_model import Cut
from tunebook.pipeline.rehearsal_config import STEPS
from tunebook.plan.planner import Plan
from tunebook.runs.checkpoints import numbered
from tunebook.runs.run import Run
from tunebook.runs.supervised import read_supervised, sentence


@dataclass
class Rehearsed:
    """What is rehearsed: the real config and the one here, the cut model, and what is left out."""

    real: Resolved
    config: AxolotlConfig
    cut: Cut
    rows: dict[str, int]
    switched: list[Switched]
    outside: list[str]
    left_out: list[str]
    plan: Plan | None
    hidden: list[str]  # variables of the environment that were not used

    @property
    def base(self) -> str:
        return str(self.real.config["base_model"])


def exercised(one: Rehearsed, run: Run) -> list[str]:
    """Return what a finished rehearsal has shown, from the files of its run."""
    config, cut = one.config, one.cut
    history, choice = run.history(), run.choice()
    losses = [entry["loss"] for entry in history["log"] if "loss" in entry]
    looks = sum("eval_loss" in entry for entry in history["log"])
    counts = ", ".join(f"{count} {split}" for split, count in one.rows.items())
    of = f"the tokenizer and chat template of {one.base}" if cut.own_tokenizer else "the trial tokenizer"
    lines = [
        f"config: {len(one.real.config)} keys of the real tier with the overlay {one.real.hardware}, "
        "without errors",
        f"rows: {counts}, rendered by {of}",
    ]
    if found := read_supervised(run / "train"):
        lines.append(f"loss mask: {sentence(found)}")
    method = config.get("adapter") or "full fine-tuning"
    lines.append(
        f"model: {method} of {cut.architecture} with {cut.layers[1]} of {cut.layers[0]} layers, hidden size "
        f"{cut.hidden[1]} of {cut.hidden[0]}, random weights, vocabulary of {cut.vocab:,}"
    )
    batch = f"{config['micro_batch_size']} x {config['gradient_accumulation_steps']}"
    ways = [key for key in ("sample_packing", "gradient_checkpointing", "load_in_4bit") if config.get(key)]
    trained = f"train: {history['steps']} steps of {batch} at sequence_len {config.get('sequence_len', 512)}"
    trained += f" with {', '.join(ways)}" if ways else ""
    lines.append(
        f"{trained}; loss {losses[0]:.2f} to {losses[-1]:.2f}, all finite; dev evaluated {looks} times"
    )
    saved = len(numbered(run / "train"))
    whole = "without optimizer states" if config.get("save_only_model") else "each whole"
    lines.append(f"save: {saved} checkpoints, {whole}; the fine-tuned model loaded as the evaluation does")
    lines.append(f"evaluate: {', '.join(choice['contenders'])}; metrics, verdict and report written")
    return lines


def not_exercised(one: Rehearsed) -> list[str]:
    """Return by name what the rehearsal could not show."""
    config, real, cut = one.config, one.real.config, one.cut
    lines = [str(switch) for switch in one.switched]
    if config.get("load_in_4bit"):
        lines.append("the GPU's 4-bit kernels (here those of the CPU)")
    if config.get("sample_packing") and real.get("eval_sample_packing") is not False:
        lines.append("eval_sample_packing (true; here off)")
    if config.get("sample_packing") and config.get("attn_implementation") == "sdpa":
        lines.append("torch's varlen_attn for packed rows (here sdpa with a block-diagonal mask)")
    if cut.quantized:
        lines.append(f"the {cut.quantized} quantization of the published weights")
    if not cut.own_tokenizer:
        lines.append(f"the tokenizer and chat template of {one.base}, which are not on this machine")
    if one.real.world > 1:
        lines.append(f"{one.real.world} processes (here 1)")
    for key in ("micro_batch_size", "gradient_accumulation_steps", "eval_batch_size"):
        if key in real and real[key] != config[key]:
            lines.append(f"{key} ({real[key]}; here {config[key]})")
    lines += [f"{key} (nothing is reported, uploaded or resumed)" for key in one.outside]
    lines += one.left_out
    lines += [f"{name} (not used)" for name in one.hidden]
    steps = one.plan.steps if one.plan else None
    of = f" of {steps:,}" if steps else ""
    size = f" ({one.plan.download_gb:.1f} GB)" if one.plan else ""
    if not lanes.is_new():
        newest = max(lanes.PYTHONS)
        lines.append(
            f"Axolotl {newest}, which rented machines install (here {lanes.axolotl()}; docs/lanes.md)"
        )
    lines += [
        f"the published weights{size}, so no loss or score above means anything",
        f"the other layers and the true width: memory, speed; steps after the first {STEPS}{of}",
        "resuming from a checkpoint",
    ]
    return lines
