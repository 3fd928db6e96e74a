"""Compose recipe.yaml, trial.yaml, the hardware overlay and SET= into one Axolotl config, and check its keys.

In: a recipe's name and options. Out: Resolved, with the config and the settings that identify the run. May
import: core, models, runs, hardware.
"""
