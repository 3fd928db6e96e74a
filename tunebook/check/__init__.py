"""What can be wrong with a run, found before anything is trained.

A run looks at its own config and machine (config.py, machine.py: well under a second, and only errors stop
it); the verb (run.py) looks at everything of the real run. In: a resolved recipe. Out: findings.
May import: core, models, data, hardware, config.
"""
