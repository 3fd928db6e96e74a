"""The texts of dataset.yaml for recognised rows, and of the dataset's README.md with what was guessed and
why.

In: the layout of the rows. Out: the texts of both files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tunebook.commands.fork.files import DataFiles
from tunebook.commands.fork.output.answers import Answers
from tunebook.commands.fork.recognise import Reading
from tunebook.commands.fork.tables.labels import LabelCounts
from tunebook.core.errors import Problem
from tunebook.core.yaml_file import parse_yaml
from tunebook.data.files.split_names import Split
from tunebook.data.formats.values import is_empty
from tunebook.data.sources import Source, raw_rows
from tunebook.metrics.intervals import FEWEST

SHARE, MOST = {"dev": 0.1, "test": 0.15}, {"dev": 1000, "test": 2000}  # of the rows; rows at most
# With few large groups, test gets more of them, to exceed the minimum that can show a difference.
TEST_GROUPS, MOST_OF_GROUPS = FEWEST + 2, 0.25
WIDTH = 100
NO_ANSWER = "unanswerable"


@dataclass
class Survey:
    """Counts over all rows. Faulty rows are skipped here and reported when rows are rendered."""

    rows: dict[Split, int] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    labels: dict[str, int] = field(default_factory=dict)
    repeated_ids: int = 0
    unanswered: int = 0
    weighted: int = 0
    with_tools: int = 0
    repairs: dict[str, int] = field(default_factory=dict)
    answers: Answers = field(default_factory=Answers)
    found: LabelCounts = field(default_factory=LabelCounts)
    faults: list[Problem] = field(default_factory=list)


def provisional(data: DataFiles, reading: Reading) -> dict[str, Any]:
    """Return `source:` with preliminary shares."""
    source = dict(data.source)
    for split in ("dev", "test"):
        if split not in data.splits:
            source[f"{split}_share"] = SHARE[split]
    source["reader"] = reading.layout
    if reading.columns:
        source["columns"] = reading.columns
    return source


def survey(
    source: dict[str, Any], folder: Path, data: DataFiles, reading: Reading, group: str | None
) -> Survey:
    """Read every row once and count."""
    result = Survey()
    label = "label" if reading.layout == "labels" else None
    for split in data.splits:
        result.rows[split] = 0
        ids = set()
        result.found.places[split], rows = raw_rows(Source.model_validate(source), folder, split)
        for number, row in rows:
            if isinstance(row, Problem):
                result.faults.append(row)
                continue
            result.rows[split] += 1
            if group and split == "train":
                result.groups.add(str(row.get(group)))
            if reading.task == "classification":
                name = row[label] if label else row["turns"][-1]["content"]
                asked = row["text"] if label else row["turns"][0]["content"]
                result.found.add(split, asked, name, number)
                if split == "train":
                    result.labels[name] = result.labels.get(name, 0) + 1
            if reading.task == "qa" and split == "train":
                result.answers.see(row)
            if not is_empty(row.get("id")):
                result.repeated_ids += str(row["id"]) in ids
                ids.add(str(row["id"]))
            result.unanswered += row.get("answers") == []
            called = any(turn.get("tool_calls") for turn in row.get("turns", []))
            result.with_tools += bool(row.get("tools")) or called
            for repair in row.get("repairs", []):
                result.repairs[repair] = result.repairs.get(repair, 0) + 1
            result.weighted += any(turn.get("weight") == 0 for turn in row.get("turns", []))
    return result


def text(
    name: str,
    source: dict[str, Any],
    reading: Reading,
    group: str | None,
    counted: Survey,
    drop_bad: int = 0,
) -> str:
    """Return the text of dataset.yaml."""
    task = reading.task
    lines = [
        "# Made by `make fork`; README.md says what was guessed. You can change any line.",
        _dump({"name": name}),
        f"task: {task}",
        "licence: unknown       # the terms under which these rows may be used",
        "source:",
        *("  " + line for line in _dump(source).splitlines()),
    ]
    if drop_bad:
        lines += [f"allow_drop: {drop_bad}          # bad rows that are dropped; more than this is an error"]
    if group:
        lines += [
            "# Rows of one group stay in one split, and statistics count groups.",
            _dump({"group": group}),
        ]
    if task == "classification":
        chat = reading.layout != "labels"
        what = reading.columns.get("label", "label")
        what = "label" if "." in what else what
        listed = ", ".join(counted.labels)
        lines += [
            'system: "{{ system }}"' if chat else _dump({"system": f"Give the {what} of the text."}),
            'prompt: "{{ turns[0].content }}"' if chat else 'prompt: "{{ text }}"',
            'answer: "{{ turns[1].content }}"' if chat else 'answer: "{{ label }}"',
            _dump({"labels": list(counted.labels)}, flow=True),
            "# The system prompt of the base model, if it scores better on dev than `system`.",
            _dump({"baseline_prompt": f"Answer with one of these labels and nothing else: {listed}"}),
        ]
    elif task == "qa":
        lines += [
            "system: Answer from the passage.",
            r'prompt: "{{ context }}\n\n{{ question }}"',
            "answers: answers",
            *([f"no_answer: {NO_ANSWER}"] if counted.unanswered else []),
            "# The system prompt of the base model, if it scores better on dev than `system`.",
            f"# It is based on the {counted.answers.in_words()}.",
            _dump({"baseline_prompt": counted.answers.prompt(NO_ANSWER if counted.unanswered else None)}),
        ]
    else:
        lines += ["turns: turns", *(["tools: tools"] if counted.with_tools else [])]
        lines += ['rejected: "{{ rejected }}"'] if task == "preference" else []
        lines += ['system: "{{ system }}"', 'prompt: "{{ content }}"']
    return "\n".join(lines) + "\n"


def _dump(value: dict[str, Any], flow: bool = False) -> str:
    """Return `value` as YAML that `read_yaml` reads back unchanged: OmegaConf reads 1e-4 as a number, PyYAML
    as text."""

    def dump(**more: Any) -> str:
        style = None if flow else False
        return yaml.safe_dump(
            value, sort_keys=False, allow_unicode=True, width=WIDTH, default_flow_style=style, **more
        ).rstrip()

    plain = dump()
    return plain if parse_yaml(plain, "dataset.yaml")[0] == value else dump(default_style='"')


def shares(counted: Survey, data: DataFiles) -> dict[str, float]:
    """Return the shares of train for the splits that have no file."""
    rows = max(1, counted.rows["train"])
    found = {split: min(SHARE[split], MOST[split] / rows) for split in SHARE if split not in data.splits}
    if "test" in found and (groups := len(counted.groups)) * MOST_OF_GROUPS >= FEWEST:
        found["test"] = max(found["test"], min(MOST_OF_GROUPS, TEST_GROUPS / groups))
    return {f"{split}_share": round(share, 4) for split, share in found.items()}


def card(name: str, data: str, why: list[str], counts: Mapping[Any, int]) -> str:
    """Return the dataset's README.md."""
    reasons = "\n".join(f"- {line}." for line in why)
    splits = ", ".join(f"{count} {split}" for split, count in counts.items())
    return f"""# {name}

Rows of `{data}`, read by `make fork` ({splits}). Describe here what they are and who made them.

## How the rows were read, and why

{reasons}

To change this, edit `dataset.yaml`; `make data NAME=` of a recipe that uses it renders the rows again.

## Licence

Not stated: `licence: unknown` in `dataset.yaml`. Fill it in before you share a model trained on these rows.
"""
