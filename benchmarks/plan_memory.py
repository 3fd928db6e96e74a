"""Compare `make plan`'s memory and arithmetic with what torch counts, and write the calibration table.

    .venv/bin/python -m benchmarks.plan_memory            # minutes on one core; no GPU, no weights
    .venv/bin/python -m benchmarks.plan_memory --only 8b  # cases with 8b in their name; "none" runs none

A training step of each case runs on fake tensors, which have shapes but no data, under torch's memory tracker
and FLOP counter: models of transformers, adapters of PEFT, autocast and AdamW, combined as in Axolotl. Fused
kernels (Liger's, Axolotl's LoRA kernels) need a GPU and are not included. Published peaks, in
benchmarks/published_peaks.yaml, are other people's measurements on GPUs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

import yaml

from tunebook.core.paths import ROOT
from tunebook.hardware import memory
from tunebook.hardware.memory import GIB
from tunebook.hardware.memory_settings import Setting
from tunebook.models import shapes
from tunebook.models.random_model import config_of
from tunebook.plan import hours

RESULTS = ROOT / "benchmarks" / "results" / "plan_calibration.json"
PUBLISHED = ROOT / "benchmarks" / "published_peaks.yaml"
SMOL, SMALL, LARGE = "HuggingFaceTB/SmolLM2-135M-Instruct", "Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B"
COUNTED = (SMOL,)  # whose FLOPs are counted too
# (base, setting) of each tracked step.
CASES: list[tuple[str, Setting]] = [
    (SMOL, Setting(4, 512, False)),
    (SMOL, Setting(4, 512, False, rank=16)),
    (LARGE, Setting(1, 4096, True, checkpointing=True)),
    (SMALL, Setting(4, 1024, True, weights="fp32")),
    (SMALL, Setting(4, 2048, True, weights="fp32", checkpointing=True)),
]  # fmt: skip


def name(base: str, s: Setting) -> str:
    """Return a short name of a case."""
    method = "full" if s.rank is None else f"lora r{s.rank}"
    marks = [s.attention] * (s.attention == "eager") + ["checkpointing"] * s.checkpointing
    marks += ["accumulation"] * s.accumulate + ["16-bit adapter"] * (
        s.rank is not None and not s.adapter_fp32
    )
    return ", ".join([f"{base} {method} {s.weights}", f"{s.rows} x {s.tokens}", *marks])


def build(shape: shapes.Shape, s: Setting) -> Any:
    """Build the model of a case without data; call inside a FakeTensorMode."""
    import torch
    from peft import LoraConfig, get_peft_model
    from torch._subclasses.fake_tensor import unset_fake_temporarily
    from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    # On a GPU, rows need no mask other than the causal one; under fake tensors transformers creates one.
    AttentionInterface.register("causal_sdpa", sdpa_attention_forward)
    AttentionMaskInterface.register("causal_sdpa", lambda *args, **kwargs: None)
    dtype = torch.float32 if s.weights == "fp32" else torch.bfloat16
    attention = "eager" if s.attention == "eager" else "causal_sdpa"
    # PEFT moves its layers between devices, which fake parameters do not allow: first use the meta device.
    with unset_fake_temporarily(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(shape), dtype=dtype, attn_implementation=attention)
        if s.rank is not None:
            adapter = LoraConfig(r=s.rank, lora_alpha=2 * s.rank, target_modules="all-linear")
            model = get_peft_model(model, adapter, autocast_adapter_dtype=s.adapter_fp32)
    made: dict[int, Any] = {}  # a tied weight stays one
    for module in model.modules():
        for key, weight in module._parameters.items():
            if weight is not None:
                adapter_dtype = torch.float32 if s.adapter_fp32 else torch.bfloat16
                is_adapter = s.rank is not None and weight.requires_grad
                fake = torch.empty(weight.shape, dtype=adapter_dtype if is_adapter else weight.dtype)
                made.setdefault(id(weight), torch.nn.Parameter(fake, weight.requires_grad))
                module._parameters[key] = made[id(weight)]
        for key, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[key] = torch.empty(buffer.shape, dtype=buffer.dtype)
    if s.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        if s.rank is not None:
            model.enable_input_require_grads()
    return model.train()


def track(shape: shapes.Shape, s: Setting) -> float:
    """Return the peak in GiB of tensors alive during a training step, as torch's tracker sees it."""
    import torch
    from accelerate.utils import convert_to_fp32
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker

    with FakeTensorMode():
        model = build(shape, s)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, fused=True)
        ids = torch.randint(0, shape.vocab, (s.rows, s.tokens))
        # Create the optimizer states first, as after an earlier step: zero gradients and one step are enough.
        for weight in trained:
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

        class Tracker(MemTracker):
            """MemTracker without hooks for gradients, which frozen weights do not support."""

            def _track_module_params_and_buffers(self, module: Any, install_grad_hooks: bool = True) -> Any:
                return super()._track_module_params_and_buffers(module, install_grad_hooks=s.rank is None)

        tracker = Tracker()
        tracker.track_external(model, optimizer)
        with tracker:
            for _ in range(2 if s.accumulate else 1):
                autocast = torch.autocast("cpu", torch.bfloat16) if s.adapter_fp32 else nullcontext()
                with autocast:
                    outputs = model(input_ids=ids, labels=ids)
                # accelerate's prepare_model under mixed precision: logits in fp32, alive with the loss.
                loss = (convert_to_fp32(outputs) if s.adapter_fp32 else outputs).loss
                del outputs
                loss.backward()
                del loss
                tracker.reset_mod_stats()  # of single modules; the peak stays
            optimizer.step()
        peak = tracker.get_tracker_snapshot("peak")
    return sum(parts["Total"] for parts in peak.values()) / GIB


def count_flops(shape: shapes.Shape, s: Setting) -> float:
    """Return the FLOPs of one forward and backward pass as torch's counter sees them."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    with FakeTensorMode():
        model = build(shape, s)
        ids = torch.randint(0, shape.vocab, (s.rows, s.tokens))
        with FlopCounterMode(display=False) as counter:
            model(input_ids=ids, labels=ids).loss.backward()
    return float(counter.get_total_flops())


def tensors_gib(shape: shapes.Shape, s: Setting) -> float:
    """Return the planned peak of tensors, without CUDA's own memory and gaps of the allocator."""
    parts = memory.components(shape, s)
    return sum(value for key, value in parts.items() if key != "framework")


def flops(shape: shapes.Shape, s: Setting) -> float:
    """Return the planned FLOPs of one forward and backward pass, counted as torch does: with attention scores
    of later tokens."""
    return s.rows * s.tokens * hours.step_flops(shape, s, s.tokens, causal=False)


def published() -> list[dict[str, Any]]:
    """Return the published peaks, each with the planned one, without CUDA's own memory: they are what PyTorch
    had allocated."""
    found = []
    for entry in yaml.safe_load(PUBLISHED.read_text()):
        shape = shapes.Shape.model_validate(entry["shape"])
        s = Setting(**entry["setting"])
        gib = entry["gib"] if "gib" in entry else entry["gb"] * 1e9 / GIB
        found.append({**entry, "published_gib": round(gib, 2), "plan_gib": round(tensors_gib(shape, s), 2)})
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only cases with this word in their name")
    only = parser.parse_args(argv).only.lower()
    table = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"tracked": {}, "flops": {}}
    known = {name(base, s) for base, s in CASES}
    for kind in ("tracked", "flops"):
        table[kind] = {case: row for case, row in table[kind].items() if case in known}
    for row in [*table["tracked"].values(), *table["flops"].values()]:  # the plan may have changed
        shape, s = shapes.find(row["base_model"]), Setting(**row["setting"])
        row |= (
            {"plan_gib": round(tensors_gib(shape, s), 3)}
            if "tracked_gib" in row
            else {"plan": flops(shape, s)}
        )
    packages = ("torch", "transformers", "peft")
    table["versions"] = {package: importlib.metadata.version(package) for package in packages}
    table["published"] = published()
    for entry in table["published"]:
        ratio = entry["plan_gib"] / entry["published_gib"] - 1
        print(f"{entry['what']}: {entry['published_gib']} GiB, plan {entry['plan_gib']} ({ratio:+.1%})")
    for base, s in CASES:
        if only in name(base, s).lower():
            compare(base, s, table)
            RESULTS.write_text(json.dumps(table, indent=1) + "\n")
    return 0


def compare(base: str, s: Setting, table: dict[str, Any]) -> None:
    """Track one case, count its FLOPs if its base model is in COUNTED, and add both to the table."""
    case, shape = name(base, s), shapes.find(base)
    peak, mine = track(shape, s), tensors_gib(shape, s)
    row = {"base_model": base, "setting": asdict(s)}
    table["tracked"][case] = {**row, "tracked_gib": round(peak, 3), "plan_gib": round(mine, 3)}
    print(f"{case}: tracked {peak:.2f} GiB, plan {mine:.2f} ({mine / peak - 1:+.1%})", flush=True)
    if base in COUNTED and not s.accumulate:
        eager = replace(s, attention="eager")  # in which the counter sees every matrix product
        counted, mine = count_flops(shape, eager), flops(shape, eager)
        table["flops"][case] = {**row, "setting": asdict(eager), "counted": counted, "plan": mine}
        print(f"{case}: counted {counted:.4g} FLOPs, plan {mine:.4g} ({mine / counted - 1:+.1%})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
