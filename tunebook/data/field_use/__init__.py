"""What happens to every field of a dataset's rows.

In: a dataset. Out: each field as learned, only used or not learned (find.py), and lines for the screen
(show.py).
"""
