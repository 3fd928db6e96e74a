"""The generated blocks of docs/guide, one module per part (scripts/write_guide.py fills them in)."""

from scripts.guide_blocks import case_studies, evaluation, pipeline, reference, tools, trade_offs, types, why
from scripts.guide_blocks.registry import BLOCKS, made

PARTS = (why, types, pipeline, case_studies, trade_offs, evaluation, tools, reference)
__all__ = ["BLOCKS", "PARTS", "made"]
