"""Files as people have them: compressed or not, in their encoding, in the shapes their tools write.

`text.py` opens a file, `json_values.py` streams its JSON, `tunebook/data/tables.py` gives its rows with their
lines, `shapes.py` says what a row may look like and turns it into what `dataset.yaml` renders, and
`recognise.py` finds out which shape a file has.
"""
