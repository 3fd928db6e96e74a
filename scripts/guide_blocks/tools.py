"""Tools: what each library costs or writes, from the runs in which it was measured."""

from __future__ import annotations

from typing import Any

from scripts.guide_blocks.case_studies import file_scores
from scripts.guide_blocks.reference import plain_score
from scripts.guide_blocks.registry import Sources, block
from scripts.guide_blocks.trade_offs import benched
from scripts.guide_blocks.types import method_runs
from tunebook.core.markdown import markdown_table

block("tools/transformers-and-datasets", "score")(plain_score)
block("tools/openllm", "files")(lambda sources: file_scores(sources, "classify-lora"))


@block("tools/peft", "files")
def adapter_files(sources: Sources) -> str:
    """How large the file of each method is, and that of the whole model."""
    runs = method_runs(sources)
    return markdown_table(
        [
            {
                "method": name,
                "trained weights": f"{runs[name]['weights']:,}",
                "file": f"{runs[name]['megabytes']:,.1f} MB",
            }
            for name in ("full", "lora", "dora", "ia3", "prefix", "ptuning", "prompt")
        ]
    )


def _bits(item: dict[str, Any]) -> str:
    return "4" if "load_in_4bit=true" in item["changed"] else "16"


@block("tools/bitsandbytes", "memory")
def four_bits(sources: Sources) -> str:
    """An 8B model whose frozen weights are in 16 and in 4 bits, on one GPU."""
    return markdown_table(
        [
            {
                "bits of the base": _bits(item),
                "GPU": item["machine"]["gpus"][0]["name"],
                "memory of the loaded model": f"{item['tunebook']['loaded_gib']:.1f} GiB",
                "peak": f"{item['tunebook']['peak_gib']:.1f} GiB",
                "tokens/s": f"{item['tunebook']['tokens_per_second']:,.0f}",
            }
            for item in sorted(benched(sources), key=_bits)
        ]
    )


@block("tools/trl", "speed")
def beside_trl(sources: Sources) -> str:
    """The same rows with this repository and with plain TRL."""
    return markdown_table(
        [
            {
                "recipe": f"{item['recipe']} {item['label']}".strip(),
                "trained by": name,
                "tokens/s": f"{item[key]['tokens_per_second']:,.0f}",
                "peak": f"{item[key]['peak_gib']:.1f} GiB",
            }
            for item in benched(sources)
            if item.get("trl")
            for name, key in (("this repository", "tunebook"), ("plain TRL", "trl"))
        ]
    )
