"""`tunebook plan`: memory, hours and dollars of a real run, before anything is rented or downloaded.

In: a resolved recipe and a GPU. Out: Plan. planner.py puts it together, hours.py has the formulas (those of
memory are in hardware), rows.py the lengths of rows, changes.py what makes a run fit, show.py the verb.
docs/plan.md says how good the numbers are. May import: core to evaluation; not report.
"""
