"""The known base models and fine-tuning methods, and where to find their weights.

In: a name, a folder or a Hub id. Out: the model table, shapes, methods, the trial tier's model, fingerprints.
May import: core.
"""
