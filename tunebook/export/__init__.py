"""Exports of a finished run, with their score measured again.

In: a finished run. Out: `merged/` (full weights) and `export/` (GGUF files, Ollama's Modelfile) in the run
folder, each either complete or absent, and for each the score on the same rows next to the run's own. May
import everything below `pipeline`; the workers run in separate processes.
"""
