"""What has tested a run before a machine is rented for it."""

from __future__ import annotations

from tunebook.config.overrides import Options
from tunebook.config.recipe import Recipe
from tunebook.core.errors import InputError
from tunebook.core.paths import show
from tunebook.pipeline.rehearse import passed_rehearsal
from tunebook.plan.planner import Plan
from tunebook.runs import rehearsal


def before_renting(recipe: Recipe, options: Options, plan: Plan, dry: bool) -> str:
    """Return what has tested the run that is about to be started.

    Raises:
        InputError: nothing has, and it is not only printed: neither a rehearsal passed here, nor is the smoke
            test on the rented machine requested with SMOKE=1.
    """
    if found := passed_rehearsal(recipe, options, plan):
        place = show(rehearsal.folder(recipe.name, found["key"]) / rehearsal.MARK)
        left = len(found["not_exercised"])
        return f"passed on {found['started'][:10]}; {left} points are left to the GPU: {place}"
    if options.smoke:
        return "none (SMOKE=1): the smoke test on the rented machine is the first to run this config"
    text = (
        f"this config has not been rehearsed. Run `make recipe NAME={recipe.name} REHEARSE=1` with the same "
        "SET= and MODEL= (a few minutes, no GPU), or add SMOKE=1: the smoke test on the rented machine is "
        "then the first to run it."
    )
    if dry:
        return f"none: {text}"
    raise InputError(text, code="launch.not_rehearsed")
