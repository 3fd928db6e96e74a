"""Test the processes of a launch before they train RUN. Started by `tunebook recipe` through torchrun.

.venv/bin/python -m torch.distributed.run --standalone --nproc-per-node=2 scripts/check_collectives.py RUN
"""

from __future__ import annotations

import sys
from pathlib import Path

from tunebook import collectives
from tunebook.child import die_with_parent
from tunebook.errors import BAD_MACHINE, GOOD
from tunebook.ranks import ranks
from tunebook.run import write_json


def main(run: Path) -> int:
    die_with_parent()
    here = ranks()
    found = collectives.measure(here, run / "config.yaml")
    if not here.first:  # torchrun stops the others once one has failed, so that only the first may
        return GOOD
    write_json(run / collectives.RESULT, found)
    print("\n".join(found["problems"]) or collectives.sentence(found))
    return BAD_MACHINE if found["problems"] else GOOD


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]).resolve()))
