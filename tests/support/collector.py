"""Imported first where Axolotl is imported: it makes the imports shorter (tunebook/core/process.py)."""

from tunebook.core.process import collect_rarely

collect_rarely()
