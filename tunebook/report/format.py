"""TODO."""

from __future__ import annotations

from typing import Any

from tunebook.core.console import Console
from tunebook.metrics.scoring import UNBOUNDED

SHOWN = (  # in the console and in a recipe's card; the report shows every metric
    *("accuracy", "macro_f1", "invalid_rate"),
    *("f1", "em", "has_answer_f1", "has_answer_em", "no_answer_em"),
    *("preference", "reward_accuracy", "loss", "chrf", "rules", "calls", "stop_rate", "length_ratio"),
)


def number(metric: str, value: float | None) -> str:
    """Return a value as people read it; `not measured` for None."""
    if value is None:
        return "not measured"
    if metric in UNBOUNDED:
        return f"{value:.3f}"
    return f"{value * 100:.1f} %"


def cell(metric: str, measure: dict[str, Any] | None) -> str:
    """Return `value (low to high)`."""
    if not measure or measure["value"] is None:
        return "-"
    text = number(metric, measure["value"])
    if measure["low"] is None:
        return text
    return f"{text} ({number(metric, measure['low'])} to {number(metric, measure['high'])})"


def table(measured: dict[str, Any], whole: bool) -> list[dict[str, str]]:
    """Return one row a contender, the tuned model first; if `whole`, with intervals, how the answers were
    made and every metric that was measured for any contender, else with those of them in `SHOWN`."""
    there = {
        name for found in measured["contenders"].values() for name in found if cell(name, found[name]) != "-"
    }
    tuned = measured["contenders"]["tuned"]
    order = sorted(measured["contenders"], key=lambda name: (name != "tuned", name != measured["baseline"]))
    rows = []
    for name in order:
        measures = measured["contenders"][name]
        mark = " (baseline)" if name == measured["baseline"] else ""
        row = {"contender": name + mark}
        if whole:
            row["answers"] = measured["details"][name]["made"]
            row |= {metric: cell(metric, measures.get(metric)) for metric in tuned if metric in there}
        else:
            for metric in (metric for metric in SHOWN if metric in tuned and metric in there):
                measure = measures.get(metric)
                row[metric] = number(metric, measure and measure["value"])
        rows.append(row)
    return rows


def by_metric(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Turn one row a contender into one row a metric: there are more metrics than contenders."""
    return [
        {"metric": metric, **{row["contender"]: row[metric] for row in rows}}
        for metric in rows[0]
        if metric != "contender"
    ]


def show_verdict(measured: dict[str, Any], console: Console) -> None:
    """Print the table, the gates and the verdict sentence."""
    rows = [
        {k: v.replace("not measured", "-") for k, v in row.items()} for row in table(measured, whole=False)
    ]
    console.table(rows)
    for gate in measured["gates"]:
        if gate["passed"] is False:
            console.note(f"gate failed: {gate['name']} is {gate['value']:.3f}, bound {gate['bound']}")
    console.stage("verdict", f"{measured['verdict']}. {measured['sentence']}")
