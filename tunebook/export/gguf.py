"""GGUF files of a run: full weights by llama.cpp's converter, quantised by its tool, or the LoRA alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tunebook.core.errors import InputError, TunebookError
from tunebook.core.files import read_json, write_json
from tunebook.core.paths import child_environment, show
from tunebook.models import llama_cpp
from tunebook.models.fingerprint import weights_hash
from tunebook.runs.run import Run

CONVERTER = (sys.executable, "-m", "tunebook.export.convert_gguf")
PLAIN = ("f32", "f16", "bf16", "q8_0")  # that the converter writes by itself
# Types of llama-quantize (tools/quantize/quantize.cpp) that need no importance matrix.
QUANTISED = tuple("q2_k q3_k_s q3_k_m q3_k_l q4_0 q4_1 q4_k_s q4_k_m q5_0 q5_1 q5_k_s q5_k_m q6_k".split())
ADAPTER = "lora"


def parse_quant(text: str) -> list[str]:
    """Return the types that QUANT= names, small letters, each once.

    Raises:
        InputError: an unknown one.
    """
    names = list(dict.fromkeys(name.lower() for name in text.replace(",", " ").split()))
    for name in names:
        if name not in (*PLAIN, *QUANTISED):
            raise InputError(
                f"--quant (QUANT=): no such type {name!r}. There are {', '.join((*PLAIN, *QUANTISED))}.",
                code="option.unknown_quant",
            )
    return names


def path_of(run: Run, quant: str) -> Path:
    """Return where the GGUF file of `run` with this type lies, or will lie."""
    return run / "export" / "gguf" / f"{run.settings()['recipe']}-{quant}.gguf"


def convert(run: Run, weights: Path, quant: str) -> Path:
    """Write the GGUF file of the full weights in the folder `weights`, whole or not at all.

    Types that the converter does not write are quantised from the file in the precision of the weights, which
    is left beside it.

    Raises:
        TunebookError: llama.cpp's program failed; the message holds its last line.
    """
    if quant in PLAIN:
        words = [*CONVERTER, str(llama_cpp.folder()), "convert_hf_to_gguf.py", str(weights)]
        words += ["--outtype", quant, "--outfile"]
        return _made(run, weights, quant, words)
    precision = read_json(weights / "config.json").get("dtype")
    whole = convert(run, weights, "f32" if precision == "float32" else "bf16")
    return _made(run, weights, quant, [str(llama_cpp.tool("llama-quantize")), str(whole)], quant.upper())


def convert_adapter(run: Run) -> Path:
    """Write the LoRA of `run` as a GGUF adapter for its unchanged base (`llama-server --lora`)."""
    script = llama_cpp.tool("convert_lora_to_gguf.py")
    words = [
        sys.executable,
        str(script),
        str(run / "model"),
        "--base",
        run.config()["base_model"],
        "--outfile",
    ]
    return _made(run, run / "model", ADAPTER, words)


def _made(run: Run, weights: Path, quant: str, words: list[str], *after: str) -> Path:
    """Run `words FILE after` for the file of type `quant`, unless it is there and was made of `weights`."""
    target = path_of(run, quant)
    target.parent.mkdir(parents=True, exist_ok=True)
    source, made_of = target.with_suffix(".json"), {"weights": weights_hash(weights)}
    if target.is_file() and read_json(source, {}) == made_of:
        return target
    source.unlink(missing_ok=True)
    partial = target.with_suffix(".partial")
    _run([*words, str(partial), *after], run)
    os.replace(partial, target)
    write_json(source, made_of)
    return target


def _run(words: list[str], run: Run) -> None:
    environment = child_environment() | {"HF_HUB_OFFLINE": "1"}
    with run.log.open("ab") as log:
        start = log.tell()
        ended = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    if ended.returncode:
        with run.log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode("utf-8", "replace").strip().splitlines() or [""]
        raise TunebookError(
            f"{Path(words[4] if words[:3] == [*CONVERTER] else words[0]).name} failed: {lines[-1]}\n"
            f"The log: {show(run.log)}",
            code="export.conversion_failed",
        )
