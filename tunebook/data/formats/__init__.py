"""Data files as other tools write them.

In: a file, compressed or not, in any encoding that can be detected. Out: the fields that the templates of
dataset.yaml use. `open_file.py` opens a file, `json_stream.py` streams JSON documents, `place.py` records
where a row stands, `turn_forms.py` brings the forms of conversations to turns, `repairs.py` changes turns on
request, `hermes.py` finds calls in text, `conversations.py` reads turns, `fields.py` names the fields that
change what a row means, and `rows/` maps the fields of a row. `tunebook/data/files/tables.py` reads whole
files with these.
"""
