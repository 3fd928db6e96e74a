"""Axolotl's own validation of a config, under the pretended capabilities of a machine.

    python -m tunebook.axolotl_check CONFIG.json     # prints REFUSED lines and exits 1, or exits 0

It proves that Axolotl takes the config, not that a card can run it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tunebook.hardware import ADA, AMPERE


def capabilities(machine: dict[str, Any]) -> dict[str, Any]:
    """Return what Axolotl would find out about a `tunebook.hardware.Machine`."""
    ampere = machine["compute_capability"] >= AMPERE
    return {
        "bf16": ampere,
        "fp8": machine["compute_capability"] >= ADA,
        "tf32": ampere,
        "n_gpu": machine["gpus"],
        "n_node": 1,
        "compute_capability": f"sm_{machine['compute_capability'] * 10:.0f}",
    }


def validate(config: dict[str, Any], machine: dict[str, Any]) -> dict[str, Any]:
    """Return the config as Axolotl completes it on `machine`.

    Raises:
        ValueError: Axolotl refuses it (pydantic's ValidationError is one).
    """
    from axolotl.cli.config import prepare_plugins
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault

    cfg = DictDefault(config)
    prepare_plugins(cfg)
    validated = validate_config(
        cfg, capabilities=capabilities(machine), env_capabilities={"torch_version": "2.13.0"}
    )
    return validated.to_dict()


def main() -> int:
    try:
        given = json.loads(Path(sys.argv[1]).read_text())
        validate(given["config"], given["machine"])
    except ValueError as error:
        for line in str(error).splitlines():
            print(f"REFUSED {line}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
