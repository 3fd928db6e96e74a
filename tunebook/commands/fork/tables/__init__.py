"""What fork looks at in tables: the line of column names, labels, folders of files, what a file says beside
its rows.

In: sampled rows, counted labels, paths. Out: notes, or errors that say what to type.
"""
