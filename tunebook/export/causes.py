"""Why an exported file scores worse than its run: the known causes of faulty exports, each tested and
named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunebook.core.files import read_json
from tunebook.data.prompt import with_system
from tunebook.evaluation.contenders import Contender
from tunebook.evaluation.evaluator import Evaluator
from tunebook.export.merge import base_changed
from tunebook.export.parity import FILE, RUN, STOPS_LESS
from tunebook.metrics.schema import ParityLine
from tunebook.runs.rows import RenderedRow
from tunebook.runs.run import Run

if TYPE_CHECKING:
    from torch import Tensor

NEAR_BASE = 0.1  # share of the difference in loss between base model and run


def likely_causes(
    run: Run,
    ours: Evaluator,
    theirs: Evaluator,
    files: list[Path],
    line: ParityLine,
    losses: dict[str, list[float]],
    rows: list[RenderedRow],
) -> list[str]:
    """Return a sentence for each cause found, or a sentence saying that none was found."""
    found = [
        *other_prompts(ours, theirs, line, rows),
        *_stop(ours, theirs, line),
        *_weights(run, files),
        *_effect(ours, losses, rows),
        *_scale(ours, files),
    ]
    if base_changed(run):
        found.append("base changed: the base model's weights are not those that the run was trained on.")
    return found or [
        "none of the usual causes: prompts, stop token, tied weights and the effect of the adapter are the "
        "same as in the run. Stronger quantisation itself costs quality; try QUANT=q8_0."
    ]


def template_cause(ours: Evaluator, theirs: Evaluator, error: str) -> str:
    """Return why the file's own template cannot render a prompt with its answer."""
    names = [one.models.tokenizer.eos_token for one in (ours, theirs)]
    if names[0] != names[1]:
        return (
            f"missing stop: the run's answers end with {names[0]!r}, but the file stops at {names[1]!r}. "
            f"{error}"
        )
    return f"wrong template: {error}"


def other_prompts(
    ours: Evaluator, theirs: Evaluator, line: ParityLine, rows: list[RenderedRow]
) -> Iterator[str]:
    """Return how prompts differ, in the template's text or in the tokenization of the text. A difference may
    have no effect on these rows."""
    if line["prompts_equal"] == 1:
        return
    turns, tools = rows[0]["messages"][:-1], rows[0].get("tools")
    texts = [one.maker.encoder.text(turns, tools, opened=True) for one in (ours, theirs)]
    share = f"{line['prompts_equal']:.0%} of the prompts have the same tokens"
    with_system_turn = with_system(turns, "Be brief.")
    if texts[1].endswith(texts[0]) and (before := texts[1].removesuffix(texts[0])):
        yield f"other special tokens: only {share}; the file puts {before!r} before every prompt."
    elif (
        texts[0] != texts[1]
        and len({one.maker.encoder.text(with_system_turn, tools) for one in (ours, theirs)}) == 1
    ):
        yield f"other system turn: only {share}; the file's chat template adds its own system turn."
    elif texts[0] != texts[1]:
        yield (
            f"wrong template: only {share}; the file's chat template renders a different text than the run's."
        )
    else:
        yield f"other special tokens: only {share}; the texts are equal but tokenized differently."


def _stop(ours: Evaluator, theirs: Evaluator, line: ParityLine) -> Iterator[str]:
    """Return the cause if the file does not stop at the end-of-turn token."""
    before, after = line["stop_rate_run"], line["stop_rate"]
    tokens = [one.models.tokenizer.eos_token_id for one in (ours, theirs)]
    if tokens[0] != tokens[1]:
        names = [one.models.tokenizer.eos_token for one in (ours, theirs)]
        yield f"missing stop: the run's answers end with {names[0]!r}, but the file stops at {names[1]!r}."
    elif before is not None and after is not None and before - after > STOPS_LESS:
        yield (
            f"missing stop: {after:.0%} of the file's answers end by themselves, but {before:.0%} of the "
            "run's did."
        )


def _effect(ours: Evaluator, losses: dict[str, list[float]], rows: list[RenderedRow]) -> Iterator[str]:
    """Return the cause if the adapter has no effect: how far the file's losses are from those of the base
    model towards those of the run."""
    split = "test" if ours.suite.mode != "quick" else "dev"
    records = ours.losses(Contender("parity_base", "base"), split, rows)
    base = np.array([record["loss"] for record in records])
    way = np.array(losses[RUN]) - base
    if not (way @ way):
        return
    share = float((np.array(losses[FILE]) - base) @ way / (way @ way))
    if abs(share) < NEAR_BASE:
        yield "adapter without effect: the reference answers are only as likely as under the base model."


def _scale(ours: Evaluator, files: list[Path]) -> Iterator[str]:
    """Return the cause if the weights of a folder of full weights are further from the base model, or nearer
    to it, than in the run; judged by the weight that changed most."""
    base = Path(ours.inputs.config["base_model"])
    if not files[0].is_dir() or not base.is_dir():
        return
    from safetensors.torch import load_file

    def weights(folder: Path) -> dict[str, Tensor]:
        return {
            name: value for path in folder.glob("*.safetensors") for name, value in load_file(path).items()
        }

    before, file = weights(base), weights(files[0])
    tuned = ours.models.open("tuned", engine=False).net.state_dict()  # type: ignore[attr-defined]
    moved = {
        name: (tuned[name].float().cpu() - before[name].float())
        for name in before.keys() & file.keys() & tuned.keys()
        if tuned[name].shape == before[name].shape == file[name].shape
    }
    if not moved:
        return
    name = max(moved, key=lambda one: float(moved[one].norm()))
    way = moved[name].flatten()
    share = float((file[name].float() - before[name].float()).flatten() @ way / (way @ way))
    if abs(share) >= NEAR_BASE and not 0.9 < share < 1.1:
        yield f"wrong scale: {name} is {share:.2f} times as far from the base model as in the run."


def _weights(run: Run, files: list[Path]) -> Iterator[str]:
    """Return the cause if the output layer is tied to the embeddings in the run, but differs from them in the
    file."""
    folder = files[0]
    if not folder.is_dir():
        return
    tied = json.loads((folder / "config.json").read_text()).get("tie_word_embeddings")
    base = Path(run.config()["base_model"])
    was = read_json(base / "config.json", {}).get("tie_word_embeddings") if base.is_dir() else None
    if was and not tied:
        yield (
            "tied head untied: the base model shares its output layer with its embeddings, but the file "
            "does not."
        )
