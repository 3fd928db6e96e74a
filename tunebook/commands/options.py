"""Arguments and options shared by several commands, and their translation from variables of make."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Annotated, Any, Literal

import click
import typer

from tunebook.config.overrides import Options
from tunebook.core.console import Console
from tunebook.core.errors import InputError

Name = Annotated[str, typer.Argument(help="a folder in recipes/")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="<recipe>/latest, <recipe>/<id> or a folder")]
Json = Annotated[bool, typer.Option("--json", help="print JSON and nothing else")]
Gpu = Annotated[str | None, typer.Option(help="a GPU in hardware/facts/gpus.yaml; default: all")]
Count = Annotated[int | None, typer.Option(min=1, help="number of GPUs; default: 1")]
Price = Annotated[float | None, typer.Option(min=0, help="dollars per GPU-hour")]

# One annotated option for each field of Options, in the order of the help text.
SHARED: dict[str, Any] = {
    "set": Annotated[str, typer.Option("--set", help='overrides: "learning_rate=1e-4 lora_r=32"')],
    "model": Annotated[
        str | None, typer.Option(help="another base model: a row of tunebook/models/models.yaml or a folder")
    ],
    "tier": Annotated[Literal["real", "trial"] | None, typer.Option(help="default: real with a GPU")],
    "hardware": Annotated[str | None, typer.Option(help="an overlay in hardware/; default: detected")],
    "gpus": Annotated[int | None, typer.Option(min=1, help="number of GPUs to use; default: all")],
    "seed": Annotated[int | None, typer.Option(help="seed of data sampling, initial weights and row order")],
    "steps": Annotated[int | None, typer.Option(min=1, help="stop training after this many optimizer steps")],
    "rows": Annotated[str, typer.Option(help="at most this many rows: 200, or train=200,test=500")],
    "eval": Annotated[Literal["quick", "default", "full"], typer.Option("--eval", help="quick: dev only")],
    "new": Annotated[bool, typer.Option("--new", help="run again even if finished")],
    "from_run": Annotated[str | None, typer.Option(help="continue from the adapter of this run")],
    "store": Annotated[str | None, typer.Option(help="where runs are kept: s3://, gs://, az:// or a folder")],
    "smoke": Annotated[
        bool | None,
        typer.Option(
            "--smoke/--no-smoke", help="first run five steps, a save and a reload; default: on the real tier"
        ),
    ],
    "beside": Annotated[str, typer.Option(help="other models to evaluate as well: folders or Hub ids")],
}
DEFAULTS = {field.name: field.default for field in fields(Options)}


def takes(*names: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command the shared options `names`; it receives them as one `Options` object in its parameter
    `options`."""

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.name != "options"]
        shared = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS[name], annotation=SHARED[name]
            )
            for name in SHARED
            if name in names
        ]

        @wraps(command)
        def with_options(**values: Any) -> int:
            options = Options(**{name: values.pop(name) for name in names})
            return command(**values, options=options)

        keyword = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
        parameters = sorted([*keyword, *shared], key=lambda one: one.default is not inspect.Parameter.empty)
        # typer reads the signature for names and defaults and the annotations for types.
        with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {one.name: one.annotation for one in parameters}
        return with_options

    return decorate


def console(quiet: bool = False) -> Console:
    """Return the console of this command, silent with `--quiet` or if only JSON is printed."""
    context = click.get_current_context(silent=True)
    return Console(quiet=quiet or bool(context and context.meta.get("quiet")))


def variable(parameter: Any) -> str:
    """Return make's name for an argument or option of a command: MAX_COST for `--max-cost`."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).upper()
    return str(parameter.opts[0]).lstrip("-").replace("-", "_").upper()


def variables(command: Any) -> dict[str, Any]:
    """Return the arguments and options of a command by their names in make."""
    return {variable(one): one for one in command.params if one.name not in ("help", "quiet")}


def from_make(verb: str, command: Any, words: list[str]) -> list[str]:
    """Return the arguments for `make VERB NAME=value ...`; HELP=1 becomes `--help`.

    Raises:
        InputError: an unknown variable, a missing one, or a flag that is neither 1 nor 0.
    """
    known, given = variables(command), dict(word.split("=", 1) for word in words)
    given = {name: value for name, value in given.items() if value}
    if given.pop("HELP", None):
        return ["--help"]
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise InputError(
                f"unknown variable {name}.{hint} `make {verb}` takes: {', '.join(known)}.",
                code="option.unknown_variable",
            )
    needed = [name for name, one in known.items() if one.required]
    missing = [name for name in needed if name not in given]
    if missing:
        usage = " ".join(f"{name}=..." for name in needed)
        raise InputError(f"{missing[0]} is missing: make {verb} {usage}", code="option.missing_variable")
    options, arguments = list[str](), list[str]()
    for name, one in known.items():
        value = given.get(name)
        if value is None:
            continue
        if one.param_type_name == "argument":
            arguments += value.split() if one.nargs == -1 else [value]
        elif one.is_flag:
            options += _flag(name, one, value)
        else:
            options.append(f"{one.opts[0]}={value}")
    return [*options, *(["--", *arguments] if any(one.startswith("-") for one in arguments) else arguments)]


def _flag(name: str, option: Any, value: str) -> list[str]:
    if value not in ("0", "1"):
        raise InputError(f"{name} must be 1 or 0 (got {value}).", code="option.bad_flag")
    return option.opts[:1] if value == "1" else option.secondary_opts[:1]


def split_words(words: list[str]) -> tuple[str, list[str]] | None:
    """Return the verb and the variables of `make VERB NAME=value ...`, or None for any other command line."""
    if len(words) < 2 or words[0] != "make":
        return None
    return words[1], [word for word in words[2:] if re.match(r"\w+=", word)]
