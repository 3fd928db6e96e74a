"""Every TUNEBOOK_* variable that Tunebook reads: its type, its default and what it is for.

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
    """Return the home of the person.

    Raises:
        InputError: there is none, as for a container's user without a name (code option.no_home).
    """
    try:
        return Path.home()
    except RuntimeError:
        text = "HOME is not set and this user has no home. Set TUNEBOOK_CACHE to a folder for downloads."
        raise InputError(Problem(text, key="TUNEBOOK_CACHE", code="option.no_home")) from None


class Environment(BaseSettings):
    """The variables, each named TUNEBOOK_ and the field in capitals. A variable that is set but
    empty counts as not set."""

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
        default=None, description="command of vLLM, which then replaces transformers in the evaluation"
    )
    vllm_args: str | None = Field(default=None, description="more flags for `vllm serve`")
    judge: bool = Field(default=False, description="1: the endpoint also judges pairs of answers")
    # How they are checked: tunebook/evaluation/endpoint/client.py.
    endpoint: str | None = Field(
        default=None,
        description="address of an OpenAI-compatible endpoint to compare with, up to and including /v1",
    )
    endpoint_model: str | None = Field(default=None, description="the model's name at the endpoint")
    endpoint_key: SecretStr | None = Field(default=None, description="API key of the endpoint")
    endpoint_prompt: str | None = Field(
        default=None, description="tuned: ask a served run as it was trained; default: the baseline prompt"
    )
    endpoint_per_minute: str | None = Field(
        default=None, description="most requests per minute; default: no limit"
    )
    endpoint_concurrency: str | None = Field(default=None, description="requests at a time; default: 4")
    endpoint_timeout: str | None = Field(
        default=None, description="seconds of silence after which a request is repeated; default: 120"
    )
    endpoint_price_in: str | None = Field(default=None, description="dollars per million prompt tokens")
    endpoint_price_out: str | None = Field(default=None, description="dollars per million generated tokens")

    serve_key: SecretStr | None = Field(
        default=None, description="key that clients of `tunebook serve` must send; needed beyond 127.0.0.1"
    )

    notice: float = Field(default=120.0, description="seconds between SIGTERM and the end of the machine")
    max_hours: float | None = Field(default=None, description="most hours of all sessions of a run together")
    quiet: float | None = Field(
        default=None,
        description="seconds without progress or output after which a child process counts as hung",
    )
    dollars_per_hour: float | None = Field(default=None, description="price of the whole machine")
    nodes: int = Field(default=1, ge=1, description="machines of this Slurm job")
    head: str | None = Field(default=None, description="host name of the first machine of this Slurm job")

    events: Path | None = Field(
        default=None, description="file for progress; Tunebook sets it for its child processes"
    )
    stop: Path | None = Field(
        default=None,
        description="file that tells a training to stop; Tunebook sets it for its child processes",
    )


def variable(field: str) -> str:
    """Return the name of the environment variable of a field: TUNEBOOK_MAX_HOURS for "max_hours"."""
    return PREFIX + field.upper()


@lru_cache(maxsize=1)
def _read(variables: frozenset[tuple[str, str]]) -> Environment:
    """Read the variables again only where one has changed: it takes milliseconds, and happens often."""
    return Environment()


def environment() -> Environment:
    """Return the variables as they are now.

    Raises:
        InputError: a value has the wrong type; names every such variable (code option.bad_environment).
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
