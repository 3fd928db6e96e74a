"""Other models that are evaluated, too (`--beside`, BESIDE=): the same rows, each model with its own chat
template."""

from __future__ import annotations

from typing import Any

from tunebook.evaluation.chosen_on_dev import choose_baseline
from tunebook.evaluation.contenders import Contender
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.evaluator import Evaluator
from tunebook.models.locate import contender_name, model_folder
from tunebook.models.registry import model_table


def _evaluator_of(evaluator: Evaluator, model: str) -> Evaluator:
    """Return the evaluator of another model on the rows of `evaluator`."""
    folder, config = model_folder(model, "beside"), evaluator.inputs.config
    shared = {key: value for key, value in config.items() if key in ("bf16", "attn_implementation")}
    template_kwargs = model_table().get(model, {}).get("axolotl", {}).get("chat_template_kwargs")
    models = Models({**shared, "base_model": str(folder)}, folder, evaluator.here)
    return evaluator.for_models(models, template_kwargs)


def answer_beside(evaluator: Evaluator, split: str) -> dict[str, Any]:
    """Let every other model of the suite answer with the prompting that is best for it on dev; return, by
    contender, `model`, its prompting (`way`) and the scores `tried_on_dev`."""
    results = {}
    for model in evaluator.suite.beside:
        evaluator.models.close()
        other, name = _evaluator_of(evaluator, model), contender_name(model)
        best, tried = choose_baseline(other, name)
        other.evaluate(Contender(name, "base", best.prompting), split)
        other.models.close()
        results[name] = {"model": model, "way": best.name, "tried_on_dev": tried}
    return results
