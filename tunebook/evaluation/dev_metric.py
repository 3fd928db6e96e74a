"""The Axolotl plugin `tunebook.plugins.DevMetric`: the task's own metric on dev during training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback

from tunebook.core.files import AxolotlConfig
from tunebook.evaluation.contenders import Contender
from tunebook.evaluation.engines.classifier import HeadLM
from tunebook.evaluation.engines.protocol import Engine, ModelSource
from tunebook.evaluation.engines.token_lm import TokenLM
from tunebook.evaluation.evaluator import Evaluator
from tunebook.models.methods import uses_head
from tunebook.plugins.virtual_tokens import virtual_cache
from tunebook.runs.run import Run


class DevMetric(BasePlugin):
    """At each evaluation during training, also evaluate the model on `dev_rows` of the suite and log the
    primary metric on dev as `eval_dev_<metric>`.

    With `metric_for_best_model: eval_dev_accuracy`, it is the metric that `early_stopping_patience` watches.
    Watching the loss would stop too late or too early: the loss may keep falling, or rise, while the answers
    stay the same.

    Raises:
        RuntimeError: the weights are sharded, so that no process has all of them, or the config is not in a
            run folder.
    """

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        if cfg.fsdp_config or cfg.deepspeed:
            raise RuntimeError(
                "DevMetric: a single process evaluates the whole model, which with FSDP or DeepSpeed no "
                "process has."
            )
        run = Run(Path(cfg.output_dir).parent)
        if not (run / "settings.json").is_file():
            raise RuntimeError("DevMetric: needs a run folder, which `make recipe` creates.")
        # First, so that early stopping, which is also a callback, sees the metric.
        trainer.callback_handler.callbacks.insert(0, _DevCallback(run, trainer))


class _DevCallback(TrainerCallback):
    def __init__(self, run: Run, trainer: Any) -> None:
        self.run, self.trainer = run, trainer

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        values: list[Any] = [None]
        if state.is_world_process_zero:
            values = [dev_metric(self.run, self.trainer, state.global_step)]
        if args.world_size > 1:
            torch.distributed.broadcast_object_list(values)
        kwargs["metrics"].update(values[0])
        self.trainer.log(dict(values[0]))


class InTraining(ModelSource):
    """A model source with one model under every name: the one that `trainer` trains, in its current state."""

    def __init__(self, config: AxolotlConfig, trainer: Any) -> None:
        self.config, self.trainer, self.tokenizer = config, trainer, trainer.processing_class

    @property
    def head(self) -> bool:
        return uses_head(self.config)

    def fingerprint(self, name: str) -> dict[str, Any]:
        return {"in_training": name}

    def open(self, name: str, engine: bool = True) -> Engine:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        if self.head:
            return HeadLM(model, self.tokenizer)
        virtual = virtual_cache(model) if self.config.get("adapter") else None
        return TokenLM(model if virtual is None else model.get_base_model(), self.tokenizer, virtual)


def dev_metric(run: Run, trainer: Any, step: int) -> dict[str, float]:
    """Return `{"eval_dev_<metric>": value}` for the model that `trainer` trains; its answers are saved in
    eval/jobs/ under the step."""
    evaluator = Evaluator.of_run(run, models=lambda config: InTraining(config, trainer))
    rows = evaluator.inputs.sample(evaluator.rows["dev"], evaluator.suite.dev_rows)
    contender = Contender(f"step-{step}", f"step-{step}")
    return {f"eval_dev_{evaluator.suite.primary}": evaluator.primary(contender, "dev", rows)}
