"""A run's adapter merged into its base model: full weights that every other program can load.

For a base model in 16 or 32 bits, the merged model is the one that the run's own evaluation measured, in the
same precision. An adapter trained on a 4-bit base model has two merged forms: merged into the original
weights, or into the dequantised 4-bit weights on which it was trained. Both are measured on dev and the
better one is kept.

Preference tuning starts from the same folder: Axolotl does not read `lora_model_dir` for it, and trl rejects
a model that already has an adapter.
"""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired

from filelock import FileLock
from typing_extensions import TypedDict

from tunebook.core.console import Console
from tunebook.core.errors import InputError, TunebookError
from tunebook.core.files import AxolotlConfig, read_json
from tunebook.core.paths import show
from tunebook.core.process import ChildError, write_folder
from tunebook.models.fingerprint import weights_hash
from tunebook.models.methods import merge_refusal, uses_head
from tunebook.runs.run import MERGED, Run

MADE_OF = "tunebook.json"
WAYS = ("original", "dequantised")


class OnDev(TypedDict):
    """The primary metric on dev of a 4-bit run and of both its merged forms (WAYS), and the better form."""

    metric: str
    dev: dict[str, float]
    way: str


class MadeOf(TypedDict):
    """merged/tunebook.json: hashes of the adapter and of the merged weights, the peak memory of the process,
    and for a 4-bit run the content of OnDev."""

    adapter: str
    merged: str
    peak_bytes: int
    metric: NotRequired[str]
    dev: NotRequired[dict[str, float]]
    way: NotRequired[str]


def made_of(folder: Path) -> MadeOf | None:
    """Return the record of the merge in a folder of merged weights, or None if there is none."""
    found: MadeOf | None = read_json(folder / MADE_OF)
    return found


def refusal(config: AxolotlConfig) -> str | None:
    """Return why a model trained with this config cannot be merged into full weights, or None if it can."""
    if uses_head(config):
        return (
            "a classification head scores labels, but programs that load full weights expect a model that "
            "generates text."
        )
    return merge_refusal(str(config.get("adapter") or ""))


def base_changed(run: Run) -> bool:
    """Return whether a local base model has other weights than when the run started; False if the run did not
    record them. A base model on the Hub is pinned by its revision."""
    base, known = Path(run.config()["base_model"]), read_json(run / "manifest.json", {}).get("base_weights")
    return bool(known) and base.is_dir() and weights_hash(base) != known


def whole(run: Run) -> bool:
    """Return whether `merged/` exists with unchanged weights, made from the current adapter of `run`."""
    made = made_of(run / MERGED)
    found = (weights_hash(run / "model"), weights_hash(run / MERGED))
    return made is not None and (made["adapter"], made["merged"]) == found


def refuse_changed_base(run: Run) -> None:
    """Raise if the base model has other weights than those the run was trained on, because its adapter does
    not fit them.

    Raises:
        InputError: the weights differ.
    """
    if base_changed(run):
        base = Path(run.config()["base_model"])
        raise InputError(
            f"RUN: the weights in {show(base)} are not those that the run was trained on. Restore the old "
            "weights, or run the recipe again.",
            code="export.base_changed",
        )


def ensure(run: Run, console: Console) -> Path:
    """Return the folder with the full weights of `run`: `model/` after full fine-tuning, otherwise `merged/`,
    created if it is missing or belongs to another adapter.

    Raises:
        InputError: the run's method cannot be merged, or its base model changed.
        TunebookError: the merge failed; the message has its last output line.
    """
    config = run.config()
    why = refusal(config)
    if why:
        raise InputError(
            f"RUN: {show(run.folder)} cannot be merged: {why} make serve, make chat and make predict can "
            "use the run without merging.",
            code="export.cannot_merge",
        )
    refuse_changed_base(run)
    if not config.get("adapter"):
        return run / "model"
    target = run / MERGED
    with FileLock(run / ".merged.lock"):
        if whole(run):
            return target
        if made_of(target):
            console.note(
                f"{show(target)}: the adapter or the weights have changed since the merge; merging again"
            )
        console.stage("set-up", f"merging the adapter of {show(run.folder)} into its base model (only once)")
        try:
            write_folder("tunebook.export.merge_worker", [str(run.folder)], target, run.log)
        except ChildError as error:
            raise TunebookError(
                f"The adapter could not be merged: {error}\nLog: {show(run.log)}",
                code="model.merge_failed",
            ) from error
    return target
