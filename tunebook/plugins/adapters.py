"""An Axolotl plugin for `adapter: prompt_tuning | p_tuning | prefix_tuning | ia3 | bottleneck`.

Each method is a PEFT config built from flat YAML keys (tunebook/config/adapter_keys.py), so that Axolotl
trains and saves it like LoRA. A network that generates virtual tokens is saved next to each checkpoint: PEFT
saves only its output, from which training could not resume.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import torch
from axolotl.integrations.base import AdapterCapabilities, BasePlugin
from axolotl.loaders.adapter import _get_peft_task_type
from peft import PeftConfig
from peft.utils import load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from tunebook.models.methods import METHODS, has_encoder
from tunebook.plugins.bottleneck import BottleneckConfig
from tunebook.runs.checkpoints import ENCODER

# Keys, values and the input of the second feed-forward layer: Liu et al. 2022, arXiv 2205.05638.
IA3_TARGETS, IA3_FEEDFORWARD = ["k_proj", "v_proj", "down_proj"], ["down_proj"]
BOTTLENECK_TARGETS = ["o_proj", "down_proj"]


def build_config(cfg: Any, task_type: Any) -> PeftConfig:
    """Return the PEFT config defined by the YAML keys of `cfg`; PEFT's defaults fill in the rest."""

    def given(*keys: str) -> dict[str, Any]:
        return {key: cfg[key] for key in keys if cfg[key] is not None}

    common = {"task_type": task_type, **given("num_virtual_tokens")}
    if cfg.adapter == "prompt_tuning":
        text = {"tokenizer_name_or_path": cfg.base_model} if cfg.prompt_tuning_init == "TEXT" else {}
        return peft.PromptTuningConfig(
            **common, **text, **given("prompt_tuning_init", "prompt_tuning_init_text")
        )
    if cfg.adapter == "p_tuning":
        encoder = given(
            "encoder_hidden_size", "encoder_reparameterization_type", "encoder_num_layers", "encoder_dropout"
        )
        return peft.PromptEncoderConfig(**common, **encoder)
    if cfg.adapter == "prefix_tuning":
        return peft.PrefixTuningConfig(**common, **given("prefix_projection", "encoder_hidden_size"))
    if cfg.adapter == "ia3":
        return peft.IA3Config(
            **common,
            target_modules=list(cfg.ia3_target_modules or IA3_TARGETS),
            feedforward_modules=list(cfg.ia3_feedforward_modules or IA3_FEEDFORWARD),
        )
    return BottleneckConfig(
        **common,
        size=cfg.bottleneck_size,
        target_modules=list(cfg.bottleneck_target_modules or BOTTLENECK_TARGETS),
        layers_to_transform=cfg.peft_layers_to_transform,
    )


class Adapters(BasePlugin):
    """Registers the methods with Axolotl."""

    def get_input_args(self) -> str:
        return "tunebook.config.adapter_keys.AdapterArguments"

    def get_adapter_capabilities(self) -> list[AdapterCapabilities]:
        return [AdapterCapabilities(name=name) for name in METHODS]

    def load_adapter(
        self, model: Any, cfg: Any, inference: bool = False, config_only: bool = False
    ) -> tuple[Any, PeftConfig] | None:
        if cfg.adapter not in METHODS:
            return None
        config = build_config(cfg, _get_peft_task_type(model))
        if config_only:
            return None, config
        # IA3's factors start at 1, where bf16 has steps of 0.008, so they are always kept in fp32.
        cast = cfg.adapter == "ia3" or cfg.peft_autocast_adapter_dtype is not False
        tuned: Any = peft.get_peft_model(model, config, autocast_adapter_dtype=cast)
        if cfg.prefix_init_std:
            torch.nn.init.normal_(tuned.prompt_encoder["default"].embedding.weight, std=cfg.prefix_init_std)
        if cfg.lora_model_dir:  # PeftModel.from_pretrained refuses to train virtual tokens
            set_peft_model_state_dict(tuned, load_peft_weights(cfg.lora_model_dir, device="cpu"))
        tuned.print_trainable_parameters()
        return tuned, config

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        if has_encoder(cfg):
            keep_encoder(trainer)


class _SaveEncoder(TrainerCallback):
    """Writes the network into each checkpoint."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            encoder = _encoder(kwargs["model"])
            save_file(
                {key: value.contiguous() for key, value in encoder.state_dict().items()}, folder / ENCODER
            )


def _encoder(model: Any) -> torch.nn.Module:
    return getattr(model, "module", model).prompt_encoder["default"]  # `module` under DDP


def keep_encoder(trainer: Any) -> None:
    """Make `trainer` save and load the network that generates the virtual tokens, instead of its output.

    The trainer has no hook for loading, and PEFT would load the output as if it were the network's input.
    """
    trainer.add_callback(_SaveEncoder())

    def load(checkpoint: str, model: Any = None) -> None:
        _encoder(model or trainer.model).load_state_dict(load_file(Path(checkpoint) / ENCODER))

    trainer._load_from_checkpoint = load
    trainer._load_best_model = lambda: load(trainer.state.best_model_checkpoint)
