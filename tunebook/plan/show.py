"""The verb `plan`: plans for every GPU of the table, printed or as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from tunebook.config.overrides import Options
from tunebook.config.recipe import load_recipe
from tunebook.core.console import Console
from tunebook.core.errors import BAD_MACHINE, GOOD
from tunebook.hardware import gpus
from tunebook.plan.changes import Change, changes, planned
from tunebook.plan.hours import Range
from tunebook.plan.planner import SPARE, Answers, Plan

BUDGET = 20.0  # budget in dollars for "fastest under"


def run_plan(
    name: str,
    options: Options,
    gpu: str | None,
    count: int | None,
    price: float | None,
    as_json: bool,
    console: Console,
) -> int:
    """Print what the real run of recipe `name` needs and costs. Returns 4 if `gpu` is given and too small.

    Raises:
        InputError: something is wrong with the recipe or the options.
    """
    recipe, options = load_recipe(name), replace(options, tier="real")
    if gpu is not None:
        gpus.gpu(gpu)  # raises InputError for an unknown GPU
        gpu = gpu.lower()
    # PRICE= applies to the GPU given by GPU=, or without GPU= to every GPU.
    plans = {
        key: planned(recipe, options, key, count, price if gpu in (None, key) else None)
        for key in gpus.gpus()
    }
    fitting = [one for one in plans.values() if one.fits]
    fitting = [one for one in fitting if not one.tight] or fitting
    cheapest, fastest = _cheapest(fitting), _fastest(fitting)
    chosen = plans[gpu] if gpu else cheapest or (fitting[0] if fitting else list(plans.values())[-1])
    ways = [] if chosen.fits else changes(recipe, options, chosen, price)
    if as_json:
        value = {
            "chosen": chosen.gpu,
            "plans": {key: one.to_dict() for key, one in plans.items()},
            "cheapest_that_fits": cheapest.gpu if cheapest else None,
            "fastest_under_20_dollars": fastest.gpu if fastest else None,
            "changes": [{"words": way.words, "plan": way.plan.to_dict()} for way in ways],
        }
        print(json.dumps(value, indent=2))
    else:
        _show_memory(chosen, console)
        _show_costs(chosen, console)
        _show_choice(plans, cheapest, fastest, console)
        if not chosen.fits:
            _show_changes(ways, console)
    return BAD_MACHINE if gpu and not chosen.fits else GOOD


def _cheapest(plans: list[Plan]) -> Plan | None:
    priced = [(one.dollars.high, one.gpu, one) for one in plans if one.dollars]
    return min(priced)[2] if priced else None


def _fastest(plans: list[Plan]) -> Plan | None:
    priced = [
        (one.hours.high, one.gpu, one)
        for one in plans
        if one.dollars and one.hours and one.dollars.high <= BUDGET
    ]
    return min(priced)[2] if priced else None


def _show_memory(one: Plan, console: Console) -> None:
    batch = one.micro_batch_size * one.accumulation * one.count
    console.stage(
        "plan",
        f"{one.recipe}: {one.base_model} on {one.count} x {one.gpu_name}, {one.sharding}, overlay "
        f"{one.hardware}",
    )
    console.note(
        f"batch of {batch} = {one.micro_batch_size} rows of {one.tokens_a_row} tokens x {one.accumulation} "
        f"accumulation steps x {one.count} GPUs; rows: {one.rows}"
    )
    if one.active_parameters < one.parameters:
        console.note(
            f"{one.parameters / 1e9:.1f} billion parameters in memory; each token passes "
            f"{one.active_parameters / 1e9:.1f} billion of them"
        )
    if one.licence:
        console.note(f"licence of {one.base_model}: {one.licence}")
    sums = {"training": sum(one.vram.values()), "evaluation": sum(one.evaluation_vram.values())}
    names = dict.fromkeys([*one.vram, *one.evaluation_vram])
    rows = [(name, one.vram.get(name), one.evaluation_vram.get(name)) for name in names]
    rows.append(("peak", sums["training"], sums["evaluation"]))
    console.table(
        [{"GiB per GPU": name, "training": _gib(a), "evaluation": _gib(b)} for name, a, b in rows],
    )
    for key, text in one.cannot.items():
        console.note(f"{key}: {text}")
    both = ", ".join(f"{name} {gib:.1f}" for name, gib in sums.items())
    console.stage("memory", f"{_fits(one)}: {both} of {one.capacity:.1f} GiB")
    console.note(f"largest batch of the evaluation: {one.evaluation_batch}")
    if one.count > 1:
        console.note(f"{one.sharding}: {one.reason}")
        shared = ", ".join(f"{name} {gib:.1f}" for name, gib in one.shardings.items())
        console.note(f"training with other sharding, GiB per GPU: {shared}")
    if one.host_gib:
        console.note(f"offloaded to host memory: {one.host_gib:.0f} GiB")


def _show_costs(one: Plan, console: Console) -> None:
    if one.steps and one.fits:
        parts = {"start": one.start_hours, "training": one.training_hours, "evaluation": one.evaluation_hours}
        console.stage("time", ", ".join(f"{name} {_time(part)}" for name, part in parts.items()))
        console.note(f"{one.steps} steps, {one.tokens:.3g} tokens, {one.flops:.3g} FLOPs; speed {one.basis}")
    elif one.fits:
        console.stage(
            "time",
            f"unknown: run `make check NAME={one.recipe}`, which counts the rows, or set SET=max_steps=...",
        )
    console.stage("money", _money(one))
    if one.fits and one.answers:
        _show_answers(one.answers, console)
    console.stage(
        "disk",
        f"{one.disk_gb:.0f} GB, including {one.download_gb:.1f} GB to download; the result takes "
        f"{one.ships_gb:.1f} GB",
    )


def _show_choice(
    plans: dict[str, Plan], cheapest: Plan | None, fastest: Plan | None, console: Console
) -> None:
    console.table([_row(one) for one in plans.values()], title=f"Every GPU of {gpus.FILE}")
    if cheapest:
        console.note(
            f"cheapest that fits: {cheapest.count} x {cheapest.gpu_name}, ${_range(cheapest.dollars)}"
        )
    if fastest:
        console.note(
            f"fastest under ${BUDGET:.0f}: {fastest.count} x {fastest.gpu_name}, {_time(fastest.hours)}"
        )


def _show_changes(ways: list[Change], console: Console) -> None:
    console.stage(
        "changes", "each of these changes makes the run fit:" if ways else "no known change makes the run fit"
    )
    for way in ways:
        console.note(f"{way.words}  ->  {way.plan.peak:.1f} of {way.plan.capacity:.1f} GiB")


def _show_answers(answers: Answers, console: Console) -> None:
    console.note(
        f"1,000 answers of the fine-tuned model on this GPU at full load: {_cents(answers.dollars)} "
        f"({answers.prompt} + {answers.answer} tokens each)"
    )
    apis = gpus.api_prices()
    costs = ", ".join(f"{name} {_cents(answers.dollars_at(api))}" for name, api in apis.items())
    console.note(f"1,000 answers from an API, zero-shot to few-shot: {costs} (prices: {gpus.API_FILE})")


def _fits(one: Plan) -> str:
    """Return whether the run fits, as text."""
    if one.tight:
        return f"tight, less than {SPARE:.0%} to spare"
    return "fits" if one.fits else "does not fit"


def _money(one: Plan) -> str:
    if not one.fits:
        return "no time or price, because the run does not fit"
    if not one.price:
        return f"no documented price for {one.gpu_name}; set PRICE= (dollars per GPU-hour)"
    read = f", read {one.price.read}" if one.price.read else ""
    kind = "" if one.price.read is None else " on demand"
    rate = f"${one.price.usd:.2f} per GPU-hour{kind} ({one.price.provider}, {one.price.source}{read})"
    return f"${_range(one.dollars)} at {rate}" if one.dollars else rate


def _row(one: Plan) -> dict[str, str]:
    return {
        "GPU": f"{one.gpu}",
        "GPUs": f"{one.count} ({one.sharding})",
        "GiB": f"{one.peak:.1f} of {one.capacity:.1f}",
        "fits": "tight" if one.tight else "yes" if one.fits else "no",
        "training": _time(one.training_hours) if one.fits else "-",
        "evaluation": _time(one.evaluation_hours) if one.fits else "-",
        "$": "-" if not one.fits else _range(one.dollars) if one.price else "PRICE=?",
        "speed": one.basis,
    }


def _gib(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _time(hours: Range | None) -> str:
    """Return a range of hours, in minutes below two hours."""
    if hours is None or hours.high >= 2:
        return f"{_range(hours)} h" if hours else "-"
    low, high = (max(1, round(60 * number)) for number in (hours.low, hours.high))
    return f"{high} min" if low == high else f"{low} to {high} min"


def _cents(dollars: Range) -> str:
    """Return a small amount of dollars with two significant digits."""
    low, high = f"{dollars.low:.2g}", f"{dollars.high:.2g}"
    return f"${low}" if low == high else f"${low} to {high}"


def _range(value: Range | None) -> str:
    if value is None:
        return "-"
    low, high = (f"{number:.2g}" if number < 100 else f"{number:.0f}" for number in (value.low, value.high))
    return low if low == high else f"{low} to {high}"
