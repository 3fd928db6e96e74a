"""How each field of a dataset's rows is used.

In: a dataset. Out: each field as learned, only used or not learned (find.py), and lines for the terminal
(show.py).
"""
