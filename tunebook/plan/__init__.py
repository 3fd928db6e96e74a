"""`tunebook plan`: memory, hours and dollars of a real run, before anything is rented or downloaded.

In: a resolved recipe and a GPU. Out: Plan. planner.py assembles the plan; hours.py has the formulas for time
(those for memory are in the package hardware), rows.py the row lengths, changes.py the changes that make a
run fit, show.py the verb. docs/plan.md says how accurate the numbers are. May import: core to evaluation; not
report.
"""
