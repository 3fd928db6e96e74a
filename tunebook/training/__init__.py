"""Start Axolotl in child processes, follow it, and test the processes of several GPUs beforehand.

In: a prepared run folder. Out: the trained model in it, progress on the console. May import: core, runs.
"""
