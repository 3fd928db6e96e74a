"""Bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751) as a PEFT method.

`h + up(gelu(down(h)))` with a small hidden size is applied after the attention's output projection and after
the feed-forward layer, in both cases before the residual sum. Weights near zero make it the identity at the
start. Unlike in the paper, the base model's norms are not trained. PEFT 0.20 has no such method; importing
this module registers one, so that `PeftModel.from_pretrained` and `save_pretrained` support it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from peft.config import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import PeftType, register_peft_method
from torch import nn

from tunebook.models.methods import merge_refusal

NAME = "BOTTLENECK"
INIT_STD = 0.01  # section 3.6 of the paper: N(0, 0.01), truncated at two standard deviations


def _add_method(name: str) -> None:
    """Add `name` to PEFT's enumeration of methods: `register_peft_method` asks for an entry there, and
    Python has no public API to add one."""
    if name in PeftType.__members__:
        return
    member = str.__new__(PeftType, name)
    member._name_ = member._value_ = name
    setattr(PeftType, name, member)
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = member
    PeftType._value2member_map_[name] = member


@dataclass
class BottleneckConfig(PeftConfig):
    """`size` is the width of the adapters; `layers_to_transform` counts from 0 (None: every layer)."""

    size: int = 64
    target_modules: list[str] | str | None = None
    layers_to_transform: list[int] | None = None
    layers_pattern: str | None = None
    modules_to_save: list[str] | None = field(default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType(NAME)


class BottleneckLayer(nn.Module, BaseTunerLayer):
    """A linear layer of the base model, followed by an adapter."""

    adapter_layer_names = ("bottleneck_down", "bottleneck_up")

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: BottleneckConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.merged_adapters: list[str] = []
        linear: Any = self.get_base_layer()
        self.width: int = linear.out_features
        self.bottleneck_down, self.bottleneck_up = nn.ModuleDict(), nn.ModuleDict()
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    def update_layer(self, adapter_name: str, config: BottleneckConfig) -> None:
        """Add an adapter that starts as nearly the identity."""
        down, up = nn.Linear(self.width, config.size), nn.Linear(config.size, self.width)
        for linear in (down, up):
            nn.init.trunc_normal_(linear.weight, std=INIT_STD, a=-2 * INIT_STD, b=2 * INIT_STD)
            nn.init.zeros_(linear.bias)
        self.bottleneck_down[adapter_name], self.bottleneck_up[adapter_name] = down, up
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise NotImplementedError(merge_refusal("bottleneck"))

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        result = self.base_layer(x, *args, **kwargs)
        for name in [] if self.disable_adapters else self.active_adapters:
            if name in self.bottleneck_down:
                down: Any = self.bottleneck_down[name]
                up: Any = self.bottleneck_up[name]
                hidden = nn.functional.gelu(down(self._cast_input_dtype(result, down.weight.dtype)))
                result = result + up(hidden).to(result.dtype)
        return result


class BottleneckModel(BaseTuner):
    """Wraps every targeted linear layer in a BottleneckLayer."""

    prefix = "bottleneck_"
    tuner_layer_cls = BottleneckLayer
    target_module_mapping: dict[str, list[str]] = {}  # the plugin always names them

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if isinstance(target, BottleneckLayer):
            target.update_layer(adapter_name, peft_config)
        elif isinstance(target, nn.Linear):
            layer = BottleneckLayer(target, adapter_name, peft_config)
            self._replace_module(parent, target_name, layer, target)
        else:
            raise ValueError(
                f"bottleneck: {current_key} is not a linear layer (got {type(target).__name__})."
            )


_add_method(NAME)
register_peft_method(name=NAME.lower(), config_cls=BottleneckConfig, model_cls=BottleneckModel)
