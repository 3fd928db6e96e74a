"""What a fork leaves and says.

dataset_text.py, recipe_text.py and trial_text.py (with yaml_text.py) make the texts of the two folders,
write.py writes them, earlier.py knows what an earlier fork of the name left, and screen.py is the last
screen.
"""
