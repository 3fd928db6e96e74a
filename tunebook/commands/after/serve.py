"""`tunebook serve`: serve a run's fine-tuned model through an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import httpx
import typer

from tunebook.commands.after.export import DEFAULT_QUANT
from tunebook.commands.options import RunName
from tunebook.commands.options import console as command_console
from tunebook.core.console import Console
from tunebook.core.environment import environment
from tunebook.core.errors import GOOD, InputError, MachineError
from tunebook.core.files import digest, file_sha256
from tunebook.core.paths import child_environment, show
from tunebook.core.process import describe, running
from tunebook.core.ranks import wanted_threads
from tunebook.evaluation.engines import vllm
from tunebook.export import gguf, merge
from tunebook.export.ollama import usual_system
from tunebook.models import llama_cpp
from tunebook.models.fingerprint import weights_hash
from tunebook.models.methods import uses_head
from tunebook.runs.model_files import find_with_model
from tunebook.runs.run import Run

LOCAL = ("127.0.0.1", "localhost", "::1")
START = 900.0  # seconds until the server must respond


class Command(NamedTuple):
    """The command that starts a server, and the names of its model: the recipe's name, and a unique name for
    exactly these weights. The harness uses the second, because it caches answers by address and name
    (docs/endpoints.md)."""

    words: list[str]
    names: tuple[str, str]


def command_of(run: Run, engine: str, host: str, port: int, quant: str, console: Console) -> Command:
    """Return the server's command, creating the file that it needs.

    Raises:
        InputError: the engine cannot serve this run.
    """
    config, key = run.config(), environment().serve_key
    place = ["--host", host, "--port", str(port)]
    secret = ["--api-key", key.get_secret_value()] if key else []

    def named(hash: str) -> tuple[str, str]:
        recipe = str(run.settings()["recipe"])
        return recipe, f"{recipe}@{digest([engine, hash])[:10]}"

    if engine == "transformers":
        names = named(weights_hash(run / "model"))
        words = [sys.executable, "-m", "tunebook.commands.after.server", str(run.folder)]
        return Command([*words, host, str(port), *names], names)
    if uses_head(config):
        raise InputError(
            "--engine (ENGINE=): a classification head is served by transformers only.",
            code="serve.head_needs_transformers",
        )
    if engine == "llamacpp":
        weights = merge.ensure(run, console)
        llama_cpp.ensure(console)
        file = gguf.convert(run, weights, quant, console)
        names = named(file_sha256(file))
        words = [str(llama_cpp.tool("llama-server")), "--model", str(file), "--alias", ",".join(names)]
        if count := wanted_threads():
            words += ["--threads", str(count)]
        return Command([*words, *llama_cpp.SERVER_OPTIONS, *place, *secret], names)
    command = vllm.command()
    if command is None:
        raise InputError(
            f"--engine vllm (ENGINE=): set {vllm.COMMAND} to the `vllm` command in its environment.",
            code="serve.no_vllm",
        )
    why = vllm.refusal(config)
    if why is None and config.get("adapter"):
        names = named(weights_hash(run / "model"))
        words = ["serve", str(config["base_model"]), *vllm.with_adapters(int(config["lora_r"]))]
        words += ["--lora-modules", *(f"{name}={run / 'model'}" for name in names)]
        if config.get("revision_of_model"):
            words += ["--revision", str(config["revision_of_model"])]
    else:
        weights = merge.ensure(run, console)
        names = named(weights_hash(weights))
        words = ["serve", str(weights), "--served-model-name", *names]
    more = shlex.split(environment().vllm_args or "")
    return Command([*command, *words, *more, *place, *secret], names)


def one_quant(text: str | None, engine: str) -> str:
    """Return the type of the GGUF file to serve.

    Raises:
        InputError: QUANT= with another engine, several types, an adapter, or an unknown type.
    """
    if text and engine != "llamacpp":
        raise InputError("--quant (QUANT=) only applies to ENGINE=llamacpp.", code="option.quant_needs_gguf")
    quants = gguf.parse_quant(text or DEFAULT_QUANT)
    if len(quants) != 1 or quants[0] == gguf.ADAPTER:
        raise InputError(
            f"--quant (QUANT=): give exactly one type with full weights, such as q8_0 (got {text!r}).",
            code="option.quant_of_weights",
        )
    return quants[0]


def free_port(host: str, port: int) -> int:
    """Return `port`, or a free port for 0.

    Raises:
        MachineError: the port is in use.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError as error:
            raise MachineError(
                f"--port (PORT=): {host}:{port}: {error.strerror}. Choose another port.",
                code="serve.port_in_use",
            ) from None
        return int(one.getsockname()[1])


def wait_until_ready(child: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Wait until the server at `address` answers: llama-server takes connections long before, and says 503
    while it loads the model.

    Raises:
        MachineError: the server ended, or takes too long.
    """
    deadline = time.monotonic() + START
    with httpx.Client(timeout=5, trust_env=False) as client:
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise MachineError(
                    f"the server {describe(child.returncode)}. Its log: {show(log)}", code="serve.ended"
                )
            try:
                if client.get(f"{address}/models").status_code < 500:  # 401 where it wants a key
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
    raise MachineError(f"the server does not respond. Log: {show(log)}", code="serve.ended")


def serve_command(
    run: RunName,
    engine: Annotated[
        Literal["transformers", "llamacpp", "vllm"],
        typer.Option(help="llamacpp serves a GGUF file, vllm needs a GPU"),
    ] = "transformers",
    host: Annotated[
        str, typer.Option(help="addresses other than 127.0.0.1 need a key: TUNEBOOK_SERVE_KEY")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")] = 8000,
    quant: Annotated[
        str | None, typer.Option(help="type of the GGUF file for llamacpp; default: q8_0")
    ] = None,
) -> int:
    """Serve a run's model through an OpenAI-compatible endpoint.

    Stop it with Ctrl-C. A model with labels also has POST /v1/classify (transformers).
    """
    if host not in LOCAL and not environment().serve_key:
        raise InputError(
            f"--host (HOST=): {host} can be reached from other machines. Set TUNEBOOK_SERVE_KEY to a key "
            "that clients must send.",
            code="serve.key_needed",
        )
    console, found = command_console(), find_with_model(run, "train")
    kind = one_quant(quant, engine)
    merge.refuse_changed_base(found)
    port = free_port(host, port)
    command = command_of(found, engine, host, port, kind, console)
    variables = child_environment()
    if Path(found.placement()["base_model"]).is_dir():
        variables.setdefault("HF_HUB_OFFLINE", "1")
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
    log = found / f"serve-{engine}.log"
    with running(command.words, variables, log) as (child, _):
        try:
            signal.signal(signal.SIGTERM, lambda *_: child.terminate())
            wait_until_ready(child, address, log)
            console.stage("serve", f"{address}, model {command.names[0]}; stop it with Ctrl-C")
            console.note(f"{engine}; name of exactly these weights: {command.names[1]}")
            if system := usual_system(found):
                said = json.dumps({"role": "system", "content": system}, ensure_ascii=False)
                console.note(f"it was trained with a system prompt; send it as the first message: {said}")
            console.note(f"log: {show(log)}")
            child.wait()
        except KeyboardInterrupt:
            child.terminate()
            child.wait()
            return GOOD
    if child.returncode not in (0, -signal.SIGTERM):
        raise MachineError(f"the server {describe(child.returncode)}. Log: {show(log)}", code="serve.ended")
    return GOOD
