"""What answers jobs: transformers (token_lm.py), a classification head, vLLM, lm-evaluation-harness.

To add an engine: write a subclass of `protocol.Engine` in a file of its own here; return it from
`loader.Models.open` where it applies, and add what decides its results to `loader.Models.fingerprint`;
compare it with transformers as tests/evaluation/test_vllm.py does.
"""
