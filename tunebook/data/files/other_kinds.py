"""Advice for unsupported file types: how to convert them.

In: a path. Out: the command that converts the file, or what to specify.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tunebook.core.files import from_json
from tunebook.data.formats.open_file import open_text

# File types that the installed `pandas` reads.
PANDAS = {
    ".pkl": "read_pickle",
    ".pickle": "read_pickle",
    ".xml": "read_xml",
    ".html": "read_html",
    ".orc": "read_orc",
    ".dta": "read_stata",
    ".sav": "read_spss",
    ".h5": "read_hdf",
    ".hdf5": "read_hdf",
}
SQLITE = (".sqlite", ".sqlite3", ".db")
ARCHIVES = {".tar": "tar -xf", ".tgz": "tar -xf", ".7z": "7z x", ".rar": "unrar x"}
SHEETS = (".xls", ".xlsm", ".xlsb", ".ods", ".numbers")
HEAD = 1 << 14  # number of characters examined
CHAT = re.compile(r"^\[?\d{1,4}[./-]\d{1,2}[./-]\d{1,4},? .{4,20}?(- |\] )[^:]+: ")  # WhatsApp


def instead(path: Path) -> str:
    """Return what to do with a file of an unsupported type, "" if there is no advice."""
    kind, name = path.suffix.lower(), shlex.quote(str(path))
    target = shlex.quote(str(path.with_suffix(".jsonl")))
    if path.name.lower().endswith((".tar.gz", ".tar.bz2", ".tar.xz")) or kind in ARCHIVES:
        home = shlex.quote(str(path.with_name(path.name.partition(".")[0])))
        if kind in (".7z", ".rar"):
            return f"Unpack it with {ARCHIVES[kind]} {name}, then set DATA= to the folder."
        return f"Unpack it with mkdir {home} && tar -xf {name} -C {home}, then set DATA={home}."
    if kind in SHEETS:
        return "Save it as .xlsx."
    if kind in PANDAS:
        inside = "[0]" if kind == ".html" else ""
        trust = " (only for your own files: a pickle can run code)" if "pickle" in PANDAS[kind] else ""
        return _python(f"import pandas; pandas.{PANDAS[kind]}({str(path)!r}){inside}", target) + trust
    if kind in SQLITE:
        code = (
            f"import sqlite3, pandas; db = sqlite3.connect({str(path)!r}); "
            "pandas.read_sql('select * from TABLE', db)"
        )
        return f"{_python(code, target)}, with the name of your table for TABLE."
    if kind in (".yaml", ".yml", ".toml"):
        return f"Convert it to JSON Lines with one object per row: {target}."
    return _of_text(path, target)


def _python(code: str, target: str) -> str:
    """Return the command that converts what `code` reads to JSON Lines."""
    rest = f".to_json({target!r}, orient='records', lines=True, force_ascii=False)"
    return f'Convert it: .venv/bin/python -c "{code}{rest}"'


def _of_text(path: Path, target: str) -> str:
    """Return what to do with a text file, judging by its first lines."""
    try:
        with open_text(path) as file:
            lines = [line for line in file.read(HEAD).splitlines() if line.strip()]
    except (OSError, UnicodeError, ValueError):
        return ""
    lines = lines[:-1] or lines  # the last line may be cut off
    if not lines or any("\0" in line for line in lines):
        return ""
    if _is_json(lines[0]):
        return f"It contains JSON. Rename it to {target}."
    if all(line.startswith("__label__") for line in lines):
        pair = "dict(zip(('label', 'text'), l[9:].rstrip().split(' ', 1)))"
        code = f"import sys, json; [print(json.dumps({pair})) "
        return (
            "It has fastText's format. If each line has one label, run .venv/bin/python -c "
            f'"{code}for l in sys.stdin]" < {shlex.quote(str(path))} > {target}'
        )
    if sum(bool(CHAT.match(line)) for line in lines) * 2 > len(lines):
        return (
            "It looks like an exported chat. Convert it to one object per conversation, with the side to be "
            f'learned as the assistant, in {target}: {{"messages": [{{"role": "user", "content": "..."}}, '
            '{"role": "assistant", "content": "..."}]}'
        )
    for letter, name in (("\t", "tab"), ("|", "pipe"), (";", "semicolon"), (",", "comma")):
        counts = {line.count(letter) for line in lines}
        if len(counts) == 1 and counts != {0}:
            return (
                f"Its lines have columns: use DELIMITER={name} (and HEADER=none if the first line is a row)."
            )
    return (
        f'Convert it to one object per row, in {target}: {{"text": "...", "label": "..."}} to learn a '
        'label, {"prompt": "...", "completion": "..."} to learn an answer.'
    )


def _is_json(line: str) -> bool:
    try:
        return isinstance(from_json(line), (dict, list))
    except ValueError:
        return line.strip() in ("[", "{")
