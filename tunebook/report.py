"""report.html, report.md, the model card and the table at the end of a run, from metrics.json alone."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from tunebook import figures
from tunebook.advice import next_steps
from tunebook.console import Console
from tunebook.contenders import ENDPOINT
from tunebook.dataset import read_rows
from tunebook.metrics import HIGHER_IS_BETTER, UNBOUNDED, per_row
from tunebook.pairs import in_words, review_summary
from tunebook.run import Run, read_json
from tunebook.tools import written

SHOWN = (  # in the console and in a recipe's card; the report shows every metric
    *("accuracy", "macro_f1", "invalid_rate"),
    *("f1", "em", "has_answer_f1", "has_answer_em", "no_answer_em"),
    *("preference", "reward_accuracy", "loss", "chrf", "rules", "calls", "stop_rate", "length_ratio"),
)
SIDE_BY_SIDE, EXTREMES = 20, 5
LONGEST = 4000  # characters of a text that is shown


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


def _training_curve(measured: dict[str, Any], history: dict[str, Any]) -> str:
    """Return train loss, dev loss and, where checkpoints were asked on dev, the task's own metric."""
    log = history["log"]
    series = {
        "train loss": [(e["step"], e["loss"]) for e in log if "loss" in e and "step" in e],
        "dev loss": [(e["step"], e["eval_loss"]) for e in log if "eval_loss" in e and "step" in e],
    }
    checkpoints = measured.get("checkpoints")
    right: dict[str, list[tuple[float, float]]] = {}
    watched = f"eval_dev_{measured['primary']}"
    asked = [(e["step"], e[watched]) for e in log if watched in e and "step" in e]
    if asked:
        right[f"{measured['primary']} on dev, while training"] = asked
    if checkpoints:
        points = sorted((float(step), float(value)) for step, value in checkpoints["dev"].items())
        right[f"{checkpoints['metric']} on dev"] = points
    if not any(series.values()):
        return ""
    return figures.curve(series, "optimizer step", "nats per trained token", right, measured["primary"])


def _pictures(measured: dict[str, Any], history: dict[str, Any]) -> dict[str, str]:
    primary = measured["primary"]
    points = [
        {"name": name, **measures[primary]}
        for name, measures in measured["contenders"].items()
        if measures.get(primary) and measures[primary]["value"] is not None
    ]
    found = {
        "curve": _training_curve(measured, history),
        "contenders": figures.bars(points, f"{primary}, 95 % intervals", marked="tuned"),
    }
    confusion = measured.get("confusion")
    if confusion:
        found["confusion"] = figures.confusion(confusion["matrix"], confusion["labels"], confusion["answers"])
    return found


def side_by_side(run: Run, measured: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Return rows with what was asked, the reference and both answers: the worst regressions and the best
    gains against the baseline by the primary metric, and 20 drawn with the run's seed."""
    folder, split, primary = run / "eval" / "answers", measured["split"], measured["primary"]
    asked = {
        row["id"]: [turn for turn in row["messages"][:-1] if turn["role"] != "system"]
        for row in read_rows(run / "data" / f"{split}.jsonl")
    }
    base = {row["id"]: row for row in read_rows(folder / f"{measured['baseline']}.{split}.jsonl")}
    tuned = [row for row in read_rows(folder / f"tuned.{split}.jsonl") if "answer" in row]
    sign = 1 if HIGHER_IS_BETTER[primary] else -1
    before, after = per_row([base[row["id"]] for row in tuned], primary), per_row(tuned, primary)
    gain = {
        row["id"]: sign * (b - a)
        for row, a, b in zip(tuned, before, after, strict=True)
        if a is not None and b is not None
    }
    by_gain = sorted((row for row in tuned if row["id"] in gain), key=lambda row: gain[row["id"]])
    chosen = random.Random(measured["seed"]).sample(tuned, min(SIDE_BY_SIDE, len(tuned)))
    picked = {
        "worst": [row for row in by_gain[:EXTREMES] if gain[row["id"]] < 0],
        "best": [row for row in by_gain[::-1][:EXTREMES] if gain[row["id"]] > 0],
        "drawn": chosen,
    }
    return {
        kind: [
            {
                "id": row["id"],
                "asked": _cut("\n".join(f"{turn['role']}: {written(turn)}" for turn in asked[row["id"]])),
                "reference": _cut(row["gold"]),
                "baseline": _cut(base[row["id"]].get("answer", "")),
                "tuned": _cut(row["answer"]),
            }
            for row in rows
        ]
        for kind, rows in picked.items()
    }


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} [... {len(text) - LONGEST} more characters]"


def write_report(run: Run) -> Path:
    """Write report.html, report.md and the model card, and return the path of the first."""
    from tunebook.judge import judge_summary  # its HTTP client is slow to import

    measured, history = read_json(run / "metrics.json"), read_json(run / "train" / "history.json")
    judged, asked = judge_summary(run), {}
    if ENDPOINT in measured["contenders"]:
        asked[ENDPOINT] = read_json(run / "eval" / ENDPOINT / "summary.json")
    if judged:
        asked["judge"] = judged["asked"]
    environment = Environment(
        loader=PackageLoader("tunebook", "templates"),
        autoescape=select_autoescape(["html.jinja"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"number": number, "cell": cell, "in_words": in_words}
    settings = read_json(run / "settings.json")
    values = {
        "m": measured,
        "table": by_metric(table(measured, whole=True)),
        "choice": read_json(run / "eval" / "choice.json"),
        "manifest": read_json(run / "manifest.json"),
        "dataset": settings["dataset"],
        "answers": side_by_side(run, measured),
        "next_steps": next_steps(measured, history),
        "minutes": sum(measured["seconds"].values()) / 60,
        "gained": _gained(measured),
        "config": (run / "config.yaml").read_text(encoding="utf-8")
        if (run / "config.yaml").is_file()
        else "",
        "review": review_summary(run),
        "judged": judged,
        "asked": asked,
    }
    for name in ("report.md", "report.html", "model_card.md"):
        pictures = _pictures(measured, history) if name.endswith("html") else {}
        text = environment.get_template(f"{name}.jinja").render(values, pictures=pictures)
        (run / name).write_text(text, encoding="utf-8")
    if (run / "model").is_dir() and not (run / "model").is_symlink():
        shutil.copy(run / "model_card.md", run / "model" / "README.md")
    return run / "report.html"


def _gained(measured: dict[str, Any]) -> float | None:
    """Return the points (hundredths) of the primary metric gained on the baseline; None for a loss."""
    if measured["primary"] == "loss":
        return None
    values = [
        measured["contenders"][name][measured["primary"]]["value"] for name in ("tuned", measured["baseline"])
    ]
    return (values[0] - values[1]) * 100
