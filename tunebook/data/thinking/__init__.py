"""Reasoning of the assistant: the setting `thinking` of recipe.yaml, and reasoning in texts and rows.

In: a config, rendered turns, generated text, a chat template. Out: what the setting says (setting.py), how a
template writes reasoning and where it ends in an answer (form.py), and rows with one answer each
(answers.py).
May import: core and runs. The prompt contract (tunebook/data/prompt.py) uses it.
"""
