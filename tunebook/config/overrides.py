"""Command-line options that change a run's config: `Options`, and how their values are parsed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from tunebook.core.errors import InputError
from tunebook.core.files import AxolotlConfig

Tier = Literal["real", "trial"]


@dataclass(frozen=True)
class Options:
    """The command-line options that change a run's config."""

    tier: Tier | None = None
    hardware: str | None = None
    gpus: int | None = None
    model: str | None = None
    set: str = ""
    seed: int | None = None
    steps: int | None = None
    eval: Literal["quick", "default", "full"] = "default"
    new: bool = False
    from_run: str | None = None
    rows: str = ""
    store: str | None = None
    smoke: bool | None = None
    beside: str = ""


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Merge `above` into `below`: mappings merge, lists replace (`plugins` append), null removes."""
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif key == "plugins" and isinstance(value, list) and isinstance(result.get(key, []), list):
            result[key] = list(dict.fromkeys(map(str, [*result.get(key, []), *value])))
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = value
    return result


def parse_set(text: str) -> AxolotlConfig:
    """Parse `SET="key=value a.b=value"`: split as a shell would, values parsed by OmegaConf.

    Raises:
        InputError: a word without `=`, or a value that cannot be parsed.
    """
    from omegaconf import OmegaConf  # slow to import; `tunebook --help` does not need it
    from omegaconf.errors import OmegaConfBaseException

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"--set (SET=): {error} in {text!r}.", code="option.bad_set") from None
    for word in words:
        if not word.partition("=")[1] or not word.partition("=")[0]:
            raise InputError(f"--set (SET=): expected key=value (got {word!r}).", code="option.bad_set")
    try:
        container = OmegaConf.to_container(OmegaConf.from_dotlist(words))
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"--set (SET=): {first} in {text!r}.", code="option.bad_set") from None
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def parse_rows(text: str) -> dict[str, int]:
    """Parse `ROWS=`: "200" for that many train rows, or "train=200,test=500".

    Raises:
        InputError: something else.
    """
    counts = {}
    for word in filter(None, text.split(",")):
        split, _, count = word.rpartition("=")
        if split not in ("", "train", "dev", "test") or not count.isdecimal() or int(count) < 1:
            raise InputError(
                f"--rows (ROWS=): expected a whole number, or train=200,test=500 (got {word!r}).",
                code="option.bad_rows",
            )
        counts[split or "train"] = int(count)
    return counts
