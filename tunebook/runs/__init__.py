"""A run folder and its contents: stages, sessions, checkpoints, and the store that outlives a machine.

In: a folder. Out: Run, Session, Store, faults of checkpoints, the schemas of its files. May import: core.
"""
