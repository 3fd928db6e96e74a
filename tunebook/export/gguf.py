"""GGUF files of a run: full weights from llama.cpp's converter, quantised by its tool, or only the LoRA."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from tunebook.core.console import Console
from tunebook.core.errors import InputError, TunebookError
from tunebook.core.files import file_sha256, read_json, write_json
from tunebook.core.logs import masked
from tunebook.core.paths import child_environment, show
from tunebook.core.process import run_command
from tunebook.core.system_errors import raise_if_full
from tunebook.models import llama_cpp
from tunebook.models.fingerprint import weights_hash
from tunebook.runs.run import MERGED, Run

CONVERTER = (sys.executable, "-m", "tunebook.export.convert_gguf")
PLAIN = ("f32", "f16", "bf16", "q8_0")  # types that the converter writes directly
# Types of llama-quantize (tools/quantize/quantize.cpp) that need no importance matrix.
QUANTISED = tuple("q2_k q3_k_s q3_k_m q3_k_l q4_0 q4_1 q4_k_s q4_k_m q5_0 q5_1 q5_k_s q5_k_m q6_k".split())
ADAPTER = "lora"


def parse_quant(text: str) -> list[str]:
    """Return the distinct types in QUANT=, in lower case.

    Raises:
        InputError: a type is unknown.
    """
    names = list(dict.fromkeys(name.lower() for name in text.replace(",", " ").split())) or [""]
    for name in names:
        known = (*PLAIN, *QUANTISED, ADAPTER)
        if name not in known:
            raise InputError(
                f"--quant (QUANT=): unknown type {name!r}. Available: {', '.join(known)}.",
                code="option.unknown_quant",
            )
    return names


def path_of(run: Run, quant: str) -> Path:
    """Return the path of the GGUF file of `run` with this type, which may not exist yet."""
    return run / "export" / "gguf" / f"{run.settings()['recipe']}-{quant}.gguf"


def convert(run: Run, weights: Path, quant: str, console: Console) -> Path:
    """Write the GGUF file of the full weights in the folder `weights`, completely or not at all.

    Types that the converter does not write are quantised from a file in the precision of the weights, which
    is kept next to the result.

    Raises:
        TunebookError: llama.cpp's program failed; the message has its last output line.
        OSError: the disk is full.
    """
    target = path_of(run, quant)
    if quant in PLAIN:
        return _made(run, weights, target, _converter(weights, quant, run.settings()["recipe"]), console)
    whole = convert(run, weights, _precision(weights), console)
    words = [str(llama_cpp.tool("llama-quantize")), str(whole)]
    return _made(run, weights, target, words, console, quant.upper())


def convert_adapter(run: Run, console: Console) -> list[Path]:
    """Write the LoRA of `run` as a GGUF adapter (`llama-server --lora`), and its unchanged base model in
    export/base; return base model and adapter.

    Raises:
        InputError: not a LoRA on an unquantised base model in a folder.
    """
    config = run.config()
    base = Path(config["base_model"])
    if config.get("adapter") != "lora" or config.get("peft_use_dora") or config.get("lora_modules_to_save"):
        raise InputError(
            "--quant lora (QUANT=lora): only plain LoRA has a GGUF adapter; export full weights instead.",
            code="export.no_gguf_adapter",
        )
    if not base.is_dir():
        raise InputError(
            f"--quant lora (QUANT=lora): {base} is not a folder on this machine. Export full weights "
            "instead.",
            code="export.no_gguf_adapter",
        )
    precision = _precision(base)
    whole = run / "export" / "base" / f"{base.name}-{precision}.gguf"
    script = llama_cpp.tool("convert_lora_to_gguf.py")
    with tempfile.TemporaryDirectory() as scratch:
        named = Path(scratch) / run.settings()["recipe"]  # this converter names the file after the folder
        named.symlink_to((run / "model").resolve())
        words = [sys.executable, str(script), str(named), "--base", str(base), "--outtype", precision]
        return [
            _made(run, base, whole, _converter(base, precision, base.name), console),
            _made(run, run / "model", path_of(run, ADAPTER), [*words, "--outfile"], console),
        ]


def _precision(weights: Path) -> str:
    return "f32" if read_json(weights / "config.json").get("dtype") == "float32" else "bf16"


def _converter(weights: Path, quant: str, name: str) -> list[str]:
    """Return the words of the converter; without `name`, the file would be called after a scratch folder in
    the lists of llama.cpp, Ollama and LM Studio."""
    words = [*CONVERTER, str(llama_cpp.folder()), "convert_hf_to_gguf.py", str(weights)]
    return [*words, "--model-name", name, "--outtype", quant, "--outfile"]


def _made(run: Run, weights: Path, target: Path, words: list[str], console: Console, *after: str) -> Path:
    """Run `words FILE after` to create the file `target`, unless it already exists as created from
    `weights`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source, made_of = target.with_suffix(".json"), {"weights": weights_hash(weights)}
    with FileLock(target.with_suffix(".lock")):
        made = read_json(source, {})
        if target.is_file() and made == {**made_of, "sha256": file_sha256(target)}:
            return target
        if target.is_file() and made:
            console.note(f"{show(target)} was not made from these weights; exporting it again")
        source.unlink(missing_ok=True)
        partial = target.with_suffix(".partial")
        try:
            _run([*words, str(partial), *after], run, target)
        except Exception:
            partial.unlink(missing_ok=True)
            raise
        os.replace(partial, target)
        write_json(source, {**made_of, "sha256": file_sha256(target)})
    return target


def of_this_run(run: Run, file: Path) -> bool:
    """Return whether a GGUF file is unchanged and was made from the current weights of `run`."""
    folders = [folder for folder in (run / MERGED, run / "model") if folder.is_dir()]
    made = read_json(file.with_suffix(".json"), {})
    return made.get("weights") in map(weights_hash, folders) and made.get("sha256") == file_sha256(file)


def _run(words: list[str], run: Run, target: Path) -> None:
    environment = child_environment() | {"HF_HUB_OFFLINE": "1"}
    with masked(run.log) as output:
        start = run.log.stat().st_size
        ended = run_command(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
    if ended.returncode:
        with run.log.open("rb") as log:
            log.seek(start)
            text = log.read().decode("utf-8", "replace")
        raise_if_full(text, target)
        lines = text.strip().splitlines() or [""]
        raise TunebookError(
            f"{Path(words[4] if words[:3] == [*CONVERTER] else words[0]).name} failed: {lines[-1]}\n"
            f"Log: {show(run.log)}",
            code="export.conversion_failed",
        )
