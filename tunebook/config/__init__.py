"""Compose recipe.yaml, trial.yaml, hardware overlay and SET= into one Axolotl config, and check its keys.

In: a recipe's name and options. Out: Resolved, with the config and what identifies the run.
May import: core, models, runs, hardware.
"""
