"""Evaluate the trained run in RUN. Started by `tunebook recipe`, not by hand.

.venv/bin/python scripts/run_evaluation.py RUN
"""

from __future__ import annotations

import sys

from run_training import main

if __name__ == "__main__":
    raise SystemExit(main([*sys.argv[1:], "--evaluate"]))
