"""From answers to a verdict: metrics.json, report.html, published results, runs side by side.

In: a run folder with answers. Out: what a person reads. May import: core to evaluation; not plan.
"""
