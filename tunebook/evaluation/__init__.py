"""Generate the models' answers to the test rows: which prompts, which engines, which further tests.

In: a trained run folder. Out: eval/answers/*.jsonl and eval/choice.json; the verdict is decided elsewhere.
Only the engines and the code that drives them import torch. May import: core, metrics, models, runs, data,
config, plugins.
"""
