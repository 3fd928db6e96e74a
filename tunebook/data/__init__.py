"""From dataset.yaml to rows, and from rows to the tokens of a prompt.

In: files or a Hub dataset, and its templates. Out: rendered rows by split, prompts as token ids, the cache of
both. May import: core, models.
"""
