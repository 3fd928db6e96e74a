"""The engines that run jobs: transformers (token_lm.py), a classification head, vLLM, lm-evaluation-harness.

To add an engine, write a subclass of `protocol.Engine` in a new file here; return it from
`loader.Models.open` when it applies, and add the settings that affect its results to
`loader.Models.fingerprint`; compare it with transformers as in tests/evaluation/test_vllm.py.
"""
