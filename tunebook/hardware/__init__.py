"""What this machine has, what a GPU costs and can do, and how much memory a training step takes.

In: the machine, hardware/*.yaml. Out: GPUs, overlays of hardware keys, memory by component.
May import: core, models.
"""
