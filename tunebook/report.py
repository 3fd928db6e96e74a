"""report.html, report.md and the table at the end of a run. All numbers come from metrics.json."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from tunebook.console import Console
from tunebook.dataset import read_rows
from tunebook.run import Run, read_json

SHOWN = (
    *("accuracy", "macro_f1", "invalid_rate"),
    *("f1", "em", "has_answer_f1", "has_answer_em", "no_answer_em"),
    *("loss", "chrf", "rules", "stop_rate", "length_ratio"),
)
SIDE_BY_SIDE = 20


def number(metric: str, value: float | None) -> str:
    """Return a value as people read it; `not measured` for None."""
    if value is None:
        return "not measured"
    if metric in ("loss", "length_ratio"):
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


def table(measured: dict[str, Any], intervals: bool) -> list[dict[str, str]]:
    """Return one row a contender, the tuned model first."""
    order = sorted(measured["contenders"], key=lambda name: (name != "tuned", name != measured["baseline"]))
    rows = []
    for name in order:
        measures = measured["contenders"][name]
        mark = " (baseline)" if name == measured["baseline"] else ""
        row = {"contender": name + mark}
        for metric in SHOWN:
            if metric in measured["contenders"]["tuned"]:
                measure = measures.get(metric)
                row[metric] = (
                    cell(metric, measure) if intervals else number(metric, measure and measure["value"])
                )
        rows.append(row)
    return rows


def show_verdict(measured: dict[str, Any], console: Console) -> None:
    """Print the table, the gates and the verdict sentence."""
    rows = [{k: v.replace("not measured", "-") for k, v in row.items()} for row in table(measured, False)]
    console.table(rows)
    for gate in measured["gates"]:
        if gate["passed"] is False:
            console.note(f"gate failed: {gate['name']} is {gate['value']:.3f}, bound {gate['bound']}")
    console.stage("verdict", f"{measured['verdict']}. {measured['sentence']}")


def _loss_curve(history: dict[str, Any]) -> str:
    """Return the loss curve as HTML with plotly's script in it (no network needed)."""
    import plotly.graph_objects as go

    train = [(e["step"], e["loss"]) for e in history["log"] if "loss" in e and "step" in e]
    dev = [(e["step"], e["eval_loss"]) for e in history["log"] if "eval_loss" in e]
    figure = go.Figure()
    for name, points, mode in (("train", train, "lines"), ("dev", dev, "lines+markers")):
        if points:
            x, y = zip(*points, strict=True)
            figure.add_scatter(x=list(x), y=list(y), name=name, mode=mode)
    figure.update_layout(
        xaxis_title="optimizer step",
        yaxis_title="loss (nats per trained token)",
        template="plotly_white",
        height=340,
        margin={"l": 50, "r": 10, "t": 10, "b": 40},
        legend={"orientation": "h", "y": 1.12},
    )
    # The tool bar would lie over the legend on a phone.
    config = {"responsive": True, "displayModeBar": False}
    return figure.to_html(full_html=False, include_plotlyjs=True, config=config)


def side_by_side(run: Run, measured: dict[str, Any]) -> list[dict[str, str]]:
    """Return 20 rows, drawn with the run's seed: what was asked, the reference, both answers."""
    folder, split = run / "eval" / "answers", measured["split"]
    asked = {
        row["id"]: [turn for turn in row["messages"][:-1] if turn["role"] != "system"]
        for row in read_rows(run / "data" / f"{split}.jsonl")
    }
    base = {row["id"]: row for row in read_rows(folder / f"{measured['baseline']}.{split}.jsonl")}
    tuned = [row for row in read_rows(folder / f"tuned.{split}.jsonl") if "answer" in row]
    chosen = random.Random(measured["seed"]).sample(tuned, min(SIDE_BY_SIDE, len(tuned)))
    return [
        {
            "id": row["id"],
            "asked": "\n".join(f"{turn['role']}: {turn['content']}" for turn in asked[row["id"]]),
            "reference": row["gold"],
            "baseline": base[row["id"]].get("answer", ""),
            "tuned": row["answer"],
        }
        for row in chosen
    ]


def write_report(run: Run) -> Path:
    """Write report.html and report.md and return the path of the first."""
    measured, history = read_json(run / "metrics.json"), read_json(run / "train" / "history.json")
    environment = Environment(
        loader=PackageLoader("tunebook", "templates"),
        autoescape=select_autoescape(["html.jinja"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["number"] = number
    values = {
        "m": measured,
        "table": table(measured, intervals=True),
        "choice": read_json(run / "eval" / "choice.json"),
        "manifest": read_json(run / "manifest.json"),
        "answers": side_by_side(run, measured),
    }
    for name in ("report.md", "report.html"):
        curve = _loss_curve(history) if name.endswith("html") else ""
        text = environment.get_template(f"{name}.jinja").render(values, curve=curve)
        (run / name).write_text(text, encoding="utf-8")
    return run / "report.html"
