"""The models of a run, loaded for evaluation and prediction."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

from tunebook.ranks import Ranks


@functools.cache
def weights_hash(folder: Path) -> str:
    """Return the SHA-256 over the weight files and adapter config of a model folder."""
    total = hashlib.sha256()
    files = [*folder.glob("*.safetensors"), *folder.glob("adapter_config.json")]
    for path in sorted(files):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


class Models:
    """Loads the base and the tuned model, each at most once and only when a job needs it."""

    def __init__(self, config: dict[str, Any], model_folder: Path, here: Ranks) -> None:
        import torch
        from transformers import AutoTokenizer

        self.config, self.tuned_folder = config, model_folder
        self.tokenizer = AutoTokenizer.from_pretrained(model_folder)
        cuda = torch.cuda.is_available()
        self.device = f"cuda:{here.local}" if cuda else "cpu"
        bf16 = config.get("bf16")
        if bf16 == "auto":
            bf16 = cuda and torch.cuda.is_bf16_supported()
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        # Ranking labels needs a mask of its own, which flash attention does not take.
        wanted = config.get("attn_implementation")
        self.attention = wanted if wanted in ("eager", "sdpa") else "sdpa"
        self._open: dict[str, Any] = {}

    def fingerprint(self, name: str) -> dict[str, Any]:
        """Return what decides the results of `name` ("base" or "tuned") beside the prompts."""
        base = Path(self.config["base_model"])
        facts: dict[str, Any] = {
            "base": weights_hash(base) if base.is_dir() else str(base),
            "revision": self.config.get("revision_of_model"),
            "dtype": str(self.dtype),
            "attention": self.attention,
            "device": self.device.partition(":")[0],
            "versions": {p: importlib.metadata.version(p) for p in ("torch", "transformers", "peft")},
        }
        if name != "base":
            facts |= {"tuned": weights_hash(self.tuned_folder), "quantised": self.quantised}
        return facts

    @property
    def quantised(self) -> bool:
        """Whether the adapter was trained on a base of 4 or 8 bits: it is evaluated on just that."""
        return bool(self.config.get("load_in_4bit") or self.config.get("load_in_8bit"))

    def _quantisation(self) -> Any:
        """Return how Axolotl loads a base for training (axolotl.loaders.model, _set_quantization_config)."""
        from transformers import BitsAndBytesConfig

        if self.config.get("load_in_8bit"):
            return BitsAndBytesConfig(load_in_8bit=True)
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_compute_dtype=self.dtype,
            bnb_4bit_use_double_quant=True,
            bnb_4bit_quant_type="nf4",
        )

    def _load(self, name: str | Path, **options: Any) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(
            name,
            dtype=self.dtype,
            attn_implementation=self.attention,
            device_map={"": self.device},
            **options,
        )

    def open(self, name: str) -> Any:
        """Return the TokenLM called `name`: base, unmerged (the adapter beside its base) or tuned.

        The tuned model is the adapter merged into its base, or beside it where the base is quantised:
        merging would round it to weights that nobody trained on. The base itself is never quantised.
        """
        if name not in self._open:
            from peft import PeftModel

            from tunebook.lm import TokenLM

            self._open.clear()
            base, revision = self.config["base_model"], self.config.get("revision_of_model", "main")
            if name != "base" and not self.config.get("adapter"):
                model = self._load(self.tuned_folder)
            else:
                quantised = self.quantised and name != "base"
                options = {"quantization_config": self._quantisation()} if quantised else {}
                model = self._load(base, revision=revision, **options)
            if name != "base" and self.config.get("adapter"):
                model = PeftModel.from_pretrained(model, str(self.tuned_folder))
                if name == "tuned" and not self.quantised:
                    model = model.merge_and_unload()
            self._open[name] = TokenLM(model, self.tokenizer)
        return self._open[name]
