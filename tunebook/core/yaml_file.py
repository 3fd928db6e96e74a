"""YAML with the line number of every key, for error messages."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from tunebook.core.errors import InputError, Problem
from tunebook.core.paths import show

Path_ = tuple[str | int, ...]
Lines = dict[Path_, int]


def dotted(path: Path_) -> str:
    """Return `datasets[0].path` for ("datasets", 0, "path")."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def read_yaml(path: Path) -> tuple[dict[str, Any], Lines]:
    """Return the mapping in `path` and the line (from 1) of every key and list entry.

    Raises:
        InputError: the file is missing, is not YAML, repeats a key or is not a mapping.
    """
    name = show(path)
    if not path.is_file():
        raise InputError(Problem("file not found.", name, code="config.no_file"))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        message = f"not UTF-8 text ({error.reason}). Save it as UTF-8."
        raise InputError(Problem(message, name, code="config.not_utf8")) from None
    return parse_yaml(text, name)


def parse_yaml(text: str, name: str) -> tuple[dict[str, Any], Lines]:
    """Return the mapping in `text` and the line of every key; `name` is the file name for messages.

    Raises:
        InputError: as `read_yaml`.
    """
    value, lines = _parse(text, name)
    return copy.deepcopy(value), {**lines}


@lru_cache(maxsize=512)  # cached, because a plan for every GPU resolves the same recipe dozens of times
def _parse(text: str, name: str) -> tuple[dict[str, Any], Lines]:
    try:
        # OmegaConf reads 1e-4 as a number (plain PyYAML: a string) and rejects repeated keys.
        value: Any = OmegaConf.to_container(OmegaConf.create(text)) if text.strip() else None
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        message = f"not valid YAML: {error.problem}"
        raise InputError(Problem(message, name, line, code="config.not_yaml")) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"not valid YAML: {error.reason}"
        raise InputError(Problem(message, name, line, code="config.not_yaml")) from None
    except OmegaConfBaseException as error:
        message = f"{str(error).splitlines()[0]}."
        raise InputError(Problem(message, name, code="config.not_yaml")) from None
    except RecursionError:
        line = _deepest_line(text)
        raise InputError(Problem("nested too deeply.", name, line, code="config.not_yaml")) from None
    except ValueError as error:  # a number of more digits than Python reads
        line = _line_of_value(text)
        raise InputError(Problem(f"not valid YAML: {error}.", name, line, code="config.not_yaml")) from None
    if not value:
        return {}, {}
    if not isinstance(value, dict):
        message = f"expected `key: value` lines (got {type(value).__name__})."
        raise InputError(Problem(message, name, code="config.not_a_mapping"))
    lines: Lines = {}
    _walk(node, (), lines)
    return value, lines


def _deepest_line(text: str) -> int:
    """Return the line with the most brackets, which is where the nesting is too deep."""
    lines = text.split("\n")
    return max(range(len(lines)), key=lambda at: lines[at].count("[") + lines[at].count("{")) + 1


def _line_of_value(text: str) -> int | None:
    """Return the line of the first value that is a number of too many digits."""
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.ScalarToken) and token.plain:
            try:
                yaml.safe_load(token.value)
            except yaml.YAMLError:
                continue
            except ValueError:
                line: int = token.start_mark.line + 1
                return line
    return None


def _walk(node: yaml.Node | None, path: Path_, lines: Lines) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*path, key.value)] = key.start_mark.line + 1
            _walk(value, (*path, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = value.start_mark.line + 1
            _walk(value, (*path, index), lines)


def line_of(lines: Lines, path: Path_) -> int | None:
    """Return the line of `path`, or of the nearest enclosing key that has one."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def validation_problems(error: ValidationError, file: str, lines: Lines, code: str) -> list[Problem]:
    """Return one Problem for each validation error that pydantic found in a value read by `read_yaml`."""
    problems = []
    for item in error.errors():
        where = tuple(item["loc"])
        text = item["msg"].removeprefix("Value error, ").rstrip(".")
        problems.append(Problem(f"{text}.", file, line_of(lines, where), dotted(where) or None, code))
    return problems
