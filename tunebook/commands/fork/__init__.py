"""`tunebook fork`: a recipe for a person's own rows.

fork.py is the order of steps, files.py finds the data, recognise.py guesses what its columns are,
dataset_text.py and recipe_text.py write the two folders.
"""
