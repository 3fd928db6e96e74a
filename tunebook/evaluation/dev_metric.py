"""Axolotl plugin `tunebook.plugins.DevMetric`: the task's own metric on dev while training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback

from tunebook.evaluation.contenders import PLAIN
from tunebook.evaluation.engines.classifier import HeadLM
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.engines.token_lm import TokenLM
from tunebook.evaluation.evaluator import Evaluator
from tunebook.plugins.virtual_tokens import virtual_cache
from tunebook.runs.run import Run


class DevMetric(BasePlugin):
    """At each evaluation of the training also ask the model the first questions of the harness: the primary
    metric on dev rows (`dev_rows` of the suite), logged as `eval_dev_<metric>`.

    With `metric_for_best_model: eval_dev_accuracy` it is what `early_stopping_patience` watches. The loss
    alone stops too late or too soon: it goes on falling, or rises, while answers stay as they are.

    Raises:
        RuntimeError: sharded weights, which one process cannot ask, or a config outside a run folder.
    """

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        if cfg.fsdp_config or cfg.deepspeed:
            raise RuntimeError(
                "DevMetric: one process asks the whole model; with FSDP or DeepSpeed none has it."
            )
        run = Run(Path(cfg.output_dir).parent)
        if not (run / "settings.json").is_file():
            raise RuntimeError("DevMetric: needs the run folder that `make recipe` makes.")
        # First, so that early stopping, a callback as well, finds the metric.
        trainer.callback_handler.callbacks.insert(0, _AskDev(run, trainer))


class _AskDev(TrainerCallback):
    def __init__(self, run: Run, trainer: Any) -> None:
        self.run, self.trainer = run, trainer

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        found: list[Any] = [None]
        if state.is_world_process_zero:
            found = [ask_dev(self.run, self.trainer, state.global_step)]
        if args.world_size > 1:
            torch.distributed.broadcast_object_list(found)
        kwargs["metrics"].update(found[0])
        self.trainer.log(dict(found[0]))


class InTraining(Models):
    """The one model that `trainer` trains, as it stands."""

    def __init__(self, config: dict[str, Any], trainer: Any) -> None:
        self.config, self.trainer, self.tokenizer = config, trainer, trainer.processing_class
        self._open, self.served = {}, False

    def fingerprint(self, name: str) -> dict[str, Any]:
        return {"in_training": name}

    def open(self, name: str, engine: bool = True) -> Any:

        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        if self.head:
            return HeadLM(model, self.tokenizer)
        virtual = virtual_cache(model) if self.config.get("adapter") else None
        return TokenLM(model if virtual is None else model.get_base_model(), self.tokenizer, virtual)


def ask_dev(run: Run, trainer: Any, step: int) -> dict[str, float]:
    """Return `{"eval_dev_<metric>": value}` of the model that `trainer` trains; answers are kept below
    eval/jobs/ under the step."""
    evaluation = Evaluator(run, None, models=lambda config: InTraining(config, trainer))
    rows = evaluation.sample(evaluation.rows["dev"], evaluation.suite.dev_rows)
    name = f"step-{step}"
    return {f"eval_dev_{evaluation.suite.primary}": evaluation.primary(name, "dev", rows, PLAIN, name)}
