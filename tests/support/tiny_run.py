"""A finished LoRA run on the tiny random model: what the verbs after the report start from, untrained."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from tests.support import tiny
from tests.support.helpers import make_run
from tunebook.core.files import read_json, write_json
from tunebook.data.dataset import load_dataset_config
from tunebook.models.fingerprint import weights_hash
from tunebook.report.report import write_report
from tunebook.report.verdict import compare
from tunebook.runs.run import Run


def lora_run(folder: Path) -> Run:
    """Write base and run to `folder`: a chat run with a report, and an adapter with random weights."""
    import torch
    from peft import LoraConfig, get_peft_model

    base = tiny.save(folder / "base")
    run = make_run(folder / "run", "chat")
    shutil.copy2(run / "data" / "test.jsonl", run / "data" / "dev.jsonl")
    compare(run)
    write_report(run)
    for stage in ("compare", "report"):
        run.mark(stage, "done", 1.0)
    config = {"base_model": str(base), "adapter": "lora", "lora_r": 8, "bf16": False, "sequence_len": 128}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    settings = run.settings()
    dataset = load_dataset_config("kettlewick-chat").model_dump(mode="json", exclude={"folder"})
    settings |= {"base_model": str(base), "recipe": "mine", "dataset": {**dataset, "rules": {}}}
    settings["suite"] |= {"agreement_rows": 0}
    write_json(run / "settings.json", settings)
    write_json(run / "manifest.json", read_json(run / "manifest.json") | {"base_weights": weights_hash(base)})
    model = get_peft_model(tiny.model(), LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    model.save_pretrained(run / "model")
    tiny.tokenizer().save_pretrained(run / "model")
    return run
