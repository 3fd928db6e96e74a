"""Row layouts: which fields the rows of a file have, and what the templates receive.

In: raw rows. Out: rows for the templates, or Problems. `layouts.py` reads rows by their layout: labels
itself, the others in `prompts.py`, `questions.py` and `preference.py`. Before that, `picked.py` turns nested
or joined values into columns and `votes.py` turns two answers and a vote into pairs; `label_lists.py` reads
labels in lists.
"""
