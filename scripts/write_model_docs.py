"""Write the table of docs/models.md from the model table and the shapes.

python scripts/write_model_docs.py
"""

from __future__ import annotations

from tunebook.core.paths import ROOT
from tunebook.models import shapes
from tunebook.models.registry import model_table
from tunebook.report.markdown_blocks import fill

PAGE = ROOT / "docs" / "models.md"
HEAD = ["model", "parameters", "licence", "end of turn", "thinking", "LoRA kernels", "packed rows"]
HEAD += ["positions"]
KERNELS = ("lora_qkv_kernel", "lora_o_kernel", "lora_mlp_kernel")


def _row(base: str) -> list[str]:
    row, shape = model_table()[base], shapes.find(base)
    keys = row["axolotl"]
    thinks = keys.get("chat_template_kwargs") or {}
    end = keys.get("special_tokens", {}).get("eos_token")
    return [
        base,
        f"{row['parameters'] / 1e9:.2f} B",
        row["licence"],
        "`" + end.replace("|", "\\|") + "`" if end else "its own eos",
        "off" if thinks.get("enable_thinking") is False else "no flag",
        "off" if any(keys.get(key) is False for key in KERNELS) else "as the recipe",
        f"with {row['packing']}" if "packing" in row else "yes",
        f"{shape.positions:,}",
    ]


def table() -> str:
    """Return the table of all models of the shelf in Markdown."""
    lines = [HEAD, ["---"] * len(HEAD), *(_row(base) for base in model_table())]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    """Write the page."""
    fill(PAGE, "shelf", table())


if __name__ == "__main__":
    main()
