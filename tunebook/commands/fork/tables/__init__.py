"""Checks of tables in fork: header, labels, folders of files, other information in a file.

In: sampled rows, counted labels, paths. Out: notes, or errors with what to type.
"""
