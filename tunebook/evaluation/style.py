"""Overfitting to the prompt style: the fine-tuned model with other prompts than the trained one (EVAL=full).

The rows of the test split are answered again with other system turns (evals/style/systems.yaml), and other
tasks are put into the trained format (evals/style/other_tasks.jsonl). The measurements show how much of the
task's score remains, whether other tasks still get proper answers, and whether answers stop, have repetitive
openings or copy training rows.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tunebook.core.files import Row, read_jsonl
from tunebook.core.paths import ROOT
from tunebook.core.words import pieces
from tunebook.core.yaml_file import read_yaml
from tunebook.data.prompt import with_system
from tunebook.evaluation.forgetting import all_met
from tunebook.metrics.answers import Answer, Value, read_values
from tunebook.metrics.intervals import GAP, mean_interval
from tunebook.metrics.schema import Openings, StyleLine, StyleSummary
from tunebook.runs.rows import Messages, RenderedRow, Turn

FOLDER = ROOT / "evals" / "style"
COPY = 10  # consecutive words that also occur in a training answer
OPENING = 4  # words


class Style(BaseModel):
    """`rows` of the split, `max_new_tokens` per answer, and for each condition the largest permitted loss on
    the task compared with the trained prompt (`other_task`: compared with the base model)."""

    model_config = ConfigDict(extra="forbid")
    rows: int
    max_new_tokens: int
    margins: dict[str, float]


def systems(dataset: str) -> dict[str, list[str | None]]:
    """Return the system turns of each condition for a dataset; None means no system turn. A dataset that is
    not in the file gets the system turns of all other datasets as foreign ones."""
    known = read_yaml(FOLDER / "systems.yaml")[0]
    own = known.get(dataset, {"foreign": [text for entry in known.values() for text in entry["foreign"]]})
    texts: dict[str, list[str | None]] = {"no_system": [None], "foreign_system": own["foreign"]}
    if "paraphrases" in own:
        texts |= {"paraphrased": own["paraphrases"], "contradicted": [own["contradiction"]]}
    return texts


def under_system(messages: Messages, system: str | None) -> Messages:
    """Return a row's messages up to its answer, with another system turn."""
    rest = [message for message in messages[:-1] if message["role"] != "system"]
    return rest if system is None else with_system(rest, system)


def conditions(rows: list[RenderedRow], dataset: str) -> dict[str, list[Messages]]:
    """Return the messages of every row in each condition; several system turns are used in rotation."""
    messages = {"as_trained": [row["messages"][:-1] for row in rows]}
    for name, texts in systems(dataset).items():
        messages[name] = [under_system(row["messages"], texts[i % len(texts)]) for i, row in enumerate(rows)]
    return messages


def other_tasks() -> list[Row]:
    """Return the other tasks, `{id, prompt, checks}`."""
    return read_jsonl(FOLDER / "other_tasks.jsonl")


def in_trained_format(prompt: str, row: RenderedRow) -> Messages:
    """Return a row of another task as a prompt of the dataset, with the dataset's system turn."""
    head = [message for message in row["messages"] if message["role"] == "system"]
    return [*head, Turn(role="user", content=prompt)]


def other_values(tasks: list[Row], answers: list[str]) -> list[Value]:
    """Return the score of each answer: 1 if it meets all checks of the task."""
    return [
        {"id": task["id"], "group": task["id"], "value": float(all_met(task["checks"], text)), "answer": text}
        for task, text in zip(tasks, answers, strict=True)
    ]


def _mean(values: list[Value]) -> float:
    return sum(row["value"] for row in values) / len(values)


def _line(name: str, values: list[Value], reference: list[Value], margin: float | None) -> StyleLine:
    import numpy as np  # as in tunebook/evaluation/forgetting.py

    drops = np.array([b["value"] - a["value"] for a, b in zip(values, reference, strict=True)])
    bounds = mean_interval(drops, [row["group"] for row in values], GAP)
    high = bounds[1] if bounds else None
    return {
        "condition": name,
        "value": _mean(values),
        "reference": _mean(reference),
        "n": len(values),
        "drop": float(drops.mean()),
        "low": bounds[0] if bounds else None,
        "high": high,
        "margin": margin,
        "passed": None if margin is None or high is None else high <= margin,
    }


def openings(answers: list[str]) -> Openings:
    """Return the most frequent first four words, the share of answers that begin with them, and distinct-2
    (Li et al. 2016, arXiv 1510.03055: distinct word pairs over all word pairs)."""
    texts = [words for text in answers if (words := pieces(text))]
    first = Counter(" ".join(words[:OPENING]) for words in texts)
    pairs = [pair for words in texts for pair in zip(words, words[1:], strict=False)]
    text, count = first.most_common(1)[0] if first else ("", 0)
    return {
        "opening": text,
        "opening_share": count / len(texts) if texts else None,
        "distinct_2": len(set(pairs)) / len(pairs) if pairs else None,
    }


def copies(answers: list[Answer], train: list[RenderedRow]) -> list[dict[str, str]]:
    """Return each answer with ten consecutive words of a training answer, and the id of that training row."""
    seen: dict[tuple[str, ...], str] = {}
    for row in train:
        for turn in row["messages"]:
            if turn["role"] == "assistant":
                words = pieces(turn["content"])
                for start in range(len(words) - COPY + 1):
                    seen.setdefault(tuple(words[start : start + COPY]), row["id"])
    copied = []
    for record in answers:
        words = pieces(record.get("answer", ""))
        runs = (tuple(words[start : start + COPY]) for start in range(len(words) - COPY + 1))
        run = next((run for run in runs if run in seen), None)
        if run:
            copied.append({"id": record["id"], "train_row": seen[run], "words": " ".join(run)})
    return copied


def values_file(folder: Path, model: str, condition: str) -> Path:
    """Return the file with the scores of a condition for `model`."""
    return folder / f"{model}.style-{condition}.jsonl"


def styled(
    folder: Path, style: Style, answers: list[Answer], train: list[RenderedRow]
) -> StyleSummary | None:
    """Summarize the scores in `folder` (a run's eval/answers/); None if none were measured.

    Args:
        answers: the fine-tuned model's answers on the test split; `train` are its training rows.
    """
    as_trained = values_file(folder, "tuned", "as_trained")
    if not as_trained.is_file():
        return None
    reference, lines = read_values(as_trained), list[StyleLine]()
    all_values: list[Value] = []
    for path in sorted(folder.glob("tuned.style-*.jsonl")):
        name, values = path.stem.removeprefix("tuned.style-"), read_values(path)
        all_values += values
        other = read_values(values_file(folder, "base", name)) if name == "other_task" else reference
        if name != "as_trained":
            lines.append(_line(name, values, other, style.margins.get(name)))
    stopped = [row["stopped"] for row in all_values if "stopped" in row]
    copied = copies(answers, train)
    return {
        "as_trained": _mean(reference),
        "conditions": lines,
        "stop_rate": sum(stopped) / len(stopped) if stopped else None,
        **openings([record["answer"] for record in answers if "answer" in record]),
        "copied_share": len(copied) / len(answers) if answers else None,
        "copies": copied[:20],
    }
