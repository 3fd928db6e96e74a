"""This machine's hardware, GPU prices and capabilities, and the memory of a training step.

In: the machine, hardware/*.yaml. Out: GPUs, overlays with hardware keys, memory by component. May import:
core, models.
"""
