"""Readers of table files: CSV and similar formats, Excel, JSON, Parquet and Arrow; and of the labels in them.

In: a path, and options that say how to read the file. Out: (line, row) pairs. May import:
tunebook.data.formats, core.
"""
