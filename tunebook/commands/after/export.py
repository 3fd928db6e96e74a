"""`tunebook merge` and `tunebook export`: exported files of a run, with their score measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tunebook.commands.options import RunName
from tunebook.commands.options import console as command_console
from tunebook.core.console import Console
from tunebook.core.errors import GATE_FAILED, GOOD, InputError
from tunebook.core.paths import show
from tunebook.export import gguf, merge, ollama, openllm
from tunebook.export.parity import measure_parity
from tunebook.metrics.schema import ParityLine
from tunebook.models import llama_cpp
from tunebook.report.parity import again, parity_lines, show_lines
from tunebook.report.report import write_report
from tunebook.report.verdict import compare
from tunebook.runs.model_files import find_with_model
from tunebook.runs.run import Run

DEFAULT_QUANT = "q8_0"
Measure = Annotated[
    bool, typer.Option("--measure/--no-measure", help="answer the same rows again and compare")
]


def merged(run: Run, console: Console) -> Path:
    """Return the full weights of a run, and print the memory use and scores of their merge."""
    folder = merge.ensure(run, console)
    facts = merge.made_of(folder)
    if facts is None:
        console.stage("merge", f"{show(folder)} already contains full weights")
        return folder
    console.stage("merge", f"{show(folder)}, {facts['peak_bytes'] / 2**30:.1f} GiB of peak memory")
    if "dev" in facts:
        values = ", ".join(f"{way} {facts['dev'][way]:.4f}" for way in ("run", *merge.WAYS))
        console.note(
            f"{facts['metric']} on dev: {values}. Kept the adapter merged into the {facts['way']} weights."
        )
    return folder


def finish(run: Run, lines: list[ParityLine], console: Console) -> int:
    """Write the lines into metrics.json and the report, show them, and return the exit code."""
    if lines:
        with run.locked():
            compare(run)
            write_report(run)
        show_lines(lines, console)
        for name in parity_lines(run)[1]:
            console.note(again(name))
    return GOOD if all(line["passed"] for line in lines) else GATE_FAILED


def as_weights(run: Run, measure: bool, console: Console) -> int:
    """Merge a run and measure the full weights; return the exit code."""
    folder = merged(run, console)
    return finish(run, [measure_parity(run, "merged", [folder], console)] if measure else [], console)


def merge_command(run: RunName, measure: Measure = True) -> int:
    """Merge a run's adapter into its base model, and measure the result."""
    return as_weights(find_with_model(run, "report"), measure, command_console())


def export_command(
    run: RunName,
    to: Annotated[
        Literal["safetensors", "gguf", "ollama", "openllm"],
        typer.Option(help="full weights for transformers, vLLM and SGLang; llama.cpp; Ollama; OpenLLM"),
    ],
    quant: Annotated[
        str | None, typer.Option(help="types of GGUF files, such as q8_0,q4_k_m,lora; default: q8_0")
    ] = None,
    measure: Measure = True,
) -> int:
    """Export a run's model (vLLM, llama.cpp, Ollama, OpenLLM) and measure it.

    The same test rows are answered with the exported file, and a table compares the scores.
    """
    console, found = command_console(), find_with_model(run, "report")
    if to == "safetensors":
        if quant:
            raise InputError(
                "--quant (QUANT=) only applies to GGUF files: TO=gguf or TO=ollama.",
                code="option.quant_needs_gguf",
            )
        return as_weights(found, measure, console)
    quants = gguf.parse_quant(quant or DEFAULT_QUANT)
    whole = [name for name in quants if name != gguf.ADAPTER]
    if to != "gguf" and not whole:
        raise InputError(
            f"--quant (QUANT=): TO={to} needs a type with full weights. Add one, such as q8_0.",
            code="option.quant_of_weights",
        )
    folder = merged(found, console) if whole else found / "model"
    llama_cpp.ensure(console)
    lines = []
    for name in quants:
        with console.timed(None, "export") as words:
            paths = (
                gguf.convert_adapter(found, console)
                if name == gguf.ADAPTER
                else [gguf.convert(found, folder, name, console)]
            )
            words.append(f"{show(paths[-1])}, {paths[-1].stat().st_size / 1e6:,.0f} MB")
        if measure:
            lines.append(measure_parity(found, f"gguf-{name}", paths, console))
    if to == "ollama":
        path = ollama.write(found, folder, gguf.path_of(found, whole[0]))
        console.stage("export", f"{show(path)}")
        console.note(f"ollama create {found.settings()['recipe']} -f {show(path)}")
    if to == "openllm":
        for name in whole:
            openllm.write(found, gguf.path_of(found, name), name)
        path = found / "export" / "openllm"
        console.stage("export", f"{show(path)}, a model repository of OpenLLM")
        console.note(f"OPENLLM_TEST_REPO={show(path)} openllm model list")
    return finish(found, lines, console)
