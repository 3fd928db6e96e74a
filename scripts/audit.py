"""Check every version in requirements.lock against databases of known vulnerabilities, with pip-audit.

uv runs pip-audit in a separate environment. Prints the vulnerabilities, and the packages that could not be
checked, which pip-audit itself reports as fine. Exits with 1 if there is a vulnerability, with 4 if a version
could not be checked.

    .venv/bin/python scripts/audit.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PIP_AUDIT = "pip-audit==2.10.1"
ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).parent / "uv"
SERVICES = ("pypi", "osv")
NEVER = (
    "Not covered: the base image of the container, Python itself, libraries inside wheels, and the builds "
    "of torch for CPU and CUDA, which do not come from PyPI."
)


def ask(service: str, lock: Path) -> list[dict[str, Any]] | str:
    """Return pip-audit's entry for each package, or why the database of `service` cannot be queried."""
    words = [
        str(UV),
        "tool",
        "run",
        "--python",
        sys.executable,
        PIP_AUDIT,
        "--vulnerability-service",
        service,
    ]
    words += ["--requirement", str(lock), "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    ended = subprocess.run([*words, "--format", "json"], capture_output=True, text=True)
    try:
        entries: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        return (ended.stderr.strip().splitlines() or ["no answer"])[-1][:300]
    return entries


def summary(answers: dict[str, list[dict[str, Any]] | str]) -> tuple[list[str], int]:
    """Return the lines to print and the exit code for the answer of each service."""
    lines, found, names, checked = [], {}, set(), set()
    for service, answer in answers.items():
        if isinstance(answer, str):
            lines.append(f"{service}: cannot be queried: {answer}")
            continue
        names |= {one["name"] for one in answer}
        seen = {one["name"] for one in answer if "skip_reason" not in one}
        checked |= seen
        lines.append(f"{service}: {len(seen)} of {len(answer)} packages are in its database")
        for one in answer:
            for hole in one.get("vulns", []):
                fixed = ", ".join(hole["fix_versions"]) or "no version"
                found[hole["id"]] = f"{one['name']} {one['version']}: {hole['id']}, fixed in {fixed}"
    lines += sorted(found.values())
    missed = sorted(names - checked)
    if missed:
        shown = ", ".join(missed[:10]) + (", ..." if len(missed) > 10 else "")
        lines.append(f"not checked: {len(missed)} packages ({shown})")
    if not checked:
        lines.append("Nothing could be checked: no database of vulnerabilities can be reached.")
    lines.append(NEVER)
    return lines, 1 if found else 4 if missed or not checked else 0


def main() -> int:
    lines, code = summary({service: ask(service, ROOT / "requirements.lock") for service in SERVICES})
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
