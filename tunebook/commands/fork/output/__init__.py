"""What a fork writes and prints.

dataset_text.py, recipe_text.py and trial_text.py (with yaml_text.py) create the texts of the two folders,
write.py writes them, earlier.py recognises an earlier fork of the same name, and screen.py prints the
summary.
"""
