"""A vLLM server as the evaluation engine: started and stopped with the evaluation, prompted with token ids.

vLLM pins a different torch than Axolotl, so it lives in a separate environment, and `TUNEBOOK_VLLM` is its
command. Requests use vLLM's version of OpenAI's completions API
(vllm/entrypoints/openai/completion/protocol.py).
"""

from __future__ import annotations

import atexit
import functools
import os
import shlex
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from tunebook.core import visible
from tunebook.core.environment import environment
from tunebook.core.errors import InputError, MachineError
from tunebook.core.files import AxolotlConfig
from tunebook.core.logs import masked
from tunebook.core.paths import ROOT
from tunebook.core.process import beginning, last_error, run_command, together
from tunebook.evaluation.engines.protocol import Engine, Generation, Ids, Span

COMMAND, ARGUMENTS = "TUNEBOOK_VLLM", "TUNEBOOK_VLLM_ARGS"
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # values that --max-lora-rank accepts (vllm/config/lora.py)
START = 900.0  # seconds until the server must respond, after loading weights and compiling kernels
ANSWER = 1800.0  # seconds until a batch must be answered
TIMES = 16  # batch size relative to transformers, because the server schedules requests itself
BASE = "base"


def command() -> list[str] | None:
    """Return vLLM's command, or None if none is set.

    Raises:
        InputError: no such command.
    """
    words = shlex.split(environment().vllm or "")
    if words and not shutil.which(words[0]):
        raise InputError(
            f"{COMMAND}: no such command (got {words[0]!r}). Give the path of `vllm` in its environment.",
            code="eval.no_vllm_command",
        )
    return words or None


@functools.cache
def version() -> str:
    """Return vLLM's version."""
    words = command()
    assert words
    ended = run_command([*words, "--version"], capture_output=True, text=True, env=_environment())
    if ended.returncode:
        message = ended.stderr.strip()[-300:]
        raise MachineError(
            f"{COMMAND}: `{shlex.join(words)} --version` failed: {message}", code="eval.vllm_failed"
        )
    return ended.stdout.strip().splitlines()[-1]


def with_adapters(rank: int) -> list[str]:
    """Return the flags with which vLLM takes adapters of this rank.

    Raises:
        InputError: it takes none so large.
    """
    fitting = [each for each in RANKS if each >= rank]
    if not fitting:
        raise InputError(
            f"{COMMAND}: the largest adapter rank of vLLM is {RANKS[-1]} (got {rank}).",
            code="eval.vllm_cannot_serve",
        )
    return ["--enable-lora", "--max-lora-rank", str(fitting[0])]


def refusal(config: AxolotlConfig) -> str | None:
    """Return why vLLM cannot serve the fine-tuned model of `config`, or None if it can."""
    adapter = config.get("adapter")
    if config.get("num_labels") or config.get("class_labels"):
        return "a classification head"
    if adapter not in (None, "lora"):
        return f"adapter: {adapter}"
    if config.get("peft_use_dora"):
        return "DoRA"
    if config.get("lora_modules_to_save"):
        return "modules saved in full with an adapter"
    targets = config.get("lora_target_modules") or []
    if any(name in targets for name in ("embed_tokens", "lm_head")):
        return "LoRA on the embedding or the output layer"
    if config.get("peft_trainable_token_indices") or (adapter and config.get("tokens")):
        return "tokens trained together with an adapter"
    if config.get("load_in_4bit") or config.get("load_in_8bit"):
        return "a base model in 4 or 8 bits"
    return None


def engine(config: AxolotlConfig) -> dict[str, Any]:
    """Return the vLLM settings that affect results, or {} if vLLM is not used.

    Raises:
        InputError: the command does not exist, or vLLM cannot serve the fine-tuned model of `config`.
        MachineError: vLLM does not start.
    """
    if not command():
        return {}
    why = refusal(config)
    if why:
        raise InputError(
            f"{COMMAND}: vLLM serves LoRA adapters and full weights, but not {why}. Unset the variable.",
            code="eval.vllm_cannot_serve",
        )
    return {"vllm": [version(), environment().vllm_args]}


def _environment() -> dict[str, str]:
    """Return the server's environment, without variables of ours that torch or Python would read."""
    ours = ("RANK", "WORLD_SIZE", "MASTER_", "GROUP_", "ROLE_", "LOCAL_", "TORCHELASTIC_", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # The server supports `load_lora_adapter` only if this is set.
    return kept | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_NO_USAGE_STATS": "1"}


def _card(number: int) -> str:
    """Return the id of GPU `number` among those visible to this process."""
    names = visible.words()
    return names[number] if names else str(number)


class Server:
    """A `vllm serve` process, for one base model (or full weights) and any number of LoRA adapters."""

    def __init__(
        self, model: str, options: dict[str, Any], rank: int | None, gpu: int | None, log: Path
    ) -> None:
        """Start the server and wait until it responds.

        Args:
            model: folder or Hub id. `options` are further flags of `vllm serve`, without the dashes.
            rank: largest rank of an adapter; None without adapters.
            gpu: index of the server's GPU; None leaves the choice to the environment.
            log: file for the server's output.

        Raises:
            InputError: an adapter's rank is larger than vLLM supports.
            MachineError: the server ended, or did not respond in time; the message has the end of its log.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        flags = {"host": "127.0.0.1", "port": port, "served-model-name": BASE, "generation-config": "vllm"}
        words = [*(command() or []), "serve", model]
        for name, value in (flags | options).items():
            words += [f"--{name}", str(value)]
        if rank is not None:
            words += with_adapters(rank)
        words += shlex.split(environment().vllm_args or "")
        variables = _environment() | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": _card(gpu)})
        self.model, self.log, self.log_start = model, log, log.stat().st_size if log.is_file() else 0
        log.parent.mkdir(parents=True, exist_ok=True)
        self.output = ExitStack()
        file = self.output.enter_context(masked(log))
        self.process = subprocess.Popen(
            together(words), stdout=file, stderr=file, env=variables, cwd=ROOT, preexec_fn=beginning()
        )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=ANSWER, trust_env=False)
        self.adapters: set[str] = set()
        atexit.register(self.close)
        end = time.monotonic() + START
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.close()
                raise MachineError(
                    f"vLLM did not start: {self._why()}\nCommand: {shlex.join(words)}",
                    code="eval.vllm_failed",
                )
            time.sleep(0.5)

    def _why(self, else_: str = "no reason was given.") -> str:
        return f"{last_error(self.log, self.log_start) or else_}\nLog: {self.log}"

    def _answers(self) -> bool:
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def adapter(self, folder: Path) -> str:
        """Load a LoRA adapter into the server and return its name."""
        name = str(folder.resolve())
        if name not in self.adapters:
            self.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": name})
            self.adapters.add(name)
        return name

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Send a request.

        Raises:
            MachineError: the server rejects the request or has ended; the message has the reason.
        """
        try:
            response = self.http.post(path, json=body)
        except httpx.TransportError as error:
            raise MachineError(
                f"vLLM stopped responding: {self._why(str(error))}", code="eval.vllm_failed"
            ) from None
        if response.status_code != 200:
            raise MachineError(
                f"vLLM, {path}: {response.status_code} {response.text[:300]}", code="eval.vllm_failed"
            )
        return response

    def close(self) -> None:
        """Stop the server, unless it has already ended."""
        atexit.unregister(self.close)
        self.http.close()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()


class ServedLM(Engine):
    """A model that `server` calls `name`. The server itself detects shared prompt prefixes."""

    def __init__(self, server: Server, name: str, end: int) -> None:
        self.server, self.name, self.end = server, name, end

    def _complete(self, prompts: list[Ids], **options: Any) -> list[dict[str, Any]]:
        body = {"model": self.name, "prompt": prompts, "temperature": 0, "add_special_tokens": False}
        choices = self.server.post("/v1/completions", {**body, **options}).json()["choices"]
        return sorted(choices, key=lambda choice: choice["index"])

    def generate(self, contexts: list[Ids], prefix: Ids, max_new: int) -> list[Generation]:
        # `ignore_eos`: generation stops only at the end-of-turn token, as with the other engines.
        stop = {"stop_token_ids": [self.end], "ignore_eos": True, "return_token_ids": True}
        results = []
        for choice in self._complete(contexts, max_tokens=max_new, **stop):
            ids = choice["token_ids"]
            stopped = self.end in ids
            results.append(Generation(ids[: ids.index(self.end)] if stopped else ids, stopped))
        return results

    def score_spans(
        self, contexts: list[Ids], answers: list[Ids], spans: list[list[Span]], prefix: Ids
    ) -> list[list[float]]:
        prompts = [context + answer for context, answer in zip(contexts, answers, strict=True)]
        sums = []
        for choice, prompt, answer, places in zip(
            self._complete(prompts, max_tokens=1, prompt_logprobs=0), prompts, answers, spans, strict=True
        ):
            steps = choice["prompt_logprobs"][len(prompt) - len(answer) :]
            each = [step[str(token)]["logprob"] for step, token in zip(steps, answer, strict=True)]
            sums.append([sum(each[start:end]) for start, end in places])
        return sums

    def rank_choices(self, contexts: list[Ids], choices: list[Ids], prefix: Ids) -> list[list[float]]:
        flat = self.score([c for c in contexts for _ in choices], choices * len(contexts), prefix)
        return [flat[i : i + len(choices)] for i in range(0, len(flat), len(choices))]
