"""`tunebook check` and `tunebook plan`: what would go wrong in a real run, and what it would cost."""

from __future__ import annotations

from tunebook.check.run import run_check
from tunebook.commands.options import Count, Gpu, Json, Name, Price, console, takes
from tunebook.config.overrides import Options
from tunebook.plan.show import run_plan


@takes("set", "model", "hardware", "gpus")
def check_command(name: Name, options: Options, as_json: Json = False) -> int:
    """Find what is wrong with a real run, from any machine.

    Config, rows, tokens, labels, duplicates, secrets, access; needs no GPU.
    """
    return run_check(name, options, console(), as_json)


@takes("set", "model", "hardware")
def plan_command(
    name: Name,
    options: Options,
    gpu: Gpu = None,
    count: Count = None,
    price: Price = None,
    as_json: Json = False,
) -> int:
    """Show memory, hours and dollars of a real run on each GPU.

    Needs no GPU and no weights.
    """
    return run_plan(name, options, gpu, count, price, as_json, console())
