#!/usr/bin/env python
"""A stand-in for the `vllm` command: its server's form of completions, by transformers, one prompt at a time.

Serves what tunebook/evaluation/engines/vllm.py asks of vLLM 0.33
(vllm/entrypoints/openai/completion/protocol.py and vllm/entrypoints/serve/lora); a field or flag that it does
not know is an error.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

if sys.argv[1:] == ["--version"]:
    print("0.33.0")
    sys.exit()

FIELDS = {
    "model", "prompt", "max_tokens", "temperature", "stop_token_ids", "ignore_eos", "add_special_tokens",
    "return_token_ids", "prompt_logprobs",
}  # fmt: skip


class Served:
    """The base model and the adapters that were loaded beside it. torch, slow to import, is not needed before
    the first request."""

    def __init__(self, folder: str, name: str, dtype: str, rank: int) -> None:
        if not (Path(folder) / "config.json").is_file():
            raise OSError(f"{folder} is no local folder with a model")
        self.folder, self.dtype = folder, dtype
        self.name, self.rank, self.adapters = name, rank, set[str]()

    @cached_property
    def model(self) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.folder, dtype=getattr(torch, self.dtype)).eval()

    def load(self, name: str, folder: str) -> None:
        if name in self.adapters:
            raise ValueError(f"The lora adapter '{name}' has already been loaded.")
        if not self.rank:
            raise ValueError("LoRA is not enabled")
        from peft import PeftModel

        if isinstance(self.model, PeftModel):
            self.model.load_adapter(folder, name)
        else:
            self.model = PeftModel.from_pretrained(self.model, folder, adapter_name=name)
        if self.model.peft_config[name].r > self.rank:
            raise ValueError("LoRA rank is greater than max_lora_rank")
        self.adapters.add(name)

    def complete(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        if set(body) - FIELDS or body["temperature"] != 0:
            raise ValueError(f"cannot do {sorted(set(body) - FIELDS)}")
        if body["model"] not in {self.name, *self.adapters}:
            raise ValueError(f"The model `{body['model']}` does not exist.")
        import torch

        adapted = body["model"] in self.adapters
        if adapted:
            self.model.set_adapter(body["model"])
        plain = self.model.disable_adapter() if self.adapters and not adapted else nullcontext()
        with torch.no_grad(), plain:
            return [self.one(i, prompt, body) for i, prompt in enumerate(body["prompt"])]

    def one(self, index: int, prompt: list[int], body: dict[str, Any]) -> dict[str, Any]:
        import torch

        ids, reason = list(prompt), "length"
        found: dict[str, Any] = {"index": index, "text": "", "token_ids": None, "prompt_logprobs": None}
        if body.get("prompt_logprobs") is not None:
            steps = self.model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
            inner = [
                {str(token): {"logprob": float(step[token]), "rank": 1, "decoded_token": "?"}}
                for step, token in zip(steps, ids[1:], strict=False)
            ]
            found["prompt_logprobs"] = [None, *inner]
        for _ in range(body["max_tokens"]):
            ids.append(int(self.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] in body.get("stop_token_ids", []):
                reason = "stop"
                break
        new = ids[len(prompt) :] if body.get("return_token_ids") else None
        return found | {"token_ids": new, "finish_reason": reason}


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("verb", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--generation-config", choices=["vllm"], required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--revision")
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--max-lora-rank", type=int, default=0)
    options = parser.parse_args()
    rank = options.max_lora_rank if options.enable_lora else 0
    served, lock = Served(options.model, options.served_model_name, options.dtype, rank), Lock()

    class Handler(BaseHTTPRequestHandler):
        def reply(self, code: int, value: Any) -> None:
            text = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self.reply(200 if self.path == "/health" else 404, None)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                with lock:
                    if self.path == "/v1/load_lora_adapter":
                        served.load(body["lora_name"], body["lora_path"])
                        self.reply(200, "Success")
                    elif self.path == "/v1/completions":
                        self.reply(200, {"choices": served.complete(body)[::-1]})
                    else:
                        self.reply(404, None)
            except ValueError as error:
                self.reply(400, {"error": {"message": str(error)}})

    ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
