"""`tunebook plan`: memory, hours and dollars of a real run, before anything is rented or downloaded.

    plan(recipe, resolved, gpu, count, price) -> Plan

shapes.py has the models' shapes, memory.py and hours.py the formulas, rows.py the lengths of rows, gpus.py
cards and prices; planner.py puts them together, changes.py looks for what makes a run fit, command.py is the
verb. docs/plan.md says how good the numbers are.
"""

from tunebook.plan.planner import Plan, plan

__all__ = ["Plan", "plan"]
