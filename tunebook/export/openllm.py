"""A model repository for OpenLLM 0.6.30 whose model is a GGUF file served by llama.cpp's own server.

OpenLLM lists the folders bentoml/bentos/NAME/VERSION of a repository and starts `bentoml serve` in a new
environment for each. Its own models need vLLM and a GPU. This repository includes llama-server, to which
BentoML passes requests, so that it runs on a CPU. docs/after-training.md lists the limits.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from tunebook.core.files import write_json, write_text
from tunebook.models import llama_cpp
from tunebook.runs.run import Run

# OpenLLM's last release, and packages from 2025 that it needs; newer versions break it (click inside typer,
# fs).
ENVIRONMENT = ("openllm==0.6.30", "typer==0.15.2", "click==8.1.8", "setuptools<81")
# What OpenLLM installs into the model's environment; BentoML passes requests on with fastapi.
MODEL_ENVIRONMENT = ("bentoml==1.4.40", "fastapi==0.116.1")
SERVICE = '''"""Starts llama-server with the model beside this file; BentoML passes requests on to it."""

import socket
from pathlib import Path

import bentoml

with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    PORT = one.getsockname()[1]


@bentoml.service(name={name!r}, traffic={{"timeout": 600}}, http={{"proxy_port": PORT}})
class Model:
    def __command__(self) -> list[str]:
        here = Path(__file__).parent
        server, model = here / "bin" / "llama-server", here / "model.gguf"
        words = f"--alias {name} --host 127.0.0.1 --port {{PORT}} {options}"
        return [str(server), "--model", str(model), *words.split()]
'''


def path_of(run: Run, quant: str) -> Path:
    """Return the folder of the model inside the repository `export/openllm`."""
    name = str(run.settings()["recipe"])
    return run / "export" / "openllm" / "bentoml" / "bentos" / name / quant


def write(run: Run, file: Path, quant: str) -> Path:
    """Write the repository's folder for the GGUF `file`, completely or not at all; return the repository."""
    target, name = path_of(run, quant), str(run.settings()["recipe"])
    partial = target.parents[2] / f"{name}-{quant}.partial"  # a place that OpenLLM does not search
    shutil.rmtree(partial, ignore_errors=True)
    source = partial / "src"
    (source / "bin").mkdir(parents=True)
    for path in llama_cpp.tool("llama-server").parent.glob("*"):
        if path.name == "llama-server" or ".so" in path.name:
            shutil.copy2(path, source / "bin" / path.name, follow_symlinks=False)
    shutil.copy2(llama_cpp.folder() / "LICENSE", source / "bin")
    try:
        os.link(file, source / "model.gguf")
    except OSError:  # another file system, or one without hard links
        shutil.copy2(file, source / "model.gguf")
    options = " ".join(llama_cpp.SERVER_OPTIONS)
    write_text(source / "service.py", SERVICE.format(name=name, options=options))
    write_text(partial / "env" / "python" / "requirements.txt", "\n".join(MODEL_ENVIRONMENT) + "\n")
    service = {"name": name, "service": "", "models": [], "dependencies": []}
    write_json(  # JSON is valid YAML
        partial / "bento.yaml",
        {
            "service": "service:Model",
            "name": name,
            "version": quant,
            "bentoml_version": MODEL_ENVIRONMENT[0].partition("==")[2],
            "creation_time": datetime.now(UTC).isoformat(),
            "labels": {"platforms": "linux"},
            "models": [],
            "entry_service": name,
            "services": [{**service, "config": {"workers": 1, "resources": {"cpu": "1"}}}],
            # By default, BentoML would listen on every address of the machine.
            "envs": [{"name": "BENTOML_HOST", "value": "127.0.0.1"}],
            "schema": {"name": name, "type": "service", "routes": []},
            "args": {},
            "spec": 2,
            "image": {"python_version": "3.11", "base_image": "python:3.11-slim", "python_requirements": ""},
        },
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
    return run / "export" / "openllm"
