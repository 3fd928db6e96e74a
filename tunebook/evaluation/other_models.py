"""Other models beside the tuned one (`BESIDE=`): the same rows, each through its own chat template."""

from __future__ import annotations

import copy
from typing import Any

from tunebook.data.prompt import PromptEncoder
from tunebook.evaluation.contenders import JobMaker
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.evaluator import Evaluator
from tunebook.models.locate import contender_name, model_folder
from tunebook.models.registry import model_table


def _of(evaluation: Evaluator, model: str) -> Evaluator:
    """Return the evaluation of another model on the rows of this one."""
    folder, config = model_folder(model, "beside"), evaluation.models.config
    shared = {key: value for key, value in config.items() if key in ("bf16", "attn_implementation")}
    kwargs = model_table().get(model, {}).get("axolotl", {}).get("chat_template_kwargs")
    other = copy.copy(evaluation)
    other.asked, other.before = contender_name(model), {}
    other.models = Models({**shared, "base_model": str(folder)}, folder, evaluation.here)
    encoder = PromptEncoder(other.models.tokenizer, kwargs)
    other.maker = JobMaker(evaluation.dataset, evaluation.suite, encoder, evaluation.maker.shots)
    return other


def answer_beside(evaluation: Evaluator, split: str) -> dict[str, Any]:
    """Let every model beside answer in the way that is best for it on dev; return how each was asked."""
    asked = {}
    for model in evaluation.suite.beside:
        evaluation.models.close()
        other = _of(evaluation, model)
        way, tried = other.choose_baseline()
        other.contender(other.asked, split, way, "base")
        other.models.close()
        asked[other.asked] = {"model": model, "way": way.of(other.asked), "tried_on_dev": tried}
    return asked
