"""Which base models and tuning methods there are, and where their weights lie.

In: a name, a folder or a Hub id. Out: the model table, shapes, methods, the trial tier's model, fingerprints.
May import: core.
"""
