"""What answers jobs: transformers (token_lm.py), a classification head, vLLM, lm-evaluation-harness.

protocol.py says what an engine gives; loader.py opens the models of a run.
"""
