"""Which model `tunebook advise` prompts with a few dev rows: an endpoint or the trial base."""

from __future__ import annotations

import random
import shutil
from typing import Any

import yaml

from tunebook.commands.advise.counts import Splits
from tunebook.config.recipe import load_recipe
from tunebook.core.console import Console
from tunebook.core.errors import TunebookError
from tunebook.core.files import AxolotlConfig, digest, read_json, write_json
from tunebook.core.paths import cache_folder, show
from tunebook.core.process import ChildError
from tunebook.data.dataset import Dataset
from tunebook.data.lengths import fitting
from tunebook.evaluation.contenders import ENDPOINT
from tunebook.evaluation.endpoint.client import PREFIX, Settings, from_environment
from tunebook.evaluation.records import PromptSample
from tunebook.evaluation.suite import load_suite
from tunebook.hardware import overlays
from tunebook.models import trial_model
from tunebook.plan.advise import Prompted, Tried
from tunebook.report import names
from tunebook.runs.rows import RenderedRow, write_rows
from tunebook.runs.run import Run
from tunebook.training.child import follow

ROWS, EXAMPLES = 24, 200  # dev rows that are answered; train rows from which few-shot examples are drawn
LONGEST = 2048  # tokens of a row that is answered: bounds the time and, with an endpoint, the price
SEED = 42


def ask(dataset: Dataset, rows: Splits, recipe: str, out: Console) -> Prompted | str:
    """Prompt the endpoint of the environment, or else the trial base where it is on this machine, with `ROWS`
    rows of dev; return how it did, or why none was prompted.

    Raises:
        InputError: a variable of the endpoint is not valid.
        TunebookError: the endpoint or the base did not answer.
    """
    endpoint = from_environment()
    if endpoint and dataset.tools:
        return "rows have tools, which cannot be sent to an endpoint"
    if not endpoint and not trial_model.present():
        return (
            f"{PREFIX} is not set, and the trial base is not in the cache (any run with TIER=trial brings it)"
        )
    dev = _some(rows["dev"], ROWS)
    if not dev:
        return f"no dev row has {LONGEST} tokens or fewer"
    train = _some(rows["train"], EXAMPLES)
    suite = load_suite(load_recipe(recipe), dataset.task, "trial", "quick")
    suite.dev_rows, suite.judge = len(dev), False
    model = endpoint.model if endpoint else trial_model.NAME
    if endpoint:
        few = f", and {suite.shots} train rows as examples" if train and suite.shots else ""
        out.note(f"{len(dev)} dev rows{few} go to {endpoint.address} (ASK=0 sends none)")
    place = [
        model,
        endpoint and endpoint.address,
        [row["id"] for row in dev],
        dataset.model_dump(mode="json"),
    ]
    run = Run(cache_folder() / "advise" / digest(place)[:10])
    with run.locked(), out.timed(None, "prompts") as words:
        _write(run, dataset, suite.model_dump(), dev, train, endpoint)
        options = ["--endpoint"] if endpoint else []
        try:
            module, events = "tunebook.commands.advise.ask_worker", run / "events.jsonl"
            follow(module, [str(run.folder), *options], out, run.log, events, offline=not endpoint)
        except ChildError as error:
            raise TunebookError(
                f"{model} did not answer: {error}\nLog: {show(run.log)}. ASK=0 (--no-ask) leaves this "
                "question out.",
                code="advise.no_answer",
            ) from None
        finally:
            shutil.rmtree(
                run / "data", ignore_errors=True
            )  # the rows are not kept; an endpoint's answers are
        found: PromptSample = read_json(run / "sample.json")
        words.append(f"{len(dev)} dev rows, {len(found['tried'])} prompts, {model}")
    return _prompted(found, model, endpoint, suite.shots)


def _some(rows: list[RenderedRow], count: int) -> list[RenderedRow]:
    """Return at most `count` rows that are not too long, drawn with a seed."""
    short = fitting(rows, (LONGEST,))[LONGEST]
    chosen = random.Random(SEED).sample(range(len(short)), min(count, len(short)))
    return [short[index] for index in sorted(chosen)]


def _write(
    run: Run,
    dataset: Dataset,
    suite: dict[str, Any],
    dev: list[RenderedRow],
    train: list[RenderedRow],
    endpoint: Settings | None,
) -> None:
    """Write what an evaluation reads of a run folder."""
    base, hardware, config = (endpoint.model, None, {}) if endpoint else _base()
    (run / "config.yaml").write_text(yaml.safe_dump({"base_model": base, **config}))
    settings = {"recipe": "advise", "tier": "trial", "seed": SEED, "base_model": base, "world": 1}
    settings |= {"hardware": hardware, "suite": suite}
    write_json(
        run / "settings.json", settings | {"dataset": dataset.model_dump(mode="json", exclude={"folder"})}
    )
    for split, some in (("train", train), ("dev", dev), ("test", [])):
        write_rows(run / "data" / f"{split}.jsonl", some)


def _base() -> tuple[str, str, AxolotlConfig]:
    """Return the folder of the trial base, the overlay of this machine, and what it says about loading."""
    overlay = overlays.overlay(overlays.guess())
    keys: AxolotlConfig = {
        key: overlay.keys[key] for key in ("bf16", "attn_implementation") if key in overlay.keys
    }
    return str(trial_model.folder()), overlay.name, keys


def _prompted(found: PromptSample, model: str, endpoint: Settings | None, shots: int) -> Prompted:
    tried = [
        Tried(names.prompting(one["name"], shots), one["value"], one["low"], one["high"])
        for one in found["tried"]
    ]
    rows = found["tried"][0]["rows"]
    answers = rows * len(tried)
    dollars = found["dollars"]
    return Prompted(
        model=model,
        who=ENDPOINT if endpoint else "trial base",
        metric=found["metric"],
        label=names.metric(found["metric"]),
        rows=rows,
        failed=found["failed"],
        tried=tried,
        seconds=found["seconds"],
        dollars_per_thousand=None if dollars is None else dollars / max(1, answers) * 1000,
    )
