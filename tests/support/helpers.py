"""A finished evaluation made by hand: what `compare` and `write_report` read, without any model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunebook.core.files import write_json, write_jsonl
from tunebook.metrics.scoring import squad
from tunebook.runs.run import Run

LABELS = ["acorn", "beech", "cedar"]
SCRIPT = "<script>alert(1)</script>"
IMAGE = '<img src="http://elsewhere.invalid/x.png">'
CONTENDERS = {
    "classification": ["base_generate_0", "base_rank_k", "tuned", "svm"],
    "qa": ["base_generate_0", "base_generate_k", "tuned"],
    "chat": ["base_generate_0", "base_generate_k", "tuned"],
    "preference": ["base_generate_0", "base_generate_k", "tuned"],
}
BASELINE = {"classification": "base_rank_k", "qa": "base_generate_k", "chat": "base_generate_k"}
BASELINE |= {"preference": "base_generate_k"}
PRIMARY = {"classification": "accuracy", "qa": "f1", "chat": "loss", "preference": "preference"}

MANIFEST = {
    "base_model": "handmade/model",
    "hardware": {"cpu": "Handmade CPU", "cores": 2, "memory_gib": 8.0, "gpus": []},
    "commit": "c0ffee",
    "command": "tunebook recipe handmade-lora",
    "started": "2026-01-01T00:00:00Z",
}


def _label_record(name: str, index: int, gold: str) -> dict[str, Any]:
    wrong = LABELS[(LABELS.index(gold) + 1) % 3]
    if name == "base_generate_0":
        said = gold if index % 5 == 0 else None
        return {"answer": said or "Hello there", "label": said, "stopped": index % 4 == 0}
    if name == "tuned":
        said = gold if index else None
        return {"answer": said or SCRIPT, "label": said, "stopped": index != 3}
    said = gold if index % (4 if name == "base_rank_k" else 2) == 0 else wrong
    scores = {"scores": [-1.0 - index / 10 if label == said else -4.0 for label in LABELS]}
    return {"answer": said, "label": said, **(scores if name == "base_rank_k" else {})}


def _qa_record(name: str, index: int, gold: str) -> dict[str, Any]:
    """Every fifth question has no answer; the tuned model is wrong once, too long on the even ones."""
    golds = [] if index % 5 == 4 else [gold]
    right = index and (name == "tuned" or index % 4 == 1)
    said = SCRIPT if not right else f"{gold} more" if index % 2 == 0 else gold
    if right and not golds:
        said = "Not here."
    return {"answer": said, "stopped": True, **squad(golds, said, "Not here.")}


def _chat_record(name: str, index: int, gold: str) -> dict[str, Any]:
    tuned = name == "tuned"
    record: dict[str, Any] = {"loss": (1.0 if tuned else 2.0) + index / 100 + len(name) / 1000}
    if index % 2 == 0:  # answers are generated for some of the rows only
        share = (0.8 if tuned else 0.3) + index / 1000
        record |= {"answer": SCRIPT if index == 0 else f"{name} {index}", "stopped": tuned or index % 4 == 0}
        record |= {"chrf": share, "rules": share / 2, "length_ratio": 1 + index / 50}
        record["rules_met"] = {"short": tuned or index % 4 == 0}
    return record


def _pair_record(name: str, index: int, gold: str) -> dict[str, Any]:
    """The base prefers the chosen answer in every second pair, the tuned model in all but the first."""
    base = 1.0 if index % 2 else -3.0
    margin = base + (4.0 if name == "tuned" and index else 0.5 if name == "base_generate_k" else 0.0)
    found = {"margin": margin, "margin_per_byte": margin / 10, "reward": margin - base}
    return {**_chat_record(name, index, gold), **found}


RECORD = {"classification": _label_record, "qa": _qa_record, "chat": _chat_record}
RECORD |= {"preference": _pair_record}


def make_run(folder: Path, task: str = "classification", groups: int = 10, retention: bool = True) -> Run:
    """Write a run of `groups` groups of two rows to `folder`, on which the tuned model is clearly better."""
    run, labels = Run(folder), LABELS if task == "classification" else []
    rows = []
    for index in range(2 * groups):
        gold = LABELS[index % 3] if labels else f"answer {index}"
        asked = {"role": "user", "content": IMAGE if index == 0 else f"Question {index}?"}
        rows.append(
            {
                "id": f"r{index}",
                "group": f"g{index // 2}",
                "source": "handmade",
                "messages": [asked, {"role": "assistant", "content": gold}],
                "gold": {"answer": gold},
            }
        )
    write_jsonl(run / "data" / "test.jsonl", rows)
    write_jsonl(run / "data" / "train.jsonl", rows[:2])
    for name in CONTENDERS[task]:
        records = []
        for index, row in enumerate(rows):
            gold = row["gold"]["answer"]
            made = RECORD[task](name, index, gold)
            records.append({"id": row["id"], "group": row["group"], "gold": gold, **made})
        write_jsonl(run / "eval" / "answers" / f"{name}.test.jsonl", records)
    for name, loss in (("base", 1.0), ("tuned", 1.1)) if retention else ():
        passages = [{"id": f"p{i}", "group": f"p{i}", "value": loss + i / 100} for i in range(5)]
        write_jsonl(run / "eval" / "answers" / f"{name}.retention-general.jsonl", passages)
    gates: dict[str, Any] = (
        {"invalid_rate": {"at_most": 0.01}} if labels else {"stop_rate": {"at_least": 0.8}}
    )
    general = {"kind": "text", "file": "evals/retention/general.jsonl", "margin": 0.25}
    suite = {"primary": PRIMARY[task], "shots": 1, "max_new_tokens": 8, "dev_rows": 4}
    suite |= {"generate_rows": None, "agreement_rows": 2, "gates": gates}
    suite |= {"retention": {"general": general}}
    settings: dict[str, Any] = {"recipe": "handmade-lora", "tier": "trial", "seed": 42}
    settings |= {"hardware": "cpu", "base_model": "base", "world": 1}
    dataset = {"name": "handmade", "task": task, "labels": labels, "licence": "Apache-2.0", "system": ""}
    write_json(run / "settings.json", {**settings, "dataset": dataset, "suite": suite})
    tried = {name: 0.25 for name in CONTENDERS[task] if name.startswith("base")}
    choice = {"split": "test", "baseline": BASELINE[task], "contenders": CONTENDERS[task], "dev_rows": 4}
    choice |= {"tried_on_dev": tried, "shots": [], "baseline_prompt": SCRIPT}
    write_json(run / "eval" / "choice.json", {**choice, "token_agreement_unmerged_merged": 1.0})
    write_json(run / "eval" / "usage.json", {"train_gib": 2.5, "evaluate_gib": 1.5})
    write_json(run / "manifest.json", MANIFEST)
    log = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 2, "eval_loss": 2.5}]
    (run / "train").mkdir()
    write_json(run / "train" / "history.json", {"steps": 2, "trained_tokens": 99, "log": log})
    for stage in ("check", "data", "train", "evaluate"):
        run.mark(stage, "done", 1.5)
    return run
