"""`tunebook fork`: a recipe for new data.

fork.py orders the steps, files.py finds the data, recognise.py recognises its columns, dataset_text.py and
recipe_text.py write the two folders.
"""
