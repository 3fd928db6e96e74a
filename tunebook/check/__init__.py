"""Find out what can be wrong with a run before anything is trained.

A run checks its own config and machine (config.py, machine.py: well under a second, and only errors stop it);
`tunebook check` (run.py) checks everything about the real run. In: a resolved recipe. Out: findings. May
import: core, models, data, hardware, config.
"""
