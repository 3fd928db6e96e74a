"""Axolotl plugins for features without an Axolotl key; recipes list them under `plugins:`."""

from __future__ import annotations

import functools
import inspect
import json
import math
import shutil
import time
import types
from pathlib import Path
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback, set_seed

from tunebook.core.environment import environment
from tunebook.core.errors import STOPPED
from tunebook.data.prompt import with_arguments
from tunebook.models import lanes
from tunebook.models.kernels import no_gpu_kernels_on_a_cpu
from tunebook.plugins.meter import Meter
from tunebook.plugins.row_order import RowOrder
from tunebook.plugins.supervised_text import compare_supervised_text
from tunebook.runs.checkpoints import ASIDE, ROWS, UNPLANNED, set_unplanned_aside

CHANGED_AFTER = 10
SAMPLED = 4096  # weights sampled from each tensor


class SeededInit(BasePlugin):
    """Seed the random generators before the model is loaded: Axolotl 0.19's `seed` does not cover the initial
    weights of an adapter or head, so two runs of the same config would differ. Later versions do this
    themselves."""

    def pre_model_load(self, cfg: Any) -> None:
        if cfg.seed is None or not lanes.seeds_weights():
            set_seed(cfg.seed if cfg.seed is not None else 42)


class TokenMean(BasePlugin):
    """Average the loss of a step over all its trained tokens, regardless of the number of micro batches and
    processes.

    Axolotl 0.19 averages each micro batch and then those means (`lanes.counts_tokens`), and no version adds
    up the tokens of several processes. This plugin restores the behaviour of transformers.Trainer."""

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        # slow to import, but already loaded at this point
        from axolotl.core.trainers.base import AxolotlTrainer

        if not isinstance(trainer, AxolotlTrainer):
            return  # preference and reward training use other losses
        trainer.args.average_tokens_across_devices = True
        if lanes.counts_tokens():
            return
        model = trainer.accelerator.unwrap_model(trainer.model)
        model = model.get_base_model() if hasattr(model, "get_base_model") else model
        arguments = inspect.signature(model.forward).parameters.values()
        takes_any = any(argument.kind is inspect.Parameter.VAR_KEYWORD for argument in arguments)
        trainer.model_accepts_loss_kwargs = getattr(model, "accepts_loss_kwargs", takes_any)


class CPUArguments(BasePlugin):
    """Let a CPU train in bf16: transformers rejects `bf16: true` without a GPU, and Axolotl has no key for
    `use_cpu`. The config's `bf16: true` still loads the weights in bf16.

    Logits are computed only for trained positions (docs/ARCHITECTURE.md, CPU)."""

    def register(self, cfg: Any) -> None:
        """Called before Axolotl asks whether the GPUs of a training with several processes reach each other:
        torch's builds for CUDA end with an error where there is no driver."""
        from axolotl.utils import trainer

        trainer.check_cuda_p2p_ib_support = lambda: True

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> None:
        """Called before anything is loaded."""
        no_gpu_kernels_on_a_cpu()

    def get_training_args(self, cfg: Any) -> dict[str, Any]:
        autocast = bool(cfg.bf16) and cfg.torch_dtype == torch.float32
        return {"use_cpu": True, "bf16": autocast, "bf16_full_eval": False}

    def post_model_load(self, cfg: Any, model: Any) -> None:
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model  # as PEFT left it
        output = getattr(inner, "lm_head", None)  # a classification head has no token logits
        if output is not None:
            only_trained_logits(inner)
        # For gradient checkpointing, Axolotl makes every adapter's input require a gradient; below the lowest
        # adapter (peft_layers_to_transform), that backward pass computes a result nobody uses.
        if not cfg.gradient_checkpointing:
            model.disable_input_require_grads()
        keep_gradients_of_4bit(model)


def keep_gradients_of_4bit(model: Any) -> None:
    """Keep bitsandbytes' 4-bit layers from switching to their inference layout on CPUs with AVX512-BF16.

    bitsandbytes 0.50 changes the layout of the weights at the first evaluation and does not change it back
    when training continues. Products in that layout have no gradient, so from then on those layers silently
    pass none.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def only_trained_logits(model: Any) -> None:
    """Make the output layer of a causal model compute only the positions whose next token has a label.

    The loss and its gradients are unchanged, because the other positions do not contribute to them. Without
    labels nothing changes.
    """
    kept: list[torch.Tensor] = []
    forward = model.forward.__func__

    # Not a hook of the model: PEFT's causal models call its `forward` directly, past all hooks. And a method,
    # so that a copy of the model calls its own weights.
    @functools.wraps(forward)
    def with_kept(self: Any, *args: Any, **kwargs: Any) -> Any:
        kept.clear()
        if kwargs.get("labels") is not None and kwargs.get("shift_labels") is None:
            following = torch.nn.functional.pad(kwargs["labels"], (0, 1), value=-100)[:, 1:]
            kept.append(following != -100)
            kwargs["shift_labels"] = following[kept[0]][None]
        return forward(self, *args, **kwargs)

    def before_head(_: Any, args: tuple) -> tuple | None:
        return (args[0][kept[0]][None], *args[1:]) if kept else None

    model.forward = types.MethodType(with_kept, model)
    model.lm_head.register_forward_pre_hook(before_head)


class PreferencePrompts(BasePlugin):
    """Render preference pairs with the config's `chat_template_kwargs`. Axolotl applies them to supervised
    rows only, so Qwen3 would be trained on a different prompt than it is evaluated with."""

    def register(self, cfg: Any) -> None:
        from axolotl.utils.data import rl

        load = rl.load_tokenizer
        if getattr(load, "with_arguments", False):
            return

        def load_tokenizer(cfg: Any) -> Any:
            tokenizer = load(cfg)
            tokenizer.chat_template = with_arguments(tokenizer.chat_template, cfg.chat_template_kwargs)
            return tokenizer

        load_tokenizer.with_arguments = True  # type: ignore[attr-defined]
        rl.load_tokenizer = load_tokenizer


class Float32Weights(SeededInit):
    """Load the weights in fp32 while `bf16` computes in autocast. Axolotl's `bf16: true` loads them in bf16,
    in which a step of 1e-5 is too small to change most of them.

    Raises: RuntimeError: some weights were loaded in another precision.
    """

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> None:
        # The last hook before Axolotl reads the dtype; `pre_model_load` runs after that.
        cfg.torch_dtype = torch.float32

    def post_model_build(self, cfg: Any, model: Any) -> None:
        other = {str(weight.dtype) for weight in model.parameters() if weight.dtype != torch.float32}
        if other:
            raise RuntimeError(f"Float32Weights: weights were loaded in {', '.join(sorted(other))}.")


class Progress(BasePlugin):
    """Reports and controls training.

    Appends a JSON line for each training step to the file TUNEBOOK_EVENTS; saves and stops once the file
    TUNEBOOK_STOP exists; stops a training that has diverged; gives each epoch its own order of the rows
    (tunebook/plugins/row_order.py); counts the trained rows; compares what is
    learned of them with what they say (tunebook/plugins/supervised_text.py); and for full fine-tuning records
    the share of weights that changed in the first ten steps. A resumed training keeps the precision of its
    adapter: transformers does not pass `peft_autocast_adapter_dtype` to PEFT, which would turn bf16 into fp32
    when it loads the checkpoint. The dev loss before the first step, which Axolotl 0.19 always computes and
    nothing reads, is skipped; Axolotl 0.21 has the key `eval_on_start` for it."""

    def get_training_args(self, cfg: Any) -> dict[str, Any]:
        return {"eval_on_start": bool(cfg.eval_on_start)}

    def post_model_load(self, cfg: Any, model: Any) -> None:
        cast = cfg.peft_autocast_adapter_dtype
        if cast is not None and hasattr(model, "load_adapter"):
            model.load_adapter = functools.partial(model.load_adapter, autocast_adapter_dtype=cast)

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        if trainer.is_world_process_zero() and hasattr(trainer.train_dataset, "__len__"):
            # After Axolotl has dropped rows that are too long or have nothing to learn.
            rows = {"train_rows": len(trainer.train_dataset)}
            Path(cfg.output_dir).mkdir(parents=True, exist_ok=True)
            (Path(cfg.output_dir) / ROWS).write_text(json.dumps(rows))
            compare_supervised_text(cfg, trainer)
        here = environment()
        callbacks: list[TrainerCallback] = [_ProgressCallback(here.events)] if here.events else []
        callbacks += [StopWhenDiverged(), RowOrder(trainer)]
        if here.stop:
            callbacks.insert(0, StopWhenAsked(here.stop))  # marks a checkpoint before it is reported
        return callbacks if cfg.adapter else [*callbacks, ChangedWeights(Path(cfg.output_dir))]


class ChangedWeights(TrainerCallback):
    """Writes `changed.json`: the share of sampled trainable weights whose value differs after ten steps, in
    the shard of process 0."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "changed.json"
        self.before: dict[str, torch.Tensor] = {}

    def _sample(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        sample = {}
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                local = getattr(weight, "to_local", lambda weight=weight: weight)().detach().flatten()
                sample[name] = local[:: max(1, len(local) // SAMPLED)].clone()
        return sample

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self.before = self._sample(kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.before and state.global_step == min(CHANGED_AFTER, state.max_steps):
            after = self._sample(kwargs["model"])
            changed = sum(int((after[name] != old).sum()) for name, old in self.before.items())
            total = sum(old.numel() for old in self.before.values())
            self.before = {}
            if state.is_world_process_zero:
                result = {"steps": state.global_step, "sampled": total, "share": changed / total}
                self.path.write_text(json.dumps(result))


class _ProgressCallback(TrainerCallback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def _write(self, **event: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": "train", "time": time.time(), **event}) + "\n")

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._write(done=state.global_step, total=state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._write(done=state.global_step, total=state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        loss = (kwargs.get("logs") or {}).get("loss")
        if loss is not None and state.is_world_process_zero:
            rate = kwargs["logs"].get("tokens/train_per_sec_per_gpu")
            speed = {} if rate is None else {"tokens_per_second": float(rate)}
            self._write(done=state.global_step, total=state.max_steps, loss=float(loss), **speed)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._write(done=state.global_step, total=state.max_steps, saved=state.global_step)


class StopWhenDiverged(TrainerCallback):
    """Stops training when weights become NaN or Inf, before they are saved, because further steps would be
    wasted. transformers filters NaN from the losses that it logs, and continues.

    A NaN gradient alone does not count: fp16's scaler skips such steps. Raises RuntimeError."""

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = kwargs.get("logs") or {}
        numbers = [float(logs[name]) for name in ("loss", "grad_norm") if logs.get(name) is not None]
        if all(map(math.isfinite, numbers)):
            return
        for name, weight in kwargs["model"].named_parameters():
            local = getattr(weight, "to_local", lambda weight=weight: weight)()
            if weight.requires_grad and not bool(torch.isfinite(local).all()):
                raise RuntimeError(
                    f"training diverged: after step {state.global_step} weights of {name} are NaN or Inf. "
                    "Lower learning_rate, lengthen the warmup or set max_grad_norm; the last checkpoint "
                    "is from before."
                )


class StopWhenAsked(TrainerCallback):
    """Saves a checkpoint after the step during which the file `path` appeared, then exits with the code for
    "stopped, state saved". Evaluation is skipped, because there is little time left.

    Such a checkpoint is marked. The next saved checkpoint replaces it, so that the trainer, which keeps the
    newest few, keeps the same checkpoints as without the stop."""

    def __init__(self, path: Path) -> None:
        self.path, self.stopping = path, False
        self.planned = True  # whether the checkpoint being saved now was due anyway

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        stop = self.path.exists()
        if args.world_size > 1:  # all processes stop after the same step
            flag = torch.tensor(int(stop), device=args.device)
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            stop = bool(flag.item())
        if stop and state.global_step < state.max_steps:
            self.stopping, self.planned = True, control.should_save
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False
        if control.should_save and state.is_world_process_zero:
            set_unplanned_aside(self.path.parent)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            if not self.planned:
                (self.path.parent / f"checkpoint-{state.global_step}" / UNPLANNED).touch()
            shutil.rmtree(self.path.parent / ASIDE, ignore_errors=True)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.stopping:
            control.should_evaluate = False

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.stopping:
            if args.world_size > 1:  # torchrun stops the others when one process ends
                torch.distributed.barrier()
            raise SystemExit(STOPPED)


class Measure(BasePlugin):
    """Write the cost of each step to `bench.json` in the output folder (tunebook/plugins/meter.py)."""

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        pad = trainer.processing_class.pad_token_id
        return [Meter(Path(cfg.output_dir) / "bench.json", trainer.model, pad)]
