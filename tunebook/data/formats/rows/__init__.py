"""The layouts of rows: which fields the rows of a file have, and what the templates get of them.

In: raw rows. Out: rows for the templates, or Problems. `layouts.py` reads rows by their layout: labels there,
conversations and prompts in `prompts.py`, `questions.py`, `preference.py`. Before that, `picked.py` makes
columns of what is inside objects or joined, `votes.py` pairs of two answers and a vote; `label_lists.py`
reads labels in lists.
"""
