"""The models of a run, loaded for evaluation and prediction, and which engine runs which model."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import Any

import tunebook.plugins.bottleneck  # noqa: F401 (makes the method known to PEFT)
from tunebook.core.files import AxolotlConfig
from tunebook.core.paths import cache_folder
from tunebook.core.ranks import Ranks
from tunebook.evaluation.engines import tables, vllm
from tunebook.evaluation.engines.classifier import HeadLM
from tunebook.evaluation.engines.protocol import Engine, ModelSource
from tunebook.evaluation.engines.token_lm import TokenLM
from tunebook.models import methods
from tunebook.models.fingerprint import weights_hash
from tunebook.models.kernels import no_gpu_kernels_on_a_cpu
from tunebook.models.methods import merge_refusal
from tunebook.plugins.virtual_tokens import virtual_cache


class Models(ModelSource):
    """The saved models of a run, loaded one at a time and only when a job needs them."""

    def __init__(self, config: AxolotlConfig, model_folder: Path, here: Ranks) -> None:
        import torch
        from transformers import AutoTokenizer

        no_gpu_kernels_on_a_cpu()
        self.config = config
        self._folders = {"tuned": model_folder, "unmerged": model_folder}
        self.tokenizer = AutoTokenizer.from_pretrained(model_folder)
        cuda = torch.cuda.is_available()
        self.device = f"cuda:{here.local}" if cuda else "cpu"
        bf16 = config.get("bf16")
        if bf16 == "auto":
            bf16 = cuda and torch.cuda.is_bf16_supported()
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        # Ranking labels needs a custom attention mask, which flash attention does not support.
        wanted = config.get("attn_implementation")
        self.attention = wanted if wanted in ("eager", "sdpa") else "sdpa"
        self._open: dict[str, TokenLM | HeadLM] = {}
        self.served = vllm.command() is not None  # whether vLLM runs the models instead of transformers
        self._here = here
        self._server: vllm.Server | None = None

    def fingerprint(self, name: str) -> dict[str, Any]:
        base = Path(self.config["base_model"])
        facts: dict[str, Any] = {
            "base": weights_hash(base) if base.is_dir() else str(base),
            "revision": self.config.get("revision_of_model"),
            "dtype": str(self.dtype),
            "attention": self.attention,
            "device": self.device.partition(":")[0],
            "versions": {p: importlib.metadata.version(p) for p in ("torch", "transformers", "peft")},
        }
        if self.served:
            facts |= vllm.engine(self.config if name != "base" else {})
        if name != "base":
            facts |= {"tuned": weights_hash(self._folders[name]), "quantised": self.quantised}
        elif self.base_quantised:
            facts["quantised"] = True
        return facts

    @property
    def quantised(self) -> bool:
        """Whether the adapter was trained on a base model in 4 or 8 bits, and is therefore evaluated on
        one."""
        return bool(self.config.get("load_in_4bit") or self.config.get("load_in_8bit"))

    @property
    def base_quantised(self) -> bool:
        """Whether the plain base model is also evaluated in 4 or 8 bits: on a GPU, because the GPU was chosen
        for that size; not on a CPU, where 4 bits save no time."""
        return self.quantised and not self.served and self.device != "cpu"

    @property
    def precision(self) -> str | None:
        return str(self.dtype).removeprefix("torch.")

    @property
    def times(self) -> int:
        return vllm.TIMES if self.served else 1

    @property
    def head(self) -> bool:
        return methods.uses_head(self.config)

    @property
    def merged(self) -> bool:
        adapter = str(self.config.get("adapter") or "")
        apart = self.served or self.quantised or self.head or merge_refusal(adapter)
        return bool(adapter) and not apart

    def add_checkpoint(self, folder: Path) -> str:
        self._folders[folder.name] = folder
        return folder.name

    def _quantisation(self) -> Any:
        """Return how Axolotl quantises a base model for training (axolotl.loaders.model,
        _set_quantization_config)."""
        from transformers import BitsAndBytesConfig

        if self.config.get("load_in_8bit"):
            return BitsAndBytesConfig(load_in_8bit=True)
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_compute_dtype=self.dtype,
            bnb_4bit_use_double_quant=True,
            bnb_4bit_quant_type="nf4",
        )

    def _load(self, name: str | Path, kind: str = "AutoModelForCausalLM", **options: Any) -> Any:
        import transformers

        return getattr(transformers, kind).from_pretrained(
            name,
            dtype=self.dtype,
            attn_implementation=self.attention,
            device_map={"": self.device},
            **options,
        )

    def open(self, name: str, engine: bool = True) -> Engine:
        """Return the model called `name`: a TokenLM, a HeadLM for a classification head, or a ServedLM if
        vLLM is set up and `engine` is True.

        A fine-tuned model is the adapter merged into its base model. The adapter stays separate if its method
        cannot be merged or the base model is quantised, because merging would round the weights to values
        that were never trained.
        """
        if self.served and engine:
            self._open.clear()
            return self._served(name)
        if name not in self._open:
            self.close()
            if name == "base":
                base, revision = self.config["base_model"], self.config.get("revision_of_model", "main")
                options = {"quantization_config": self._quantisation()} if self.base_quantised else {}
                net = self._load(base, revision=revision, **options)
                # Prompts are encoded with the fine-tuned model's tokenizer, which may have new tokens.
                if len(self.tokenizer) > net.get_input_embeddings().num_embeddings:
                    tables.resize(net, len(self.tokenizer))
                self._open[name] = TokenLM(net, self.tokenizer)
            else:
                model, virtual = self._tuned(self._folders[name], merge=name != "unmerged" and self.merged)
                self._open[name] = (
                    HeadLM(model, self.tokenizer) if self.head else TokenLM(model, self.tokenizer, virtual)
                )
        return self._open[name]

    def close(self) -> None:
        self._open.clear()
        if self._server:
            self._server.close()
            self._server = None

    def _served(self, name: str) -> vllm.ServedLM:
        """Return the model called `name` on a vLLM server; the base model and its adapters share one
        server."""
        lora = self.config.get("adapter") == "lora"
        folder = self._folders.get(name)
        model = str(self.config["base_model"] if lora or folder is None else folder)
        if self._server and self._server.model != model:
            self.close()
        if not self._server:
            options = {"dtype": str(self.dtype).removeprefix("torch.")}
            if model == self.config["base_model"] and self.config.get("revision_of_model"):
                options["revision"] = self.config["revision_of_model"]
            self._server = vllm.Server(
                model,
                options,
                rank=int(self.config["lora_r"]) if lora else None,
                gpu=self._here.local if self._here.world > 1 else None,
                log=cache_folder() / "vllm" / f"{os.getpid()}.log",
            )
        served = self._server.adapter(folder) if lora and folder else vllm.BASE
        return vllm.ServedLM(self._server, served, self.tokenizer.eos_token_id)

    def _tuned(self, folder: Path, merge: bool) -> tuple[Any, Any]:
        """Load the fine-tuned model in `folder`; return it with the cache of its virtual tokens, or None."""
        options: dict[str, Any] = {}
        if self.head:
            options = {"kind": methods.HEAD_MODEL_TYPE, "num_labels": len(self.config["class_labels"])}
        if not self.config.get("adapter"):
            return self._load(folder, **options), None
        from peft import PeftModel

        if self.quantised:
            options["quantization_config"] = self._quantisation()
        base = self._load(
            self.config["base_model"], revision=self.config.get("revision_of_model", "main"), **options
        )
        tables.resize(base, tables.saved_rows(folder))
        model = PeftModel.from_pretrained(base, str(folder))
        virtual = virtual_cache(model)
        if virtual is not None:
            return model.get_base_model(), virtual
        return (tables.merge(model) if merge else model), None
