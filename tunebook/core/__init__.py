"""What every package needs and none of them should define again: errors, paths, files, processes, the
console.

In: nothing of Tunebook. Out: InputError and Problem, read and write JSON and JSONL, hashes, child processes.
May import: nothing of Tunebook.
"""
