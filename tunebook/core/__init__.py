"""What every package needs and no other package may own: errors, paths, files, processes, the console.

In: nothing of Tunebook. Out: InputError and Problem, read and write JSON and JSONL, hashes, child processes.
May import: nothing of Tunebook.
"""
