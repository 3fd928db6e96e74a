"""`tunebook fork`: a recipe for new data.

fork.py orders the steps, files.py finds the data, recognise.py and columns.py recognise its columns, tables/
looks at headers, labels and folders of tables, dataset_text.py and recipe_text.py make the texts of the two
folders, write.py writes them.
"""
