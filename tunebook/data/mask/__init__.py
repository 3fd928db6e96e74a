"""The supervised text of all rows that a training has prepared, compared with what the rows say.

In: tokens and labels of every prepared row, and the files of rows. Out: which rows would be trained on other
text. What the text of one row has to be is decided in tunebook/data/stretches.py; this package makes it cheap
for every row. It runs in the training process. May import: numpy, and what tunebook.data may.
"""
