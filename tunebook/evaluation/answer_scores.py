"""Scores of one answer, and of the references that a model gave a probability."""

from __future__ import annotations

from tunebook.data.dataset import Dataset
from tunebook.data.formats.turns import trained
from tunebook.data.prompt import PromptEncoder
from tunebook.data.style_rules import rules_met
from tunebook.data.thinking.form import Said
from tunebook.data.tool_calls import calls_met
from tunebook.evaluation.jobs import Job
from tunebook.evaluation.records import JobRecord
from tunebook.metrics import scoring
from tunebook.metrics.answers import Answer, Scored
from tunebook.metrics.labels import read_label
from tunebook.runs.rows import RenderedRow


def row_entry(row: RenderedRow) -> Answer:
    """Return the part of an answer's record that describes its row; `turn` is the index of the answered
    turn."""
    entry: Answer = {"id": row["id"], "group": row["group"], "gold": row["gold"]["answer"]}
    if "turn" in row:
        entry["turn"] = row["turn"]
    return entry


def scored(row: RenderedRow, said: Said, stopped: bool, dataset: Dataset, encoder: PromptEncoder) -> Scored:
    """Return the scores of a generated answer: its reasoning does not count, and without an answer behind
    the reasoning everything is wrong."""
    text = said.answer
    record: Scored = {"answer": text, "stopped": stopped}
    if encoder.thinking is not None:
        record |= {"reasoning": said.thought, "unfinished": said.unfinished}
    if said.unfinished and dataset.task == "qa":
        return {**record, "golds": row["gold"]["answers"], "em": 0.0, "f1": 0.0}
    if dataset.labels:
        return {**record, "label": read_label(text, dataset.labels)}
    if dataset.task == "qa":
        return {**record, **scoring.squad(row["gold"]["answers"], text, dataset.no_answer)}
    met = rules_met(dataset.rules, text, row["gold"])
    met = {rule: kept and not said.unfinished for rule, kept in met.items()}
    return {
        **record,
        "chrf": scoring.chrf(text, row["gold"]["answer"]),
        "rules": sum(met.values()) / len(met) if met else None,
        "rules_met": met,
        "length_ratio": len(text) / len(row["gold"]["answer"]),
        "calls": calls_met(row["messages"][-1], text) if row.get("tools") else None,
    }


def learned(row: RenderedRow, encoder: PromptEncoder) -> str:
    """Return the text of a row's last turn that is scored."""
    if encoder.learned_form is None:
        return row["gold"]["answer"]
    return encoder.learned_text(row["messages"][-1])


def turn_losses(
    rows: list[RenderedRow], job: Job, results: list[JobRecord], encoder: PromptEncoder
) -> list[Answer]:
    """Return the loss of each row over its trained turns (bits per byte), and that of each turn if it has
    several."""
    by_row: dict[str, list[float]] = {row["id"]: [] for row in rows}
    for id, result in zip(job.ids, results, strict=True):
        by_row[id] += result["logprobs"]
    records: list[Answer] = []
    for row in rows:
        places, logprobs = trained(row["messages"]), by_row[row["id"]]
        texts = [encoder.learned_text(row["messages"][place]) for place in places]
        loss = scoring.bits_per_byte(sum(logprobs), "".join(texts))
        record: Answer = {"id": row["id"], "group": row["group"], "loss": loss}
        if len(places) > 1:
            each = [scoring.bits_per_byte(*one) for one in zip(logprobs, texts, strict=True)]
            record["turns"], record["turn_losses"] = places, each
        records.append(record)
    return records
