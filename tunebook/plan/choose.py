"""The plan of a recipe when no GPU is named: the cheapest that fits, or what comes closest."""

from __future__ import annotations

from tunebook.config.overrides import Options
from tunebook.config.recipe import Recipe
from tunebook.hardware import gpus
from tunebook.plan.changes import planned
from tunebook.plan.planner import Plan


def cheapest(recipe: Recipe, options: Options) -> Plan:
    """Return the cheapest plan of `options.gpus` GPUs (default: one) that fits; without a price or hours for
    any, the smallest GPU that fits; if none fits, the plan that lacks least memory.

    Raises:
        InputError: the shape of the base model is not known, or a key is wrong.
    """
    plans = [planned(recipe, options, name, options.gpus, None) for name in gpus.gpus()]
    fitting = [one for one in plans if one.fits]
    fitting = [one for one in fitting if not one.tight] or fitting
    if not fitting:
        return min(plans, key=lambda one: one.peak - one.capacity)
    priced = [(one.dollars.high, one.gpu, one) for one in fitting if one.dollars]
    return min(priced)[2] if priced else min(fitting, key=lambda one: one.capacity)


def price_line(plan: Plan) -> str:
    """Return hours and dollars of a plan in one sentence."""
    place = f"{plan.count} x {plan.gpu_name}"
    if not plan.fits:
        why = "; ".join(plan.cannot.values()) or f"needs {plan.peak:.1f} GiB a GPU"
        return f"does not fit on {place} ({why}). `make plan NAME={plan.recipe}` shows what would"
    memory = f"{plan.peak:.1f} of {plan.capacity:.1f} GiB"
    if plan.hours is None:
        return f"hours not known, because the number of rows is not; {memory} on {place}"
    hours = f"{plan.hours.low:.1f} to {plan.hours.high:.1f} hours on {place}, {memory}"
    if plan.dollars is None or plan.price is None:
        return f"{hours}; its price is not known (make plan PRICE=)"
    return f"${plan.dollars.low:.2f} to ${plan.dollars.high:.2f}: {hours} ({plan.price.provider}, on demand)"
