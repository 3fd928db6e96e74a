"""Check checkpoints before Axolotl resumes: it always takes the highest `checkpoint-N`, and crashes on a
damaged one even if an older checkpoint is intact. Needs no torch."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

from tunebook.core.files import whole_safetensors
from tunebook.runs.run import Run

ENCODER = "prompt_encoder.safetensors"  # written by tunebook/plugins/adapters.py
UNPLANNED = "unplanned"  # marks a checkpoint that was saved because training was stopped there
ASIDE = "replaced"  # folder for such checkpoints while the next one is written
NEEDED = ("trainer_state.json", "training_args.bin", "scheduler.pt")
# The optimizer state: of one process or DDP, of FSDP in one file or in shards, of DeepSpeed.
OPTIMIZER = ("optimizer.pt", "optimizer.bin", "optimizer_*/*", "global_step*/*")
RESUMED = "resumed.json"  # the steps of the checkpoints from which training was resumed
ROWS = "rows.json"  # in the training folder: the number of rows that Axolotl kept for training


def fault(checkpoint: Path) -> str | None:
    """Return what is wrong with a checkpoint folder, or None if it is intact."""
    for name in NEEDED:
        if not (checkpoint / name).is_file():
            return f"{name} is missing"
    if not any([*checkpoint.glob(pattern)] for pattern in OPTIMIZER):
        return "optimizer.pt is missing"
    if not [*checkpoint.glob("rng_state*.pth")]:
        return "rng_state.pth is missing"
    try:
        step = json.loads((checkpoint / "trainer_state.json").read_text())["global_step"]
    except (ValueError, KeyError, TypeError):
        return "trainer_state.json is incomplete"
    if step != int(checkpoint.name.partition("-")[2]):
        return f"trainer_state.json belongs to step {step}"
    weights = [*checkpoint.glob("*.safetensors")]
    if not weights:
        return "the weights are missing"
    for index in checkpoint.glob("*.safetensors.index.json"):
        try:
            shards = set(json.loads(index.read_text())["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"{index.name} is incomplete"
        for name in sorted(shards):
            if not (checkpoint / name).is_file():
                return f"{name} is missing"
    if _keeps_encoder(checkpoint) and not (checkpoint / ENCODER).is_file():
        return f"{ENCODER} is missing"
    for path in weights:
        if not whole_safetensors(path):
            return f"{path.name} is incomplete"
    for path in [*checkpoint.glob("*.pt"), *checkpoint.glob("*.pth"), *checkpoint.glob("optimizer.bin")]:
        if not _whole_zip(path):
            return f"{path.name} is incomplete"
    return None


def _keeps_encoder(checkpoint: Path) -> bool:
    """Return whether a network generates the adapter's virtual tokens; PEFT saves only its output."""
    path = checkpoint / "adapter_config.json"
    adapter = json.loads(path.read_text()) if path.is_file() else {}
    return adapter.get("peft_type") == "P_TUNING" or bool(adapter.get("prefix_projection"))


def _whole_zip(path: Path) -> bool:
    """Return whether a zip file written by torch.save is complete, by its checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError):
        return False


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """Return (N, path) of every `checkpoint-N` in `folder`, lowest first."""
    pairs = [(path.name.partition("-")[2], path) for path in folder.glob("checkpoint-*")]
    return sorted((int(number), path) for number, path in pairs if number.isdecimal())


def set_unplanned_aside(folder: Path) -> None:
    """Hide marked checkpoints from the trainer by moving them into `folder`/replaced/."""
    for _, path in numbered(folder):
        if (path / UNPLANNED).is_file():
            (folder / ASIDE).mkdir(exist_ok=True)
            path.rename(folder / ASIDE / path.name)


def bring_back(folder: Path) -> None:
    """Undo `set_unplanned_aside`, after a kill while the next checkpoint was being written."""
    for _, path in numbered(folder / ASIDE):
        if not (folder / path.name).exists():
            path.rename(folder / path.name)


def set_broken_aside(folder: Path) -> tuple[list[str], int | None]:
    """Move broken `checkpoint-N` folders in `folder` into `folder`/broken/.

    Returns:
        A line for each folder moved, and the step of the newest intact checkpoint (None if there is none).
    """
    moved, newest = [], None
    for step, path in numbered(folder):
        reason = fault(path)
        if reason is None:
            newest = step
            continue
        aside = folder / "broken"
        aside.mkdir(exist_ok=True)
        number = len([*aside.iterdir()])
        path.rename(aside / f"{number}-{path.name}")
        moved.append(f"{path.name} was moved to {folder.name}/broken/: {reason}")
    return moved, newest


SHIPPED = [
    *("*.safetensors", "adapter_config.json", "config.json", "generation_config.json"),
    *("tokenizer*", "special_tokens_map.json", "chat_template.jinja", "vocab.json", "merges.txt"),
]


def ship(source: Path, run: Run) -> None:
    """Fill model/ with the files in `source` that are needed to use the model. The network that generated
    virtual tokens during training is not one of them."""
    model = run / "model.partial"
    shutil.rmtree(model, ignore_errors=True)
    model.mkdir()
    adapter = (source / "adapter_config.json").is_file()
    for pattern in SHIPPED:
        for path in source.glob(pattern):
            if path.name != ENCODER and not (adapter and path.match("model*.safetensors*")):
                shutil.copy2(path, model / path.name)
    if not adapter:
        _say_dtype(model)
    shutil.rmtree(run / "model", ignore_errors=True)
    model.rename(run / "model")


# Dtype names in the safetensors header and in config.json.
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def _say_dtype(model: Path) -> None:
    """Write the precision of the weights into config.json, because other programs load a model in the
    precision that it names."""
    path, kinds = model / "config.json", set()
    for weights in model.glob("model*.safetensors"):
        with weights.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        kinds |= {item["dtype"] for name, item in header.items() if name != "__metadata__"}
    named = {DTYPES[kind] for kind in kinds if kind in DTYPES}
    if not path.is_file() or len(named) != 1:
        return  # mixed dtypes: keep what the trainer wrote
    config, (dtype,) = json.loads(path.read_text(encoding="utf-8")), named
    if config.pop("torch_dtype", dtype) != dtype or config.get("dtype") != dtype:
        config["dtype"] = dtype
        path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
