"""Read data files as other tools write them.

In: a file, compressed or not, in any encoding that can be detected. Out: the fields that the templates of
dataset.yaml use. `open_file.py` opens a file, `json_stream.py` streams JSON documents, `place.py` records the
position of a row, `turn_forms.py` converts conversations to turns, `repairs.py` changes turns on request,
`hermes.py` finds tool calls in text, `conversations.py` reads turns, `fields.py` lists the fields that change
what a row means, and `rows/` maps the fields of a row. `tunebook/data/files/tables.py` reads whole files with
these modules.
"""
