"""What a launch announces before anything is rented: the price, and what happens to the machine at the
end."""

from __future__ import annotations

from tunebook.commands.launch.order import On, Order
from tunebook.core.paths import runs_folder, show
from tunebook.plan.planner import Plan


def price(on: On, plan: Plan, rate: float | None, hours: float) -> str:
    """Return a sentence on the cost of a plan at `rate` dollars per hour, the provider, and the limit."""
    if rate is None or not plan.price or not plan.dollars:
        return f"price not known (set PRICE=); stops after {hours:.2f} hours"
    given = plan.price.provider == "PRICE="
    which = "(from PRICE=)" if given else f"on demand ({plan.price.provider})"
    if on == "skypilot" and not given:
        which += (
            "; the job uses a spot machine, which costs less, but its price is not known, so the limit is "
            "computed from the on-demand price"
        )
    return (
        f"${plan.dollars.low:.2f} to ${plan.dollars.high:.2f} at ${rate:.2f} an hour {which}; stops after "
        f"{hours:.2f} hours, ${hours * rate:.2f}"
    )


def hourly(rate: float | None) -> str:
    """Return the price of an hour, for use inside a sentence."""
    return "its hourly price (PRICE= is not set)" if rate is None else f"about ${rate:.2f} an hour"


def end(order: Order, store: str | None, rate: float | None, hours: float) -> str:
    """Return a sentence on what happens to the machine when the job has ended."""
    if order.on == "skypilot":
        return (
            "SkyPilot terminates the machine when the job ends, even if set-up fails, and nothing on it is "
            f"kept; results and checkpoints are in {store}, the output in `sky jobs logs`"
        )
    if order.on == "slurm":
        return (
            f"the nodes go back to Slurm; the results stay in {show(runs_folder())} on the shared file system"
        )
    if order.on == "kubernetes":
        return (
            f"the pod ends with the job and is removed a day later; results and checkpoints are in {store}. "
            "The cluster decides whether the node is then switched off"
        )
    if order.keep:
        return f"{order.host} stays on (KEEP=1) and costs {hourly(rate)} until you switch it off"
    return (
        f"{order.host} is switched off (on RunPod: the pod is stopped) once the run has ended, at the "
        f"latest after {hours:.2f} hours, and its results are in {store}. It stays on if set-up fails or "
        f"the results are missing, and then costs {hourly(rate)} until you switch it off. KEEP=1 always "
        "keeps it on"
    )
