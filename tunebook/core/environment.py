"""Every TUNEBOOK_* variable that Tunebook reads, with its type, default and meaning.

`tunebook env` prints them. HF_TOKEN, WANDB_API_KEY and the keys of object storage belong to other libraries,
which read them themselves.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tunebook.core.errors import InputError, Problem, raise_all

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "TUNEBOOK_"


def home() -> Path:
    """Return the user's home folder.

    Raises:
        InputError: the user has none, for example an unnamed user in a container (code option.no_home).
    """
    try:
        return Path.home()
    except RuntimeError:
        text = (
            "HOME is not set and this user has no home folder. Set TUNEBOOK_CACHE to a folder for downloads."
        )
        raise InputError(Problem(text, key="TUNEBOOK_CACHE", code="option.no_home")) from None


class Environment(BaseSettings):
    """The variables. Each is named TUNEBOOK_ plus the field in capitals; one that is set but empty counts as
    unset."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )
    cache: Path = Field(
        default_factory=lambda: home() / ".cache" / "tunebook",
        description="the only folder outside the checkout that Tunebook writes to",
    )
    recipes: Path = Field(default=ROOT / "recipes", description="folder of the recipes")
    datasets: Path = Field(default=ROOT / "datasets", description="folder of the datasets")
    runs: Path = Field(default=ROOT / "runs", description="folder of the runs")
    sources: Path | None = Field(
        default=None,
        description="read data files from SOURCES/<dataset>/, not from the dataset's folder or the Hub",
    )
    bench: Path = Field(
        default=ROOT / "benchmarks" / "results" / "bench",
        description="where `tunebook bench` writes its results",
    )
    commit: str | None = Field(
        default=None, description="commit to record where there is no git (the image sets it)"
    )

    vllm: str | None = Field(
        default=None,
        description="command that starts vLLM, which then generates the answers instead of transformers",
    )
    vllm_args: str | None = Field(default=None, description="further flags for `vllm serve`")
    judge: bool = Field(default=False, description="1: the endpoint also acts as a judge of answer pairs")
    # Validated in tunebook/evaluation/endpoint/client.py.
    endpoint: str | None = Field(
        default=None,
        description="address of an OpenAI-compatible endpoint to compare with, up to and including /v1",
    )
    endpoint_model: str | None = Field(default=None, description="name of the model at the endpoint")
    endpoint_key: SecretStr | None = Field(default=None, description="API key for the endpoint")
    endpoint_prompt: str | None = Field(
        default=None,
        description="tuned: prompt a served run as it was trained; default: use the baseline prompt",
    )
    endpoint_per_minute: str | None = Field(
        default=None, description="maximum number of requests per minute; default: no limit"
    )
    endpoint_concurrency: str | None = Field(
        default=None, description="number of concurrent requests; default: 4"
    )
    endpoint_timeout: str | None = Field(
        default=None, description="seconds without a reply after which a request is retried; default: 120"
    )
    endpoint_price_in: str | None = Field(default=None, description="dollars per million prompt tokens")
    endpoint_price_out: str | None = Field(default=None, description="dollars per million generated tokens")

    serve_key: SecretStr | None = Field(
        default=None, description="key that clients of `tunebook serve` must send; needed beyond 127.0.0.1"
    )

    notice: float = Field(
        default=120.0, description="seconds between SIGTERM and the shutdown of the machine"
    )
    max_hours: float | None = Field(
        default=None, description="time limit in hours for all sessions of a run together"
    )
    quiet: float | None = Field(
        default=None,
        description="seconds without progress or output after which a child process counts as hung",
    )
    dollars_per_hour: float | None = Field(
        default=None, description="price of the whole machine in dollars per hour"
    )
    nodes: int = Field(default=1, ge=1, description="number of machines in this Slurm job")
    head: str | None = Field(default=None, description="host name of the first machine in this Slurm job")

    events: Path | None = Field(
        default=None, description="file to which a child process writes its progress; set by Tunebook"
    )
    stop: Path | None = Field(
        default=None,
        description="file whose existence makes a training stop; set by Tunebook",
    )


def variable(field: str) -> str:
    """Return the name of the environment variable of a field: TUNEBOOK_MAX_HOURS for "max_hours"."""
    return PREFIX + field.upper()


@lru_cache(maxsize=1)
def _read(variables: frozenset[tuple[str, str]]) -> Environment:
    """Read the variables again only if one has changed: reading takes milliseconds and is called often."""
    return Environment()


def environment() -> Environment:
    """Return the current values of the variables.

    Raises:
        InputError: a value has the wrong type; the message names every variable concerned (code
            option.bad_environment).
    """
    try:
        return _read(frozenset(os.environ.items()))
    except ValidationError as error:
        problems = []
        for item in error.errors():
            name = variable(str(item["loc"][0]))
            text = f"{item['msg']} (got {item['input']!r})."
            problems.append(Problem(text, key=name, code="option.bad_environment"))
        raise_all(problems)
        raise
