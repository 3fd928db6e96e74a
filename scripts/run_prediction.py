"""Answer the rows of DATA with the tuned model of RUN into OUT. Started by `tunebook predict`, not by hand.

.venv/bin/python scripts/run_prediction.py RUN DATA OUT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tunebook.child import die_with_parent
from tunebook.predict import answer_rows
from tunebook.run import Run

if __name__ == "__main__":
    die_with_parent()
    run, data, out = map(Path, sys.argv[1:])
    answer_rows(Run(run), data, out, Path(os.environ["TUNEBOOK_EVENTS"]))
