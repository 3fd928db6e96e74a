"""Metrics from answers: scores of single rows, their means with intervals, tests between two models.

In: records of answers. Out: measures, differences, and the schema of metrics.json. Pure functions without
files or models. May import: core.
"""
