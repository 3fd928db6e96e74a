"""Test the processes of a launch before they train RUN. `tunebook recipe` starts it with torchrun:

python -m torch.distributed.run --nproc-per-node=2 -m tunebook.training.preflight_worker RUN
"""

from __future__ import annotations

import sys
from pathlib import Path

from tunebook.core.errors import BAD_MACHINE, GOOD
from tunebook.core.files import write_json
from tunebook.core.process import begin_worker
from tunebook.core.ranks import ranks
from tunebook.training import preflight


def main(run: Path) -> int:
    begin_worker()
    here = ranks()
    result = preflight.measure(here, run / "config.yaml")
    if not here.first:  # torchrun stops the other processes once one has failed, so only rank 0 may fail
        return GOOD
    write_json(run / preflight.RESULT, result)
    print("\n".join(result["problems"]) or preflight.sentence(result))
    return BAD_MACHINE if result["problems"] else GOOD


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]).resolve()))
