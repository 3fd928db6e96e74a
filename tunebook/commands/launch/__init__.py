"""`tunebook launch`: run a recipe on rented GPUs, through files that can be read and commands that can be
typed.

The files are rendered from launch/<on>/*.j2 with the figures of the recipe's plan: GPU, count, disk, hours.
Nothing is rented before check and plan have passed, and before the price, the fate of the machine and the row
files to be sent have been shown; with DRY=1 no network is used.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tunebook.check.run import run_check
from tunebook.commands.launch import costs, rows, texts
from tunebook.commands.launch.lines import arguments
from tunebook.commands.launch.lines import commands as commands
from tunebook.commands.launch.order import On as On
from tunebook.commands.launch.order import Order as Order
from tunebook.commands.launch.order import refuse_incomplete, refuse_plan
from tunebook.commands.launch.tested import before_renting
from tunebook.commands.options import Count, Name, Price, takes
from tunebook.commands.options import console as command_console
from tunebook.config.overrides import Options
from tunebook.config.recipe import Recipe, load_recipe
from tunebook.core.console import Console
from tunebook.core.errors import BAD_INPUT, GOOD, STOPPED, InputError, MachineError
from tunebook.core.paths import ROOT, runs_folder, show
from tunebook.core.process import run_command
from tunebook.core.secrets import find_secrets, holds_value
from tunebook.hardware import gpus
from tunebook.models import lanes
from tunebook.plan.changes import planned
from tunebook.plan.hours import machines
from tunebook.plan.planner import Plan

SKYPILOT = {
    "t4": "T4",
    "rtx-3090": "RTX3090",
    "rtx-4090": "RTX4090",
    "l4": "L4",
    "a10g": "A10G",
    "a6000": "RTXA6000",
    "l40s": "L40S",
    "a100": "A100-80GB",
    "h100": "H100",
    "h200": "H200",
}
SECRETS = ("HF_TOKEN", "WANDB_API_KEY")
# Variables that the storage packages read. Only ssh needs to receive them; the other targets have roles or a
# secret store.
STORE_KEYS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AZURE_STORAGE_CONNECTION_STRING"),
)
NOTICE = {"skypilot": 100, "slurm": 300, "kubernetes": 300, "ssh": 120}  # seconds to save after SIGTERM
QUIET = 1800  # seconds without progress or output after which a run counts as hung
# Time limit: upper end of the planned hours times MARGIN, plus MORE for what the plan does not cover.
MARGIN, MORE = 1.5, 0.5
# Runs in a pod's first container; its arguments are lines for sha256sum.
COMPARE = "printf '%s\\n' \"$@\" | sha256sum --check --quiet --strict"
# {rows} are lines for sha256sum, whose names contain no control characters (rows.py).
SKY_SETUP = """# Check that the row files are unchanged since the launch was written.
sha256sum --check --quiet --strict <<'ROWS' || exit 1
{rows}
ROWS
make setup PYTHON=newest
"""
NEEDED = {"skypilot": ["sky"], "slurm": ["sbatch"], "kubernetes": ["kubectl"], "ssh": ["rsync", "ssh"]}


def launch(name: str, options: Options, order: Order, console: Console) -> int:
    """Write the files of a launch to runs/launch/ and, unless `dry`, check the recipe and start it; return
    `BAD_INPUT` if the check finds an error.

    Raises:
        InputError: the order is incomplete, costs too much, contains a secret, or its config has not been
            tested.
        MachineError: no GPU is large enough, or a command is missing or fails.
    """
    recipe = load_recipe(name)
    refuse_incomplete(options, order)
    rows.needed(recipe, order.on)
    plan = choose(recipe, options, order)
    folder = runs_folder() / "launch" / f"{name}-{order.on}"
    values = job(recipe, options, order, plan, folder)
    files = render(order.on, values)
    console.stage("end", values["end"])
    console.stage("price", values["price"])
    console.stage("lane", lanes.of_launch(order.on))
    for line in rows.describe(recipe, values["files"], order.on):
        console.stage("rows", line)
    console.stage("rehearsal", before_renting(recipe, options, plan, order.dry))
    if not order.dry:
        missing = [word for word in NEEDED[order.on] if not shutil.which(word)]
        if missing:
            raise MachineError(
                f"--on {order.on} (ON=): {', '.join(missing)} not found on PATH. Install it first.",
                code="launch.missing_command",
            )
        asked = replace(options, hardware=plan.hardware, gpus=plan.count)
        if run_check(name, asked, console) == BAD_INPUT:
            console.stage("stopped", "nothing was started: correct the errors that the check found")
            return BAD_INPUT
    folder.mkdir(0o700, parents=True, exist_ok=True)  # logs of jobs come here
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
        console.stage("file", show(folder / file))
        if order.dry:
            print(text)
    words = commands(order.on, folder, values)
    if order.dry:
        console.stage("dry", f"would check the recipe, then run: {shlex.join(words)}")
        return GOOD
    code = run_command(words, cwd=ROOT).returncode  # it may ask for a password
    if code:
        raise MachineError(
            f"{shlex.join(words)} ended with exit code {code}; the job may not be running.",
            code="launch.not_started",
        )
    script = f"bash {show(folder / 'fetch.sh')}"
    where = script if order.on == "ssh" else f"make fetch RUN={name}/latest STORE=..."
    console.stage("started", f"to follow the run and get its results: {where}")
    return GOOD


def choose(recipe: Recipe, options: Options, order: Order) -> Plan:
    """Return the plan for the named GPU, or for the cheapest one that fits.

    Raises:
        MachineError: the run does not fit.
    """
    if order.gpu:
        plan = planned(recipe, options, order.gpu, order.count, order.price)
        if not plan.fits:
            why = (
                "; ".join(plan.cannot.values()) or f"needs {plan.peak:.1f} of {plan.capacity:.1f} GiB per GPU"
            )
            raise MachineError(
                f"--gpu (GPU=): {recipe.name} does not fit on {plan.count} x {plan.gpu_name}: {why}.",
                code="plan.does_not_fit",
            )
        return plan
    plans = [planned(recipe, options, key, order.count, order.price) for key in gpus.gpus()]
    priced = [(plan.dollars.high, plan.gpu, plan) for plan in plans if plan.fits and plan.dollars]
    if not priced:
        raise MachineError(
            f"--gpu (GPU=): no GPU with a known price fits {recipe.name}. See `make plan`, then name a GPU.",
            code="plan.nothing_fits",
        )
    return min(priced)[2]


def job(recipe: Recipe, options: Options, order: Order, plan: Plan, folder: Path) -> dict[str, Any]:
    """Return the values for the templates.

    Raises:
        InputError: see `launch`.
    """
    refuse_incomplete(options, order)
    refuse_plan(order, plan)
    assert plan.hours
    rows.refuse_model_outside(plan.base_model, order.on)
    files = rows.hashed(rows.needed(recipe, order.on))
    rate = plan.price.usd * plan.count if plan.price else None
    hours = plan.hours.high * MARGIN + MORE
    if order.max_cost is not None:
        if rate is None or plan.dollars is None:
            raise InputError(
                "--max-cost (MAX_COST=): the price of that GPU is not known. Set --price (PRICE=), in "
                "dollars per GPU-hour.",
                code="launch.no_price",
            )
        if plan.dollars.high > order.max_cost:
            raise InputError(
                f"--max-cost (MAX_COST=): {recipe.name} on {plan.count} x {plan.gpu_name} costs "
                f"${plan.dollars.low:.2f} to ${plan.dollars.high:.2f}; but only ${order.max_cost:.2f} are "
                "allowed. `make plan` shows other GPUs.",
                code="launch.too_expensive",
            )
        hours = min(hours, order.max_cost / rate)
    hours = math.floor(hours * 100) / 100
    store, bucket = options.store, None
    if order.on == "skypilot":
        scheme, _, path = str(store).partition("://")
        bucket, _, below = path.partition("/")
        bucket, store = f"{scheme}://{bucket}", f"/store/{below}".rstrip("/")
    environment = {
        "TUNEBOOK_MAX_HOURS": f"{hours:.2f}",
        "TUNEBOOK_NOTICE": str(NOTICE[order.on]),
        "TUNEBOOK_QUIET": str(QUIET),
    } | ({"TUNEBOOK_DOLLARS_PER_HOUR": f"{rate:.2f}"} if rate is not None else {})
    words = arguments(recipe.name, options, plan, store)
    sums = [f"{one.sha256}  {one.name}" for one in files]
    disk = max(50, math.ceil(plan.disk_gb * 1.3))
    seconds = math.ceil(hours * 3600)
    minutes = math.ceil(seconds / 60)
    return {
        "title": f"{recipe.name}: {plan.base_model} on {plan.count} x {plan.gpu_name}",
        "price": costs.price(order.on, plan, rate, hours),
        "end": costs.end(order, options.store, rate, hours),
        "keep": order.keep,
        "hourly": costs.hourly(rate),
        "files": files,
        "sums": sums,
        "name": f"tunebook-{recipe.name}",
        "recipe": recipe.name,
        "gpu": plan.gpu,
        "cards": f"{SKYPILOT.get(plan.gpu, plan.gpu)}:{plan.count}",
        "count": plan.count,
        "machines": machines(plan.count),
        "least_mib": str(math.floor(plan.capacity * 1024 * 0.95)),
        "disk_gb": disk,
        "disk": f"{disk}Gi",
        "seconds": seconds,
        "limit": f"{minutes // 60:02d}:{minutes % 60:02d}:00",
        "notice": NOTICE[order.on],
        "stopped": STOPPED,
        "bucket": bucket,
        "environment": environment,
        "secrets": [key for key in SECRETS if os.environ.get(key)],
        "passed_on": SECRETS + STORE_KEYS,
        "words": words,
        "arguments": ["tunebook", *words],
        "compare": [COMPARE, "rows", *sums],
        "setup": SKY_SETUP.format(rows="\n".join(sums)),
        "run": f"exec .venv/bin/tunebook {shlex.join(words)}\n",
        "tunebook": str(Path(sys.executable).with_name("tunebook")),
        "image": order.image,
        "host": order.host or "",
        "store": store or "",
        "root": str(ROOT),
        "folder": str(folder),
    }


def render(on: On, values: dict[str, Any]) -> dict[str, str]:
    """Return the content of each file of a launch by name.

    Raises:
        InputError: an option contains a token or password, which would be written into a file.
    """
    files = texts.render(ROOT / "launch" / on, values)
    if find_secrets(shlex.join(values["words"])) or any(holds_value(text) for text in files.values()):
        raise InputError(
            "an option contains what looks like a token or a password. Put it into the environment "
            "(HF_TOKEN, WANDB_API_KEY) or the scheduler's secret store: docs/rented-gpus.md.",
            code="launch.secret_in_option",
        )
    return files


@takes("set", "model", "hardware", "seed", "steps", "eval", "store", "smoke")
def launch_command(
    name: Name,
    options: Options,
    on: Annotated[On, typer.Option(help="where to run it")],
    gpu: Annotated[
        str | None, typer.Option(help="a GPU of the plan; default: the cheapest that fits")
    ] = None,
    count: Count = None,
    price: Price = None,
    max_cost: Annotated[
        float | None, typer.Option(min=0, help="maximum cost in dollars; the job stops when it is reached")
    ] = None,
    image: Annotated[str | None, typer.Option(help="kubernetes: name of the pushed image")] = None,
    host: Annotated[str | None, typer.Option(help="ssh: user@address")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="ssh: leave the machine on after the run")] = False,
    dry: Annotated[bool, typer.Option("--dry", help="print everything, start nothing")] = False,
) -> int:
    """Start a recipe's real run on rented GPUs, with a price limit."""
    order = Order(on, gpu, count, price, max_cost, image, host, dry, keep)
    return launch(name, replace(options, tier="real"), order, command_console())
