"""DeepSpeed's own parser reads what hardware/deepspeed/ says, as transformers completes it for a training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.lazy import lazy
from tunebook.config import recipe
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.paths import ROOT
from tunebook.hardware.memory_settings import sharding

transformers, integration = lazy("transformers"), lazy("transformers.integrations.deepspeed")
deepspeed = lazy("deepspeed.runtime.config")
STAGES = {"zero1": 1, "zero2": 2, "zero3": 3, "zero3-offload": 3}


def test_every_file_belongs_to_an_overlay() -> None:
    files = {path.stem for path in (ROOT / "hardware" / "deepspeed").glob("*.json")}
    assert files == set(STAGES)
    assert all((ROOT / "hardware" / f"8x80gb-{name}.yaml").is_file() for name in files)


@pytest.mark.parametrize("name", STAGES)
def test_deepspeed_reads_the_settings(name: str, tmp_path: Path) -> None:
    config = resolve(
        recipe.load_recipe("chat-full-8b"), Options("real", f"8x80gb-{name}"), for_this_machine=False
    ).config
    settings = integration.HfTrainerDeepSpeedConfig(str(ROOT / config["deepspeed"]))
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        max_grad_norm=0.7,
        bf16=True,
        use_cpu=True,
    )
    integration.unset_hf_deepspeed_config()  # or the models of later tests would be made for it
    settings.trainer_config_process(arguments)
    settings.trainer_config_finalize(arguments, tiny.model(), num_training_steps=10)
    read = deepspeed.DeepSpeedConfig(settings.config)
    stage, how = STAGES[name], "offload" if "offload" in name else name
    assert read.zero_config.stage == stage and sharding(config, 8) == how
    assert (read.train_batch_size, read.gradient_clipping, read.bfloat16_config.enabled) == (8, 0.7, True)
    offloaded = read.zero_config.offload_optimizer is not None
    assert offloaded == (read.zero_config.offload_param is not None) == (how == "offload")
    assert read.zero_config.gather_16bit_weights_on_model_save == (stage == 3)
    assert "auto" not in json.dumps(settings.config)
