"""`tunebook fork`: a recipe for new data.

fork.py orders the steps, files.py finds the data, recognise.py and columns.py recognise its columns, tables/
looks at headers, labels and folders of tables, output/ makes the texts of the two folders, writes them and
says what was made.
"""
