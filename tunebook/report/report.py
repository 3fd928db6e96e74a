"""report.html, report.md, the model card and the table at the end of a run, from metrics.json alone."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape

from tunebook.core.files import read_json, read_jsonl
from tunebook.data.tool_calls import written
from tunebook.evaluation.contenders import ENDPOINT
from tunebook.evaluation.endpoint.judge import judge_summary  # its HTTP client is slow to import
from tunebook.evaluation.pairs import in_words, review_summary
from tunebook.metrics.scoring import HIGHER_IS_BETTER, per_row
from tunebook.report import figures
from tunebook.report.advice import next_steps
from tunebook.report.format import by_metric, cell, number, table
from tunebook.runs.run import Run

SIDE_BY_SIDE, EXTREMES = 20, 5
LONGEST = 4000  # characters of a text that is shown


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
        for row in read_jsonl(run / "data" / f"{split}.jsonl")
    }
    base = {row["id"]: row for row in read_jsonl(folder / f"{measured['baseline']}.{split}.jsonl")}
    tuned = [row for row in read_jsonl(folder / f"tuned.{split}.jsonl") if "answer" in row]
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

    measured, history = read_json(run / "metrics.json"), read_json(run / "train" / "history.json")
    judged, asked = judge_summary(run), {}
    if ENDPOINT in measured["contenders"]:
        asked[ENDPOINT] = read_json(run / "eval" / ENDPOINT / "summary.json")
    if judged:
        asked["judge"] = judged["asked"]
    environment = Environment(
        loader=PackageLoader("tunebook.report", "templates"),
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
