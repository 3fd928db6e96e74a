"""An Axolotl plugin that trains the text model of a base model that also sees."""

from __future__ import annotations

from typing import Any

from axolotl.integrations.base import BasePlugin

from tunebook.models.kernels import no_gpu_kernels_on_a_cpu


class TextOnly(BasePlugin):
    """Load the base model as AutoModelForCausalLM does, as do evaluation and merging: Qwen3.5 without its
    vision tower. Axolotl takes a base model with a vision tower for one that is tuned on images. It loads an
    image processor, which needs torchvision, and the whole model, whose layers have other names, so that
    PEFT would find no weight of the adapter in the text model."""

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> None:
        """Called after Axolotl has decided and before it loads anything."""
        no_gpu_kernels_on_a_cpu()
        cfg.is_multimodal = False
        cfg.processor_config = None
