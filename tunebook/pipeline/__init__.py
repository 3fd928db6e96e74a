"""The order of the stages of `tunebook recipe`: prepare, smoke test, train, evaluate, compare, report.

In: a recipe's name and options. Out: a finished run. May import: everything below but plan.
"""
