"""Readers of table files: CSV and its relatives, Excel, JSON, Parquet and Arrow; and the labels in them.

In: a path, and what a person says of the file. Out: (line, row) pairs. May import: tunebook.data.formats,
core.
"""
