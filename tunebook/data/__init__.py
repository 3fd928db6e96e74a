"""From dataset.yaml to rendered rows, and from rows to prompt tokens.

In: files or a Hub dataset, and the templates of dataset.yaml. Out: rendered rows by split, and prompts as
token ids. May import: core, models.
"""
