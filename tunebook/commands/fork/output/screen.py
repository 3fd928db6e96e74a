"""The summary that a fork prints: at most 25 lines of 80 columns, with the full text in a file next to the
rows.

In: what was made and found. Out: the lines, and the text of `fork.txt`.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from tunebook.check.findings import GRADES, Finding, Findings
from tunebook.core.errors import BAD_INPUT, GOOD
from tunebook.core.paths import show
from tunebook.data.field_use.show import TITLES, Fate, Use, field_lines
from tunebook.data.files.label_sets import MISSING, folded
from tunebook.data.files.split_names import SPLITS, Split
from tunebook.runs.rows import RenderedRow

WIDTH, MOST_LINES, NAME = 80, 25, 10  # columns, lines, columns for a line's name
DECISIONS = 3  # shown in the terminal
WARNING = "warning: "
OFFSETS = ".answer_start"  # fields of SQuAD that repeat the text of the answer
NULLS = MISSING - frozenset("none na - ? unknown missing".split())  # these may be answers
FEWEST_LETTERS = 12  # minimum length of a prompt with which no answer begins by chance


class Rooms(NamedTuple):
    """How much of each part is shown: fields per list, kinds of findings, lines per text. Errors stop the
    user, so they get more lines than warnings."""

    fields: dict[Fate, int]
    kinds: int
    of_line: int
    of_decision: int
    of_error: int


ROOMS = (  # the first one that fits is used
    Rooms({"learned": 6, "used": 4, "not learned": 6}, 4, 2, 3, 6),
    Rooms({"learned": 3, "used": 2, "not learned": 4}, 3, 2, 2, 5),
    Rooms({"learned": 2, "used": 1, "not learned": 3}, 2, 1, 1, 4),
)


@dataclass
class Told:
    """What there is to say of one fork. `decide` is what a person has to decide, the most urgent first."""

    read: str
    made: str
    counts: Mapping[str, int]
    own: frozenset[str]  # splits that come as files
    grouped: str
    groups: int
    labels: Mapping[str, int]
    fields: list[Use]
    decide: list[str]
    details: list[str]
    report: str  # the path of fork.txt
    left_out: int = 0
    found: Findings = field(default_factory=Findings)


def lines(told: Told, following: str, code: int) -> list[str]:
    """Return the lines of the summary. `following` is the next command, shown only if the check passed;
    `code` is the check's exit code."""
    more_to_decide = len(told.decide) - DECISIONS
    more = f" ({more_to_decide} more to decide)" if more_to_decide > 0 else ""
    for rooms in ROOMS:
        result = _head(told, rooms)
        end = [*_check(told, rooms), *_said("details", _tail(told.report, more), 1)]
        first = "correct the errors" if code == BAD_INPUT else "see what could not be checked"
        stopped = f"{first}, then run the same command again"
        end += _said("next", following, 1) if code == GOOD else _said("stopped", stopped)
        room = MOST_LINES - len(result) - len(end)
        decisions: list[str] = []
        shown = 0
        for number, text in enumerate(told.decide[:DECISIONS], 1):
            new = _said("" if decisions else "decide", f"{number}. {text}", rooms.of_decision)
            if len(decisions) + len(new) <= room:
                decisions += new
                shown += 1
        if room >= 0 and shown == min(DECISIONS, len(told.decide)):
            break
    return [*result, *decisions, *end]


def _head(told: Told, rooms: Rooms) -> list[str]:
    result = [*_said("read", told.read, rooms.of_line), *_said("made", told.made, rooms.of_line)]
    result += _said("rows", _rows(told))
    if told.left_out:
        rows = f"{told.left_out} bad row{'s' * (told.left_out > 1)}"
        result += _said("left out", f"{rows} (DROP_BAD=): see left-out.jsonl")
    if told.labels:
        result += _said("labels", _labels(told.labels), 1)
    return [*result, *field_lines(told.fields, rooms.fields)]


def _check(told: Told, rooms: Rooms) -> list[str]:
    kinds = [(*key, kind) for key, kind in told.found.kinds.items()]
    kinds.sort(key=lambda kind: GRADES.index(kind[0]))
    more = f", {len(kinds)} kinds" if len(kinds) > rooms.kinds else ""
    result = _said("check", f"{told.found.counts()}{more}", 1)
    for grade, name, kind in kinds[: rooms.kinds]:
        first = "".join(_short(one) for one in kind.shown[:1])
        result += _said(
            "", f"{grade}: {name} ({kind.count}) {first}", rooms.of_error if grade == "error" else 1
        )
    return result


def report(told: Told) -> str:
    """Return the text of fork.txt: everything, in full."""
    rows = "\n".join(f"{fate}: {use}" for fate in TITLES for use in told.fields if use.fate == fate)
    decide = "\n".join(f"- {text}" for text in told.decide) or "nothing"
    details = "\n".join(f"- {text}" for text in told.details)
    labels = "\n".join(f"- {label}: {count} rows" for label, count in told.labels.items())
    return (
        f"{told.read}\nmade {told.made}\nrows: {_rows(told)}\n\n"
        f"How the rows were read, and what was changed\n\n{details}\n\n"
        f"What happens to every field (values that are not empty, the first different ones)\n\n{rows}\n\n"
        + (f"Labels\n\n{labels}\n\n" if labels else "")
        + f"To decide\n\n{decide}\n\n"
        f"What the check found\n\n{told.found.listed()}"
    )


def _tail(path: str, more: str) -> str:
    """Return the end of a path that is too long for a line, and `more` after it."""
    room = WIDTH - NAME - len(more)
    return (path if len(path) <= room else f"...{path[3 - room :]}") + more


def _short(finding: Finding) -> str:
    """Return a finding with the name of its file only."""
    return str(replace(finding, file=Path(finding.file).name if finding.file else None))


def _rows(told: Told) -> str:
    total = sum(told.counts.values())
    parts = []
    for split in SPLITS:
        file = ", own file" if split in told.own and split != "train" else ""
        parts.append(f"{told.counts[split]:,} {split} ({told.counts[split] / total:.0%}{file})")
    return f"{', '.join(parts)}; {told.grouped}, {told.groups:,} groups"


def _labels(labels: Mapping[str, int]) -> str:
    common = Counter(labels).most_common()
    names = ", ".join(f"{name!r:.30} {count}" for name, count in common[:3])
    last = f" ... {common[-1][0]!r:.30} {common[-1][1]}" if len(common) > 3 else ""
    return f"{len(labels)}: {names}{last}"


def _said(name: str, text: str, most: int = 2) -> list[str]:
    """Return `text` after `name`, on at most `most` lines."""
    wrapped = textwrap.wrap(text, WIDTH - NAME, break_on_hyphens=False) or [""]
    if len(wrapped) > most:
        wrapped = [*wrapped[: most - 1], f"{wrapped[most - 1][: WIDTH - NAME - 4].rstrip()} ..."]
    return [f"{name if not number else '':{NAME}}{line}" for number, line in enumerate(wrapped)]


def as_read(layout: str, columns: Mapping[str, str]) -> str:
    """Return the layout of the rows and the column of each field."""
    named = " ".join(f"{name}={column}" for name, column in columns.items())
    return f"layout {layout}{f' ({named})' if named else ''}"


def warnings(notes: list[str]) -> list[str]:
    """Return the warnings among the notes on the rows, which the check after it does not repeat."""
    return [note.removeprefix(WARNING) for note in notes if note.startswith(WARNING)]


def decisions(fields: list[Use], notes: list[str], name: str, splits: list[str]) -> list[str]:
    """Return what the user has to decide, the most urgent first. `splits` are columns by which rows that
    count as independent could be grouped."""
    decide = []
    if splits:
        decide.append(f"rows count as independent; consider {' or '.join(splits)}")
    if idle := [
        use.path
        for use in fields
        if use.fate == "not learned" and not (use.dropped or use.partly or use.path.endswith(OFFSETS))
    ]:
        fields_are = "1 field is" if len(idle) == 1 else f"{len(idle)} fields are"
        decide.append(
            f"{fields_are} not learned: accept this, name the column with FIELDS=, or add it to the texts"
        )
    decide += notes
    return [*decide, f"licence: unknown in datasets/{name}/dataset.yaml: whose rows are these?"]


def begins_with_prompt(rows: Mapping[Split, list[RenderedRow]]) -> list[str]:
    """Return what to decide if answers repeat their prompt at the start, as in data for completion models."""
    every = [row["messages"] for some in rows.values() for row in some]
    count = sum(
        len(prompt := turns[-2]["content"]) >= FEWEST_LETTERS and turns[-1]["content"].startswith(prompt)
        for turns in every
    )
    if 2 * count < len(every):
        return []
    return [
        f"{count} of {len(every)} answers begin with their whole prompt, which the model would learn to "
        "repeat: remove it?"
    ]


def answers_that_are_none(rows: Mapping[Split, list[RenderedRow]], task: str) -> list[str]:
    """Return what to decide if answers are only a sign of a missing value, such as NULL."""
    if task == "classification":
        return []  # said of the labels
    every = [row["messages"][-1]["content"] for some in rows.values() for row in some]
    found = Counter(text for text in every if folded(text) in NULLS)
    if not found:
        return []
    names = ", ".join(f"{text!r} ({count})" for text, count in found.most_common(3))
    return [f"answers that may stand for a missing value are learned: {names}. Leave these rows out?"]


def with_own_files(found: Findings, folder: Path, copied: Mapping[str, Path]) -> Findings:
    """Return `found` with the user's own files in place of their copies in `folder`."""
    for name, own in copied.items():
        copy = show(folder / name)
        for kind in found.kinds.values():
            kind.shown = [
                replace(
                    one,
                    file=show(own) if one.file == copy else one.file,
                    text=one.text.replace(copy, show(own)),
                )
                for one in kind.shown
            ]
    return found
