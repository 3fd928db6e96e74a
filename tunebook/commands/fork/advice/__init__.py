"""What to do with rows that cannot be read as they are: the format named, a command, or the options to type.

In: a sample of rows. Out: an InputError. Imports other modules of fork, data and core.
"""
