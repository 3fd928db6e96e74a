"""The command lines of a launch: of `tunebook` on the rented machine, and of the scheduler here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunebook.commands.launch.order import On
from tunebook.config.overrides import Options
from tunebook.plan.planner import Plan


def arguments(name: str, options: Options, plan: Plan, store: str | None) -> list[str]:
    """Return the arguments of `tunebook` that run exactly this plan."""
    words = ["recipe", name, "--tier", "real", "--hardware", str(plan.hardware), "--gpus", str(plan.count)]
    given = {
        "--set": options.set,
        "--model": options.model,
        "--seed": options.seed,
        "--steps": options.steps,
        "--eval": options.eval if options.eval != "default" else None,
        "--store": store,
    }
    for flag, value in given.items():
        if value not in (None, ""):
            words += [flag, str(value)]
    if options.smoke is not None:
        words.append("--smoke" if options.smoke else "--no-smoke")
    return words


def commands(on: On, folder: Path, values: dict[str, Any]) -> list[str]:
    """Return the command that starts a launch."""
    if on == "skypilot":
        secrets = [word for key in values["secrets"] for word in ("--secret", key)]
        return ["sky", "jobs", "launch", "--yes", "--detach-run", *secrets, str(folder / "task.yaml")]
    if on == "slurm":
        return ["sbatch", str(folder / "job.sbatch")]
    if on == "kubernetes":
        return ["kubectl", "apply", "--filename", str(folder / "job.yaml")]
    return ["bash", str(folder / "start.sh")]
