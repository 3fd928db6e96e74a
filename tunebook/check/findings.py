"""The findings of a check: collected by kind, printed as a list, or as JSON for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from tunebook.core.console import Console
from tunebook.core.errors import Problem

Grade = Literal["error", "warning", "note"]
GRADES: tuple[Grade, ...] = ("error", "warning", "note")
COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
# findings of each kind that are kept, shown (of each code), and in JSON
SHOWN, PRINTED, IN_JSON = 1000, 3, 20
ROWS = "rows, labels, duplicates, secrets"  # what is not checked where the rows cannot be read


@dataclass(frozen=True)
class Finding:
    """A finding: grade, kind, place, what to do, a link to the evidence, and a stable code
    (docs/errors.md)."""

    grade: Grade
    kind: str
    text: str
    do: str = ""
    file: str | None = None
    line: int | None = None
    key: str | None = None
    link: str | None = None
    code: str = field(kw_only=True)

    def problem(self) -> Problem:
        """Return the finding as a Problem, for an error that stops a run."""
        text = " ".join(part for part in (self.text, self.do) if part)
        if self.link:
            text += f" ({self.link})"
        return Problem(text, self.file, self.line, self.key, self.code)

    def __str__(self) -> str:
        return str(self.problem())


def of_problem(problem: Problem, kind: str, grade: Grade = "error") -> Finding:
    """Return `problem` as a finding of `grade`, with its own code."""
    file = None if problem.file is None else str(problem.file)
    text, line, key = problem.text, problem.line, problem.key
    return Finding(grade, kind, text, file=file, line=line, key=key, code=problem.code)


class Add(Protocol):
    """A function that adds a finding about a key of the config. Every call has a literal code."""

    def __call__(
        self, grade: Grade, key: str, text: str, do: str = "", link: str | None = None, *, code: str
    ) -> None: ...


@dataclass
class Kind:
    """All findings of one kind and grade: their number, and the first of them."""

    count: int = 0
    shown: list[Finding] = field(default_factory=list)

    def first(self) -> list[Finding]:
        """Return the first three findings of each code."""
        codes = dict.fromkeys(finding.code for finding in self.shown)
        of_code = ([one for one in self.shown if one.code == code][:PRINTED] for code in codes)
        return [finding for some in of_code for finding in some]


class Findings:
    """All findings of a check. The first 1,000 of each kind are kept, and all are counted."""

    def __init__(self) -> None:
        self.kinds: dict[tuple[Grade, str], Kind] = {}
        self.not_checked: dict[str, str] = {}
        self.facts: dict[str, Any] = {}

    @property
    def unread(self) -> bool:
        """Whether the rows were not read: they are on the Hub, which could not be reached."""
        return ROWS in self.not_checked

    def add(self, finding: Finding) -> None:
        kind = self.kinds.setdefault((finding.grade, finding.kind), Kind())
        kind.count += 1
        if len(kind.shown) < SHOWN:
            kind.shown.append(finding)

    def extend(self, findings: list[Finding]) -> None:
        for finding in findings:
            self.add(finding)

    def skip(self, what: str, why: str) -> None:
        """Record that `what` was not checked, and why."""
        self.not_checked[what] = why

    def count(self, grade: Grade) -> int:
        return sum(kind.count for (other, _), kind in self.kinds.items() if other == grade)

    def show(self, console: Console) -> None:
        """Print every kind, errors first, then what was not checked, and a line with the counts."""
        for grade in GRADES:
            for (other, name), kind in self.kinds.items():
                if other != grade:
                    continue
                first = kind.first()
                more = f", the first {len(first)} shown" if kind.count > len(first) else ""
                count = f" ({kind.count}{more})" if kind.count > 1 else ""
                console.rich.print(f"[{COLOURS[grade]}]{grade:<9}[/] {name}{count}")
                for finding in first:
                    console.note(str(finding))
        for what, why in self.not_checked.items():
            console.rich.print(f"not checked ({why}): {what}", markup=False)
        see = ", see above" if self.not_checked else ""
        console.stage("found", self.counts() + see)

    def counts(self) -> str:
        """Return the number of errors, warnings and notes, and of things not checked."""
        counts = ", ".join(f"{self.count(g)} {g}{'' if self.count(g) == 1 else 's'}" for g in GRADES)
        counts += f"; {len(self.not_checked)} checks skipped" if self.not_checked else ""
        return counts + (", the rows were not read" if self.unread else "")

    def shortened(self) -> bool:
        """Return whether `show` omits findings."""
        return any(len(kind.first()) < kind.count for kind in self.kinds.values())

    def listed(self) -> str:
        """Return every kept finding as text."""
        lines = []
        kinds = sorted(self.kinds.items(), key=lambda item: GRADES.index(item[0][0]))
        for (grade, name), kind in kinds:
            lines += [f"{grade}: {name} ({kind.count})", *(f"  {finding}" for finding in kind.shown)]
        lines += [f"not checked ({why}): {what}" for what, why in self.not_checked.items()]
        return "\n".join([*lines, self.counts(), ""])

    def as_json(self) -> dict[str, Any]:
        """Return the output of `--json`: counts, kinds with their first findings, facts, and what was
        omitted."""
        return {
            "schema": 1,
            "counts": {grade: self.count(grade) for grade in GRADES},
            "kinds": [
                {
                    "grade": grade,
                    "kind": name,
                    "count": kind.count,
                    "first": [asdict(finding) for finding in kind.shown[:IN_JSON]],
                }
                for (grade, name), kind in self.kinds.items()
            ],
            "not_checked": self.not_checked,
            "facts": self.facts,
        }
