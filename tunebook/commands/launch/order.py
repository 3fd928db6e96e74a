"""What a person orders with `tunebook launch`, and which orders cannot be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tunebook.config.overrides import Options
from tunebook.core.errors import InputError
from tunebook.plan.hours import machines
from tunebook.plan.planner import Plan
from tunebook.runs.storage import refuse_key

On = Literal["skypilot", "slurm", "kubernetes", "ssh"]


@dataclass(frozen=True)
class Order:
    """What the command line says about the rental, in addition to the run's own options."""

    on: On
    gpu: str | None = None
    count: int | None = None
    price: float | None = None
    max_cost: float | None = None
    image: str | None = None
    host: str | None = None
    dry: bool = False
    keep: bool = False


ONLY_FOR: dict[str, On] = {"image": "kubernetes", "host": "ssh"}  # keep: below, with its reasons


def refuse_incomplete(options: Options, order: Order) -> None:
    """Raise InputError with what is missing from an order, or cannot be, whatever its plan is."""
    for name, target in ONLY_FOR.items():
        if getattr(order, name) and order.on != target:
            raise InputError(
                f"--{name} ({name.upper()}=) is for --on {target} (ON={target}); {order.on} would not use "
                "it. Leave it out.",
                code="launch.unused_option",
            )
    store = options.store or ""
    refuse_key(store)
    if order.on == "ssh":
        _host(order.host or "")
    if order.keep and order.on != "ssh":
        text = {
            "skypilot": "SkyPilot terminates the machine of a managed job itself",
            "slurm": "Slurm takes the nodes back when a job ends",
            "kubernetes": "a pod ends with its job, and its node is the cluster's",
        }[order.on]
        raise InputError(
            f"--keep (KEEP=): {text}. Leave it out, or rent a machine and use --on ssh (ON=).",
            code="launch.cannot_keep",
        )
    if order.on == "skypilot" and not re.fullmatch(r"(s3|gs)://[\w.-]+(/\S*)?", store):
        raise InputError(
            "--store (STORE=): a spot machine keeps nothing. Give s3://bucket/... or gs://bucket/...",
            code="launch.needs_store",
        )
    if order.on == "kubernetes" and "://" not in store:
        raise InputError(
            "--store (STORE=): a pod keeps nothing. Give s3://..., gs://... or az://...",
            code="launch.needs_store",
        )
    if order.on == "ssh" and not order.keep and "://" not in store:
        folder = f" ({store} is a folder on that machine)" if store else ""
        raise InputError(
            "--store (STORE=): the machine is switched off at the end, and the results may go with it"
            f"{folder}. Give s3://..., gs://... or az://..., or --keep (KEEP=1) to leave it on.",
            code="launch.needs_store",
        )
    if order.on == "kubernetes" and not order.image:
        raise InputError(
            "--image (IMAGE=) is missing: the image in a registry that the cluster can read (`make image`).",
            code="launch.needs_image",
        )
    if order.on == "kubernetes" and not re.fullmatch(r"\w[\w./:@-]*", order.image or "", re.ASCII):
        raise InputError(
            f"--image (IMAGE=): {order.image!r} is not an image name such as registry/name:tag.",
            code="launch.bad_image",
        )


def refuse_plan(order: Order, plan: Plan) -> None:
    """Raise InputError where the plan of an order cannot be started."""
    if plan.hours is None:
        raise InputError(
            f"the number of rows of {plan.recipe} is not known here, so neither are the hours. Run "
            f"`make data NAME={plan.recipe}` first.",
            code="launch.unknown_hours",
        )
    if machines(plan.count) > 1 and order.on != "slurm":
        raise InputError(
            f"--count (COUNT=): {plan.count} GPUs are several machines, which only --on slurm (ON=) starts "
            "together.",
            code="launch.several_machines",
        )


def _host(host: str) -> None:
    if not host:
        raise InputError(
            "--host (HOST=) is missing: the rented machine as ssh takes it, HOST=user@address.",
            code="launch.bad_host",
        )
    # Neither part starts with a hyphen, which ssh would read as an option; rsync ends the host at a colon.
    if not re.fullmatch(r"(\w[\w.-]*@)?\w[\w.-]*", host, re.ASCII):
        port = " A port goes into ~/.ssh/config." if ":" in host else ""
        raise InputError(
            f"--host (HOST=): name the machine as ssh takes it, user@address (got {host!r}).{port}",
            code="launch.bad_host",
        )
