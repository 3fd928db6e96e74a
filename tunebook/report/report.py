"""report.html, report.md and the model card of a run."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from tunebook.core.files import read_json
from tunebook.core.markdown import markdown_table
from tunebook.core.paths import show
from tunebook.core.templates import template_environment
from tunebook.data.formats.turns import ordinal
from tunebook.data.formats.windows import held
from tunebook.data.tool_calls import written
from tunebook.evaluation.contenders import ENDPOINT
from tunebook.evaluation.endpoint.judge import judge_summary
from tunebook.evaluation.pairs import agreement_in_words, in_words, review_summary
from tunebook.metrics.answers import Answer, read_answer_file
from tunebook.metrics.schema import Comparison, Metrics, read_metrics
from tunebook.metrics.scoring import HIGHER_IS_BETTER, UNBOUNDED, per_row
from tunebook.report import figures, names, parity, turns
from tunebook.report.advice import next_steps, risks
from tunebook.report.format import cell, in_order, number, table, thresholds
from tunebook.report.light import against, large_drops, largest_drop, traffic_light
from tunebook.report.loading import loading
from tunebook.runs.records import Choice
from tunebook.runs.rows import read_rows
from tunebook.runs.run import Run

TEMPLATES = Path(__file__).parent / "templates"
SIDE_BY_SIDE, EXTREMES = 20, 5
ENDS: tuple[Literal["low", "high"], ...] = ("low", "high")
LONGEST = 4000  # maximum number of characters shown of a text


def _training_curve(history: Mapping[str, Any]) -> str:
    """Return the training loss and the dev loss on one axis; "" if none was logged."""
    log = history["log"]
    series = {
        "training examples": [(e["step"], e["loss"]) for e in log if "loss" in e and "step" in e],
        "dev examples": [(e["step"], e["eval_loss"]) for e in log if "eval_loss" in e and "step" in e],
    }
    if not any(series.values()):
        return ""
    return figures.curve(series, "optimizer step", "loss, nats per trained token (lower is better)")


def _watched(measured: Metrics, history: Mapping[str, Any]) -> list[tuple[int, str]]:
    """Return the primary metric on dev at each step where it was measured during training."""
    key, primary = f"eval_dev_{measured['primary']}", measured["primary"]
    return [(e["step"], number(primary, e[key])) for e in history["log"] if key in e and "step" in e]


def _pictures(measured: Metrics, history: Mapping[str, Any]) -> dict[str, str]:
    pictures, confusion = {"curve": _training_curve(history)}, measured["confusion"]
    if confusion:
        pictures["confusion"] = figures.confusion(
            confusion["matrix"], confusion["labels"], confusion["answers"]
        )
    return pictures


class Bar(TypedDict):
    """A bar for a contender: its title and number, and its end and interval in percent of the width."""

    title: str
    text: str
    tuned: bool
    end: float | None
    low: float | None
    high: float | None


def _bars(measured: Metrics, shots: int | None) -> list[Bar]:
    """Return a bar of the primary metric for each measured contender."""
    primary = measured["primary"]
    measures = {name: measured["contenders"][name].get(primary) for name in in_order(measured)}
    shown = {name: found for name, found in measures.items() if found and found["value"] is not None}
    ends = [x for found in shown.values() for x in (found["value"], found["high"]) if x is not None]
    whole = 1.05 * max(ends) if primary in UNBOUNDED else 1.0

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * min(1.0, max(0.0, value / whole)), 2)

    return [
        {
            "title": names.contender(name, measured["baseline"], shots),
            "text": number(primary, found["value"]),
            "tuned": name == names.TUNED,
            "end": place(found["value"]),
            "low": place(found["low"]),
            "high": place(found["high"]),
        }
        for name, found in shown.items()
    ]


def _cost(measured: Metrics) -> str:
    """Return time, machine, dollars and memory of the run in a sentence."""
    minutes, hardware = sum(measured["seconds"].values()) / 60, measured["hardware"]
    time = f"{minutes / 60:.1f} hours" if minutes >= 90 else names.count(max(1, round(minutes)), "minute")
    gpus = [gpu["name"] for gpu in hardware.get("gpus") or []]
    machine = f"{len(gpus)} x {gpus[0]}" if gpus else names.count(hardware.get("cores", 1), "CPU core")
    interruptions = measured["interruptions"]
    dollars = interruptions["dollars"] if interruptions else None
    parts = [f"{time} on {machine}, training and evaluation"]
    if dollars is not None:
        parts.append(f"${dollars:.2f}")
    if measured["peak_memory_gib"] is not None:
        parts.append(f"{measured['peak_memory_gib']:.1f} GiB of peak memory")
    return "; ".join(parts) + "."


def _forgotten(measured: Metrics) -> tuple[str, str]:
    """Return a sentence on the largest loss of an ability, and its CSS class: "", "amber" or "red"."""
    line = largest_drop(measured)
    if line is None:
        return "Not measured.", ""
    kind = line["kind"]
    change = f"{names.task_number(kind, line['base'])} before, {names.task_number(kind, line['tuned'])} after"
    if line["drop"] <= 0:
        return f"Nothing: no ability got worse ({names.task(line['task'])}: {change}).", ""
    margin = names.task_drop(kind, line["margin"])
    limits = {
        None: "not judged",
        True: f"within the limit of {margin}",
        False: f"beyond the limit of {margin}",
    }
    limit = limits[line["passed"]] if line["margin"] is not None else "no limit was set for it"
    color = "red" if line["passed"] is False else "amber" if line in large_drops(measured) else ""
    text = (
        f"Most at {names.task(line['task'])}: {change}, {names.task_drop(kind, line['drop'])} worse; {limit}."
    )
    return text, color


def _windows(run: Run, split: str) -> str:
    """Return a sentence on what the score means if passages are shortened to windows, otherwise ""."""
    words = (run.settings()["dataset"].get("source") or {}).get("window")
    if not words:
        return ""
    found, of = held(read_rows(run / "data" / f"{split}.jsonl"))
    return (
        f"Passages are shortened to {words} words. In {split}, the window is chosen by the words of the "
        f"question, without looking at the answer: {found} of {of} windows contain an answer, and the score "
        "counts the others, too."
    )


def _difference(found: Comparison, baseline: str, shots: int | None) -> dict[str, str]:
    """Return a comparison as a row of report.md."""
    metric = found["metric"]
    interval = "" if found["low"] is None else " to ".join(names.signed(metric, found[end]) for end in ENDS)
    return {
        "fine-tuned compared with": names.contender(found["b"], baseline, shots),
        "metric": names.metric(metric),
        "difference": names.signed(metric, found["difference"]),
        "95 % interval": interval,
        "p": names.p_number(found["p"]),
        "corrected p": names.p_number(found["p_holm"]),
        "detectable difference": names.signed(metric, found["detectable"]).replace("+", ""),
    }


def side_by_side(run: Run, measured: Metrics) -> dict[str, list[dict[str, str]]]:
    """Return examples with their prompt, the reference and both answers: the worst regressions and the best
    gains against the baseline by the primary metric, and 20 drawn with the run's seed."""
    folder, split, primary = run / "eval" / "answers", measured["split"], measured["primary"]
    messages = {row["id"]: row["messages"] for row in read_rows(run / "data" / f"{split}.jsonl")}

    def prompt(record: Answer) -> str:
        before = messages[record["id"]][: record.get("turn", -1)]
        return "\n".join(f"{turn['role']}: {written(turn)}" for turn in before if turn["role"] != "system")

    base = {row["id"]: row for row in read_answer_file(folder / f"{measured['baseline']}.{split}.jsonl")}
    tuned = [row for row in read_answer_file(folder / f"tuned.{split}.jsonl") if "answer" in row]
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
                "asked": _cut(prompt(row)),
                "place": ordinal(messages[row["id"]], row.get("turn")),
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


def _loading(run: Run, measured: Metrics, choice: Choice, labels: int) -> dict[str, str | None]:
    """Return the precision of the evaluation and how to load the model in it; older runs record neither."""
    precision, config = choice.get("precision"), run / "config.yaml"
    if not precision or not config.is_file():
        return {"precision": None, "loading": None}
    folder = show(run / "model")
    return {
        "precision": precision,
        "loading": loading(run.config(), measured["model"], precision, labels, folder),
    }


def write_report(run: Run) -> Path:
    """Write report.html, report.md and the model card, and return the path of the first.

    Raises:
        InputError: metrics.json is missing, of another version or damaged.
    """
    measured, history = read_metrics(run / "metrics.json"), run.history()
    settings, choice = run.settings(), run.choice()
    review, judged = review_summary(run), judge_summary(run)
    usage = {}
    if ENDPOINT in measured["contenders"]:
        usage[ENDPOINT] = read_json(run / "eval" / ENDPOINT / "summary.json")
    if judged:
        usage["judge"] = judged["asked"]
    shots, baseline = choice.get("shots_used", settings["suite"]["shots"]), measured["baseline"]
    address = f"{run.folder.resolve().parent.name}/{run.folder.resolve().name}"
    config = run / "config.yaml"
    main = against(measured, baseline)
    comparisons = sorted(measured["comparisons"], key=lambda found: found is not main)
    whole = table(measured, whole=True, shots=shots)
    values = {
        "m": measured,
        "turns": turns.in_words(measured.get("turns")),
        "light": traffic_light(measured, answers_read=bool(review or judged)),
        "main": main,
        "bars": _bars(measured, shots),
        "cost": _cost(measured),
        "forgotten": _forgotten(measured),
        "risks": risks(measured, bool(review or judged), address),
        "table": whole,
        "markdown": markdown_table(whole),
        "thresholds": (sure := thresholds(measured)),
        "threshold_table": markdown_table(sure) if sure else "",
        "comparisons": comparisons,
        "differences": markdown_table([_difference(found, baseline, shots) for found in comparisons]),
        "title": lambda name: names.contender(name, baseline, shots),
        "choice": choice,
        "windows": _windows(run, measured["split"]),
        "manifest": run.manifest(),
        "dataset": settings["dataset"],
        "answers": side_by_side(run, measured),
        "next_steps": next_steps(measured, history),
        "watched": _watched(measured, history),
        "config": config.read_text(encoding="utf-8") if config.is_file() else "",
        **_loading(run, measured, choice, len(settings["dataset"]["labels"])),
        "review": review,
        "judged": judged,
        "asked": usage,
        "names": names,
        "exports": [
            *map(parity.sentence, measured.get("exports", [])),
            *map(parity.again, measured.get("exports_to_measure_again", [])),
        ],
        "parity": markdown_table(parity.rows(measured["exports"])) if "exports" in measured else "",
        "parity_rows": parity.rows(measured.get("exports", [])),
    }
    environment = template_environment(TEMPLATES, escape=True)
    environment.globals |= {"number": number, "cell": cell, "in_words": in_words}
    environment.globals |= {"agreement_in_words": agreement_in_words}
    for name in ("report.md", "report.html", "model_card.md"):
        pictures = _pictures(measured, history) if name.endswith("html") else {}
        text = environment.get_template(f"{name}.jinja").render(values, pictures=pictures)
        (run / name).write_text(text, encoding="utf-8")
    if (run / "model").is_dir() and not (run / "model").is_symlink():
        shutil.copy(run / "model_card.md", run / "model" / "README.md")
    return run / "report.html"
