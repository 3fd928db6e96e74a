"""Command-line options that change a run's config: `Options`, and how their values are parsed."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
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
        InputError: a word without `=`, a key given twice, or a value that cannot be parsed.
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
    if twice := repeated(word.partition("=")[0] for word in words):
        raise InputError(f"--set (SET=): {twice} is given twice in {text!r}.", code="option.bad_set")
    try:
        container = OmegaConf.to_container(OmegaConf.from_dotlist(words))
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"--set (SET=): {first} in {text!r}.", code="option.bad_set") from None
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def repeated(names: Iterable[str]) -> str | None:
    """Return the first name that occurs more than once."""
    listed = list(names)
    return next((name for name in listed if listed.count(name) > 1), None)


def parsed(options: Options) -> AxolotlConfig:
    """Return the keys of SET.

    Raises:
        InputError: as `parse_set`, or a key that another option sets as well.
    """
    overrides = parse_set(options.set)
    others = {"seed": "seed", "steps": "max_steps", "model": "base_model"}
    for name, key in others.items():
        if getattr(options, name) is not None and key in overrides:
            raise InputError(
                f"--set (SET=): {key} is also set by --{name} ({name.upper()}=). Give it in one of the two.",
                code="option.bad_set",
            )
    return overrides


def with_set(options: Options, words: dict[str, str]) -> Options:
    """Return the options with the keys of `words` set, in place of their values in SET."""
    kept = [word for word in shlex.split(options.set) if word.partition("=")[0] not in words]
    return replace(options, set=shlex.join([*kept, *(f"{key}={value}" for key, value in words.items())]))


def parse_rows(text: str) -> dict[str, int]:
    """Parse `ROWS=`: "200" for that many train rows, or "train=200,test=500".

    Raises:
        InputError: something else, or a split given twice.
    """
    counts = dict[str, int]()
    for word in filter(None, text.split(",")):
        split, _, count = word.rpartition("=")
        if split not in ("", "train", "dev", "test") or not count.isdecimal() or int(count) < 1:
            raise InputError(
                f"--rows (ROWS=): expected a whole number, or train=200,test=500 (got {word!r}).",
                code="option.bad_rows",
            )
        if (split or "train") in counts:
            raise InputError(
                f"--rows (ROWS=): {split or 'train'} is given twice in {text!r}.", code="option.bad_rows"
            )
        counts[split or "train"] = int(count)
    return counts
