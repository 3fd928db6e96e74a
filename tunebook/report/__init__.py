"""From answers to a verdict: metrics.json, report.html, published results, comparison of runs.

In: a run folder with answers. Out: the files that people read. May import: core to evaluation; not plan.
"""
