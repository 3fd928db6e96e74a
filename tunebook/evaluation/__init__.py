"""Let models answer the test rows: which prompts, which engines, which further tests.

In: a trained run folder. Out: eval/answers/*.jsonl and eval/choice.json; nothing is judged here. Only the
engines and what drives them import torch. May import: core, metrics, models, runs, data, config, plugins.
"""
