"""Numbers and tables of a run for people, shared by the console, the cards and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunebook.core.console import Console
from tunebook.evaluation.contenders import TUNED_RANKED
from tunebook.metrics.schema import Metrics
from tunebook.metrics.scoring import UNBOUNDED
from tunebook.report import names
from tunebook.report.light import traffic_light

SHOWN = (  # metrics in the console and in a recipe's card; the report shows all
    *("accuracy", "macro_f1", "invalid_rate"),
    *("f1", "em", "has_answer_f1", "has_answer_em", "no_answer_em"),
    *("preference", "reward_accuracy", "loss", "chrf", "rules", "calls", "stop_rate"),
    *("unfinished_rate", "length_ratio"),
)


def number(metric: str, value: float | None) -> str:
    """Return a value formatted for people; `not measured` for None."""
    if value is None:
        return "not measured"
    return f"{value:.3f}" if metric in UNBOUNDED else f"{value * 100:.1f} %"


def cell(metric: str, measure: Mapping[str, Any] | None) -> str:
    """Return `value (low to high)`."""
    if not measure or measure["value"] is None:
        return "-"
    text = number(metric, measure["value"])
    if measure["low"] is None:
        return text
    return f"{text} ({number(metric, measure['low'])} to {number(metric, measure['high'])})"


def in_order(measured: Metrics) -> list[str]:
    """Return the contenders: the fine-tuned model, the baseline, then the others."""
    first = (names.TUNED, measured["baseline"])
    return sorted(measured["contenders"], key=lambda name: (name != first[0], name != first[1]))


def table(measured: Metrics, whole: bool, shots: int | None = None) -> list[dict[str, str]]:
    """Return one row per metric with a column for each contender. With `whole`, include intervals, how the
    answers were produced and every metric measured for any contender; otherwise only the metrics in
    `SHOWN`."""
    contenders = measured["contenders"]
    columns = {name: names.contender(name, measured["baseline"], shots) for name in in_order(measured)}
    rows = []
    if whole:
        made = {title: measured["details"][name]["made"] for name, title in columns.items()}
        rows.append({"metric": "answers", **made})
    tuned = contenders[names.TUNED]
    measured_of_any = dict.fromkeys([*tuned, *(name for each in contenders.values() for name in each)])
    for metric in measured_of_any if whole else [name for name in SHOWN if name in tuned]:
        measures = {title: contenders[name].get(metric) for name, title in columns.items()}
        if all(cell(metric, measure) == "-" for measure in measures.values()):
            continue
        head = f"{names.metric(metric)}, {names.direction(metric)}{_of(measures, measured['rows'])}"
        shown = {
            title: cell(metric, measure) if whole else number(metric, measure and measure["value"])
            for title, measure in measures.items()
        }
        rows.append({"metric": head, **shown})
    return rows


def thresholds(measured: Metrics) -> list[dict[str, str]]:
    """Return what THRESHOLD= of predict would leave of the test rows: a row for each tenth, as long as it
    leaves any; [] where the fine-tuned model did not rank labels."""
    ranked = measured["details"].get(TUNED_RANKED.name) or measured["details"][names.TUNED]
    bins = ranked["calibration"] or []
    rows = []
    for one in bins:
        kept = [other for other in bins if other["low"] >= one["low"] and other["n"]]
        count = sum(other["n"] for other in kept)
        if count:
            right = sum(other["n"] * (other["accuracy"] or 0.0) for other in kept) / count
            share = number("accuracy", count / sum(other["n"] for other in bins))
            rows.append(
                {
                    "THRESHOLD=": f"{one['low']:.1f}",
                    "get a label": share,
                    "of those right": number("accuracy", right),
                }
            )
    return rows


def _of(measures: Mapping[str, Any], rows: int) -> str:
    """Return the number of examples a metric is based on, if not all: in chat, answers are generated for a
    sample, and some metrics only cover questions with an answer."""
    counts = sorted(
        {measure["n"] for measure in measures.values() if measure and measure["value"] is not None}
    )
    if counts in ([], [rows]):
        return ""
    return f" ({' or '.join(map(str, counts))} of {names.count(rows, 'example')})"


def _short(title: str) -> str:
    """Return a contender's name for a narrow column header; the sentence below has the full name."""
    for prompt in ("best prompt", "plain prompt"):
        if title.startswith(f"{prompt} of the base"):
            return prompt
    return title


def show_verdict(measured: Metrics, console: Console) -> None:
    """Print the table, the gates, the traffic light and the verdict sentence."""
    ranked = names.contender(TUNED_RANKED.name)
    rows = [
        {_short(title): cell.replace("not measured", "-") for title, cell in row.items() if title != ranked}
        for row in table(measured, whole=False)
    ]
    console.table(rows)
    if again := measured["contenders"].get(TUNED_RANKED.name, {}).get("accuracy"):
        console.note(f"{ranked}: accuracy {number('accuracy', again['value'])} (make predict ranks them)")
    for gate in measured["gates"]:
        if gate["passed"] is False and gate["value"] is not None:
            title = f"{names.gate(gate['name'])} ({gate['name']})"
            console.note(f"gate failed: {title} is {gate['value']:.3f}, bound {gate['bound']}")
    console.stage("verdict", f"{measured['verdict']}. {measured['sentence']}")
    light = traffic_light(measured)
    console.stage("ship it?", f"{light.headline} {light.ship}")
