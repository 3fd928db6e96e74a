"""Repeat the training of a bench run in RUN with transformers, PEFT and TRL alone.

Started by `tunebook bench --against trl`, not by hand. Base model, rows, length, packing, batch, attention,
loss kernel, recomputation, optimizer and precision are those of RUN/config.yaml; the comparison shows what
Axolotl adds beyond them. TRL trains on every token of a row, Axolotl on the answers only; the FLOPs are the
same.

    .venv/bin/python -m tunebook.commands.bench_trl RUN
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from tunebook.core.process import begin_worker
from tunebook.plugins.meter import Meter


def main(run: Path) -> int:
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, set_seed
    from trl import SFTConfig, SFTTrainer

    from datasets import load_dataset  # type: ignore[attr-defined]

    config = yaml.safe_load((run / "config.yaml").read_text())
    cuda = torch.cuda.is_available()
    set_seed(config.get("seed", 42))
    if cuda and config.get("tf32"):
        torch.backends.cuda.matmul.allow_tf32 = True
    half = cuda and bool(config.get("bf16"))
    masters = "tunebook.plugins.Float32Weights" in config.get("plugins", [])
    dtype = torch.bfloat16 if half and not masters else torch.float32
    four = {}
    if config.get("load_in_4bit"):
        four["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    model = AutoModelForCausalLM.from_pretrained(
        config["base_model"],
        dtype=dtype,
        attn_implementation=config.get("attn_implementation", "sdpa"),
        device_map={"": 0} if cuda else None,
        **four,
    )
    tokenizer = AutoTokenizer.from_pretrained(config["base_model"])
    rows = load_dataset("json", data_files=str(run / "data" / "train.jsonl"), split="train")
    rows = rows.select_columns(["messages"])
    fused = bool(config.get("liger_fused_linear_cross_entropy"))
    arguments = SFTConfig(
        output_dir=str(run / "trl"),
        max_length=config["sequence_len"],
        packing=bool(config.get("sample_packing")),
        per_device_train_batch_size=config["micro_batch_size"],
        gradient_accumulation_steps=config["gradient_accumulation_steps"],
        max_steps=config["max_steps"],
        learning_rate=config["learning_rate"],
        lr_scheduler_type=config.get("lr_scheduler", "cosine"),
        optim=config.get("optimizer", "adamw_torch_fused"),
        bf16=half,
        use_cpu=not cuda,
        gradient_checkpointing=bool(config.get("gradient_checkpointing")),
        gradient_checkpointing_kwargs={"use_reentrant": False},
        use_liger_kernel=fused,
        liger_kernel_config={
            "fused_linear_cross_entropy": fused,
            "cross_entropy": False,
            "rms_norm": bool(config.get("liger_rms_norm")),
            "rope": bool(config.get("liger_rope")),
            "swiglu": bool(config.get("liger_glu_activation")),
        },
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        seed=config.get("seed", 42),
    )
    lora = None
    if config.get("adapter"):
        lora = LoraConfig(
            r=config["lora_r"],
            lora_alpha=config["lora_alpha"],
            lora_dropout=config.get("lora_dropout", 0.0),
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
    trainer = SFTTrainer(model, arguments, train_dataset=rows, processing_class=tokenizer, peft_config=lora)
    trainer.add_callback(Meter(run / "trl" / "bench.json", trainer.model, tokenizer.pad_token_id))  # type: ignore[arg-type]
    trainer.train()
    return 0


if __name__ == "__main__":
    begin_worker()
    raise SystemExit(main(Path(sys.argv[1]).resolve()))
