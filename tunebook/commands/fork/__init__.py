"""`tunebook fork`: create a recipe for new data.

fork.py runs the steps, files.py finds the data, recognise.py and columns.py recognise its columns, tables/
handles headers, labels and folders of tables, output/ writes the two folders and reports what was made.
"""
