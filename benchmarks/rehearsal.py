"""Put what a passed rehearsal printed at its end, and this machine, into the docs.

make recipe NAME=classify-lora REHEARSE=1
.venv/bin/python benchmarks/rehearsal.py runs/classify-lora/rehearsal-* "nothing else ran"
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

from tunebook.core.files import read_json
from tunebook.core.paths import ROOT
from tunebook.hardware import machine
from tunebook.report.markdown_blocks import fill

TARGET = ROOT / "benchmarks" / "results" / "rehearsal.json"
DOC = ROOT / "docs" / "rented-gpus.md"
WIDTH = 88


def text(found: dict[str, Any]) -> str:
    """Return the block of the docs: the lines as the console prints them, wrapped, and where and how long it
    took."""
    lines = ["exercised what a GPU would do in the same way"]
    lines += [f"  {line}" for line in found["exercised"]]
    lines += ["not       exercised here, what only a GPU can show"]
    lines += [f"  {line}" for line in found["not_exercised"]]
    lines += [f"price     {found['price']}"]
    wrapped = [
        textwrap.fill(line, WIDTH, initial_indent=4 * " ", subsequent_indent=8 * " ") for line in lines
    ]
    where = found["machine"]
    took = (
        f"{found['recipe']} took {found['seconds'] / 60:.1f} minutes and {found['peak_gib']:.1f} GiB on "
        f"{where['cores']} cores ({where['cpu']}; {found['note']})."
    )
    return "\n".join([*wrapped, "", took])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of a rehearsal that passed")
    parser.add_argument("note", help="what else took part of the machine")
    options = parser.parse_args(argv)
    found = read_json(options.folder / "rehearsal.json")
    if found["status"] != "passed":
        raise SystemExit(f"{options.folder}: the rehearsal has not passed.")
    facts = machine.facts()
    result = found | {
        "note": options.note,
        "machine": {name: facts[name] for name in ("cpu", "cores", "memory_gib")},
    }
    TARGET.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    fill(DOC, "rehearsal", text(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
