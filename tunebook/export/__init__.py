"""What is handed out after the report, and its score measured again.

In: a finished run. Out: `merged/` (full weights) and `export/` (GGUF files, Ollama's Modelfile) in the run
folder, each whole or not there, and for each the score on the same rows next to the run's own. May import
everything below `pipeline`; the workers run in processes of their own.
"""
