"""Whether base model and data are accessible, their licences, and whether the disk is large enough."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from tunebook.check.findings import Finding, Findings, Grade, of_problem
from tunebook.check.training_rules import AXOLOTL_KEEPS
from tunebook.config.resolved import Resolved
from tunebook.core.environment import environment
from tunebook.core.errors import MachineError
from tunebook.core.files import AxolotlConfig
from tunebook.core.paths import runs_folder
from tunebook.data.dataset import Dataset
from tunebook.models.hub import cached, reach_hub, unreachable
from tunebook.models.registry import model_table
from tunebook.training import trackers

ADAPTER_SHARE = 100  # an adapter has at most one weight per this many weights of its base model
TOKENS = ("HF_TOKEN", "WANDB_API_KEY", "MLFLOW_TRACKING_TOKEN", "COMET_API_KEY")
NON_COMMERCIAL = re.compile(r"(?i)\bnc\b|non-?commercial|research")
NO_DERIVATIVES = re.compile(r"(?i)\bnd\b|no-?deriv")
SHARE_ALIKE = re.compile(r"(?i)\bsa\b|gpl|share-?alike")
COMMUNITY = re.compile(r"(?i)llama|gemma|community")
UNKNOWN = re.compile(r"(?i)^(unknown|other|none|)$")
LICENCES = "https://creativecommons.org/share-your-work/cclicenses/"


def check_access(resolved: Resolved, dataset: Dataset, found: Findings) -> str:
    """Add findings about access, licences, disk space and tokens; return a line about the base model."""
    base = str(resolved.config["base_model"])
    revision = resolved.config.get("revision_of_model")
    facts = model_table().get(base, {})
    licence, summary = facts.get("licence"), base
    if Path(base).is_dir():
        summary += ", a local folder"
    else:
        try:
            reach_hub(base, revision)
            summary += ", in the local cache" if cached(base, "config.json", revision) else ", on the Hub"
            licence = _hub_facts(base, revision, found) or licence
        except MachineError as error:
            found.skip("base model: existence, access, size", "offline")
            found.facts["base"] = str(error)
    if dataset.source.hub and not environment().sources:
        _reach_data(dataset, found)
    found.facts["licences"] = {"base": licence or "not known", "data": dataset.licence}
    found.extend(licence_findings(licence, dataset.licence, resolved.recipe.file))
    _disk(resolved, facts.get("parameters"), found)
    _tokens(resolved.config, found)
    return f"{summary}; licences: base {licence or 'not known'}, data {dataset.licence}"


def _hub_facts(base: str, revision: str | None, found: Findings) -> str | None:
    """Return the licence on the model's Hub page; add a note if access must be requested."""
    from huggingface_hub import model_info

    try:
        if error := unreachable():
            raise error
        info = model_info(base, revision=revision, timeout=15)
    except Exception:  # cached, so it is accessible; the Hub client lets through many kinds of errors
        found.skip("base model: gated", "offline")
        return None
    if info.gated:
        found.add(
            Finding(
                "warning",
                "access",
                f"{base} is gated ({info.gated}): request access on its page and set HF_TOKEN.",
                key="base_model",
                code="access.base_gated",
                link=f"https://huggingface.co/{base}",
            )
        )
    return info.card_data.get("license") if info.card_data else None


def _reach_data(dataset: Dataset, found: Findings) -> None:
    from huggingface_hub import dataset_info
    from huggingface_hub.errors import HfHubHTTPError

    place = f"datasets/{dataset.name}/dataset.yaml"
    try:
        if error := unreachable():
            raise error
        info = dataset_info(str(dataset.source.hub), revision=dataset.source.revision, timeout=15)
    except HfHubHTTPError as error:
        text = f"the Hub answered {error.response.status_code} for {dataset.source.hub!r}."
        found.add(
            Finding(
                "error",
                "access",
                text,
                "Check the name and HF_TOKEN.",
                place,
                key="source.hub",
                code="access.data_refused",
            )
        )
    except Exception:  # as above
        found.skip("data: on the Hub, gated", "offline")
    else:
        if info.gated:
            text = f"{dataset.source.hub} is gated: request access on its page and set HF_TOKEN."
            found.add(
                Finding("warning", "access", text, file=place, key="source.hub", code="access.data_gated")
            )


def licence_findings(base: str | None, data: str, file: str) -> list[Finding]:
    """Return a finding for each restriction or condition in the licences of base model and data. Not legal
    advice."""
    found = []

    def add(grade: Grade, key: str, text: str, do: str, *, code: str) -> None:
        found.append(Finding(grade, "licences", text, do, file, key=key, link=LICENCES, code=code))

    for what, licence in (("base model", base or ""), ("data", data)):
        words = licence.replace("-", " ") if licence else ""
        key = "base_model" if what == "base model" else "datasets"
        if UNKNOWN.match(licence):
            if what == "data" or base is not None:
                add(
                    "warning",
                    key,
                    f"the {what} has no known licence.",
                    "Find out the licence before you publish a model.",
                    code="access.unknown_licence",
                )
        elif NO_DERIVATIVES.search(words):
            add(
                "warning",
                key,
                f"the {what}'s licence {licence} allows no derivatives, and a fine-tuned model may count as "
                "one.",
                "Ask the owner for permission, or use something else.",
                code="access.no_derivatives",
            )
        elif NON_COMMERCIAL.search(words):
            add(
                "warning",
                key,
                f"the {what}'s licence {licence} forbids commercial use, including that of the fine-tuned "
                "model.",
                "For commercial use, choose another one.",
                code="access.non_commercial",
            )
        elif COMMUNITY.search(words):
            add(
                "note",
                key,
                f"the {what}'s licence {licence} has conditions on naming and use.",
                "Read the licence.",
                code="access.licence_conditions",
            )
        elif SHARE_ALIKE.search(words):
            add(
                "note",
                key,
                f"the {what}'s licence {licence} requires derived works to be shared under the same licence.",
                "Decide whether this applies to your model before you publish it.",
                code="access.share_alike",
            )
    return found


def _disk(resolved: Resolved, parameters: int | None, found: Findings) -> None:
    """Compare the free disk space with what a run needs: weights in bf16, plus the kept checkpoints and one
    more while the newest is being written. For full fine-tuning, each checkpoint has fp32 weights and AdamW's
    two fp32 moments; for an adapter, a hundredth of that (rank 16 on all linear layers is half a percent of
    the weights)."""
    if not parameters:
        found.skip("disk space", "the size of the base model is not known")
        return
    kept = (resolved.config.get("save_total_limit") or AXOLOTL_KEEPS) + 1
    trained = parameters // ADAPTER_SHARE if resolved.config.get("adapter") else parameters
    needed = 2 * parameters + 12 * trained * kept
    folder = next(p for p in [runs_folder(), *runs_folder().parents] if p.exists())
    free = shutil.disk_usage(folder).free
    found.facts["disk"] = {"needed_gb": round(needed / 1e9, 1), "free_gb": round(free / 1e9, 1)}
    if needed > free:
        text = (
            f"a real run needs about {needed / 1e9:.0f} GB of disk; this machine has {free / 1e9:.0f} GB "
            "free."
        )
        where = str(runs_folder())
        do = "Run it on a machine with more free disk space."
        found.add(Finding("warning", "disk", text, do, where, code="access.disk_too_small"))


def _tokens(config: AxolotlConfig, found: Findings) -> None:
    for problem in trackers.problems(config):
        found.add(of_problem(problem, "access", "note"))
    for text in trackers.unheard(config):
        found.add(Finding("note", "access", text, code="access.tracker_not_used"))
    found.facts["tokens set"] = [name for name in TOKENS if os.environ.get(name)]
