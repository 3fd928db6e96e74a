"""A run folder and what happens to it: stages, sessions, checkpoints, the store that outlives a machine.

In: a folder. Out: Run, Session, Store, faults of checkpoints, the form of its files. May import: core.
"""
