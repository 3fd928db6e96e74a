"""Axolotl's own validation of a config, under pretended capabilities of one H100.

    python -m tunebook.axolotl_check CONFIG.json     # prints REFUSED lines and exits 1, or exits 0

It proves that Axolotl takes the config, not that a card can run it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

H100 = {
    "bf16": True,
    "fp8": True,
    "tf32": True,
    "n_gpu": 1,
    "n_node": 1,
    "compute_capability": "sm_90",
}


def validate(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config as Axolotl completes it.

    Raises:
        ValueError: Axolotl refuses it (pydantic's ValidationError is one).
    """
    from axolotl.cli.config import prepare_plugins
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault

    cfg = DictDefault(config)
    prepare_plugins(cfg)
    validated = validate_config(cfg, capabilities=H100, env_capabilities={"torch_version": "2.13.0"})
    return validated.to_dict()


def main() -> int:
    try:
        validate(json.loads(Path(sys.argv[1]).read_text()))
    except ValueError as error:
        for line in str(error).splitlines():
            print(f"REFUSED {line}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
