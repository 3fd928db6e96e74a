"""The order given to `tunebook launch`, and which orders are impossible."""

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
    """The rental as ordered on the command line, in addition to the run's own options."""

    on: On
    gpu: str | None = None
    count: int | None = None
    price: float | None = None
    max_cost: float | None = None
    image: str | None = None
    host: str | None = None
    dry: bool = False
    keep: bool = False


ONLY_FOR: dict[str, On] = {"image": "kubernetes", "host": "ssh"}  # `keep` is handled below, with its reasons


def refuse_incomplete(options: Options, order: Order) -> None:
    """Raise InputError if anything in an order is missing or impossible, whatever its plan."""
    for name, target in ONLY_FOR.items():
        if getattr(order, name) and order.on != target:
            raise InputError(
                f"--{name} ({name.upper()}=) only applies to --on {target} (ON={target}), not to "
                f"{order.on}. Remove it.",
                code="launch.unused_option",
            )
    store = options.store or ""
    refuse_key(store)
    if order.on == "ssh":
        _host(order.host or "")
    if order.keep and order.on != "ssh":
        text = {
            "skypilot": "SkyPilot terminates the machine of a managed job itself",
            "slurm": "Slurm takes back the nodes when a job ends",
            "kubernetes": "a pod ends with its job, and its node belongs to the cluster",
        }[order.on]
        raise InputError(
            f"--keep (KEEP=): {text}. Remove the option, or rent a machine and use --on ssh (ON=).",
            code="launch.cannot_keep",
        )
    if order.on == "skypilot" and not re.fullmatch(r"(s3|gs)://[\w.-]+(/\S*)?", store):
        raise InputError(
            "--store (STORE=): nothing on a spot machine is kept. Set it to s3://bucket/... or "
            "gs://bucket/...",
            code="launch.needs_store",
        )
    if order.on == "kubernetes" and "://" not in store:
        raise InputError(
            "--store (STORE=): nothing in a pod is kept. Set it to s3://..., gs://... or az://...",
            code="launch.needs_store",
        )
    if order.on == "ssh" and not order.keep and "://" not in store:
        folder = f" ({store} is a folder on that machine)" if store else ""
        raise InputError(
            "--store (STORE=): the machine is switched off at the end, and the results may be lost with "
            f"it{folder}. Set it to s3://..., gs://... or az://..., or use --keep (KEEP=1) to leave the "
            "machine on.",
            code="launch.needs_store",
        )
    if order.on == "kubernetes" and not order.image:
        raise InputError(
            "--image (IMAGE=) is missing. Name the image in a registry that the cluster can read (`make "
            "image`).",
            code="launch.needs_image",
        )
    if order.on == "kubernetes" and not re.fullmatch(r"\w[\w./:@-]*", order.image or "", re.ASCII):
        raise InputError(
            f"--image (IMAGE=): {order.image!r} is not an image name such as registry/name:tag.",
            code="launch.bad_image",
        )


def refuse_plan(order: Order, plan: Plan) -> None:
    """Raise InputError if the plan of an order cannot be started."""
    if plan.hours is None:
        raise InputError(
            f"the number of rows of {plan.recipe} is not known yet, so the hours are not known either. Run "
            f"`make data NAME={plan.recipe}` first.",
            code="launch.unknown_hours",
        )
    if machines(plan.count) > 1 and order.on != "slurm":
        raise InputError(
            f"--count (COUNT=): {plan.count} GPUs need several machines, which only --on slurm (ON=) can "
            "start together.",
            code="launch.several_machines",
        )


def _host(host: str) -> None:
    if not host:
        raise InputError(
            "--host (HOST=) is missing. Name the rented machine as for ssh: HOST=user@address.",
            code="launch.bad_host",
        )
    # Neither part starts with a hyphen, which ssh would read as an option; rsync ends the host at a colon.
    if not re.fullmatch(r"(\w[\w.-]*@)?\w[\w.-]*", host, re.ASCII):
        port = " Put a port into ~/.ssh/config." if ":" in host else ""
        raise InputError(
            f"--host (HOST=): name the machine as for ssh, user@address (got {host!r}).{port}",
            code="launch.bad_host",
        )
