"""What fields mean that change what a row means.

In: the name of a field, and its value. Out: its `Meaning`, or None. Imports formats/values.py and core only.
"""
