"""Other models beside the tuned one (`BESIDE=`): the same rows, each through its own chat template."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from tunebook.contenders import JobMaker
from tunebook.model_folder import contender_name, model_folder
from tunebook.models import Models
from tunebook.prompt import PromptEncoder
from tunebook.resolve import model_table

if TYPE_CHECKING:
    from tunebook.evaluate import Evaluation


def _of(evaluation: Evaluation, model: str) -> Evaluation:
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


def answer_beside(evaluation: Evaluation, split: str) -> dict[str, Any]:
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
