"""Take other people's files to a verdict: fork, check and a finished trial run for each.

    TUNEBOOK_TEST_DATA=folder python benchmarks/forks_to_verdict.py [CASE ...] [--keep FOLDER] [--fork-only]

The first three cases are hard by construction (tests/support/): 5,000 support chats of similar wording,
questions on passages of 30,000 characters, chats behind a system prompt of 4,000 tokens. The others are
public rows from TUNEBOOK_TEST_DATA, which this script writes in the formats of eleven tools; no file is
edited between fork and verdict. Each case runs the commands that a user types, in separate processes and 80
columns.
Writes benchmarks/results/forks_to_verdict.json and a table in docs/fork.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for tests.support

from tests.support import long_passages, similar_chats
from tunebook.core.files import read_json, read_jsonl, write_json, write_jsonl
from tunebook.core.paths import ROOT, child_environment
from tunebook.hardware import machine
from tunebook.metrics.schema import read_metrics
from tunebook.report.markdown_blocks import fill

TARGET = ROOT / "benchmarks" / "results" / "forks_to_verdict.json"
DOC = ROOT / "docs" / "fork.md"
Row = dict[str, Any]
SHORT = ("--rows", "train=96,dev=20,test=48")  # of a trial: all fourteen take hours, not a day


@dataclass(frozen=True)
class Case:
    """A user's file (`write` creates it in a folder and returns its path), and the options that they type."""

    title: str
    origin: str
    write: Callable[[Path], Path]
    options: tuple[str, ...] = ()
    run: tuple[str, ...] = SHORT


def public(name: str) -> Path:
    return Path(os.environ["TUNEBOOK_TEST_DATA"]) / name


def intents(count: int, kinds: int = 12) -> list[tuple[str, str]]:
    """Return `count` texts of each of the first `kinds` intents of banking77."""
    with public("banking77/train.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    labels = sorted({label for _, label in rows})[:kinds]
    return [pair for label in labels for pair in [pair for pair in rows if pair[1] == label][:count]]


def dialogues() -> Iterator[Row]:
    yield from read_jsonl(public("oasst1_en/validation.best_path.jsonl"))


def instructions() -> Iterator[tuple[str, str, str]]:
    for task in read_jsonl(public("self_instruct/user_oriented_instructions.jsonl")):
        for one in task["instances"]:
            yield task["instruction"], one["input"], one["output"]


def similar(folder: Path) -> Path:
    return _lines(folder / "chats.jsonl", similar_chats.rows(5000))


def long_system(folder: Path) -> Path:
    (article,) = long_passages.articles(1, 1, 17_500)
    house = {"role": "system", "content": "Answer by these rules.\n\n" + article["paragraphs"][0]["context"]}
    rows = similar_chats.rows(400)
    return _lines(folder / "chats.jsonl", [row | {"messages": [house, *row["messages"]]} for row in rows])


def helpdesk_csv(folder: Path) -> Path:
    """A help desk's export: semicolons, a BOM, unused columns."""
    with (folder / "tickets.csv").open("w", encoding="utf-8-sig", newline="") as file:
        to = csv.writer(file, delimiter=";")
        to.writerow(["Ticket ID", "Created", "Requester", "Description", "Topic", "Satisfaction"])
        for number, (text, label) in enumerate(intents(30)):
            when = f"2026-03-{number % 28 + 1:02} 10:00"
            to.writerow([1000 + number, when, f"tenant{number % 90}", text, label.replace("_", " "), "good"])
    return folder / "tickets.csv"


def excel(folder: Path) -> Path:
    from openpyxl import Workbook

    book = Workbook()
    book.active.title = "Read me"
    book.active.append(["Export of all mails, 2026"])
    sheet = book.create_sheet("Mails")
    sheet.append(["Mail", "Department"])
    for pair in intents(30):
        sheet.append(pair)
    book.save(folder / "mails.xlsx")
    return folder / "mails.xlsx"


def clinc(folder: Path) -> Path:
    """An object of splits, each a list of [text, label]."""
    rows = intents(40)
    splits = {"train": rows[::2], "val": rows[1::4], "test": rows[3::4]}
    return _whole(folder / "data_full.json", splits)


def label_studio(folder: Path) -> Path:
    def task(number: int, text: str, label: str) -> Row:
        choice = {"type": "choices", "from_name": "topic", "to_name": "text", "value": {"choices": [label]}}
        return {"id": number, "data": {"text": text}, "annotations": [{"id": number, "result": [choice]}]}

    return _whole(folder / "project.json", [task(number, *pair) for number, pair in enumerate(intents(30))])


def class_folders(folder: Path) -> Path:
    for number, (text, label) in enumerate(intents(30)):
        (folder / "mails" / label).mkdir(parents=True, exist_ok=True)
        (folder / "mails" / label / f"{number}.txt").write_text(text, encoding="utf-8")
    return folder / "mails"


def alpaca(folder: Path) -> Path:
    keys = ("instruction", "input", "output")
    return _whole(folder / "alpaca_en.json", [dict(zip(keys, row, strict=True)) for row in instructions()])


def swift(folder: Path) -> Path:
    rows = []
    for row in dialogues():
        *before, ask, answer = [turn["content"] for turn in row["messages"]]
        history = [list(pair) for pair in zip(before[::2], before[1::2], strict=True)]
        rows.append({"query": ask, "response": answer, "history": history})
    return _lines(folder / "swift.jsonl", rows)


def trl_pairs(folder: Path) -> Path:
    import pyarrow
    import pyarrow.parquet

    def said(text: str) -> list[Row]:
        return [{"role": "assistant", "content": text}]

    pairs = read_jsonl(public("oasst1_en/validation.pairs.jsonl"))
    rows = [
        {"prompt": row["prompt"], "chosen": said(row["chosen"]), "rejected": said(row["rejected"])}
        for row in pairs
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "pairs.parquet")
    return folder / "pairs.parquet"


def openai_chat(folder: Path) -> Path:
    return _lines(folder / "finetune.jsonl", [{"messages": row["messages"]} for row in dialogues()])


def sharegpt(folder: Path) -> Path:
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    rows = [
        {
            "id": f"{row['tree']}_{number}",
            "conversations": [
                {"from": names[turn["role"]], "value": turn["content"]} for turn in row["messages"]
            ],
        }
        for number, row in enumerate(read_jsonl(public("oasst1_en/en_100_tree.all_paths.jsonl")))
    ]
    return _whole(folder / "sharegpt.json", rows)


def squad(folder: Path) -> Path:
    return public("squad/test-xquad-en-disjoint.json")


def _lines(path: Path, rows: list[Row]) -> Path:
    write_jsonl(path, rows)
    return path


def _whole(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


CASES = {
    "similar-chats": Case("5,000 chats of similar wording", "chat-lora", similar, (), ()),
    "long-passages": Case(
        "1,400 questions, passages of 30,000 characters",
        "qa-lora",
        lambda folder: long_passages.write(folder / "passages.json"),
        ("--window", "300"),
        (),
    ),
    "long-system": Case(
        "chats behind a system prompt of 4,000 tokens",
        "chat-lora",
        long_system,
        ("--group", "customer", "--near", "off"),
        ("--rows", "train=32,dev=6,test=16", "--set", "num_epochs=0.5"),
    ),
    "csv": Case("help desk: CSV with semicolons", "classify-lora", helpdesk_csv, ()),
    "excel": Case("Excel, two sheets", "classify-lora", excel, ("--sheet", "Mails")),
    "clinc": Case("CLINC: JSON of splits", "classify-lora", clinc),
    "label-studio": Case("Label Studio: JSON export", "classify-lora", label_studio),
    "folders": Case("a folder for each class", "classify-lora", class_folders),
    "squad": Case("SQuAD 1.1 JSON", "qa-lora", squad),
    "alpaca": Case("LLaMA-Factory: Alpaca JSON", "chat-lora", alpaca),
    "swift": Case("ms-swift: query, response, history", "chat-lora", swift),
    "trl": Case("TRL: preference pairs in Parquet", "chat-dpo", trl_pairs, ("--drop-bad", "1")),
    "openai": Case("OpenAI: chat JSONL", "chat-lora", openai_chat),
    "sharegpt": Case("ShareGPT JSON", "chat-lora", sharegpt),
}


def follow(name: str, home: Path, fork_only: bool) -> Row:
    """Fork one case and run its recipe below `home`; return the results that a user sees."""
    case = CASES[name]
    for kind in ("recipes", "datasets"):
        (home / kind).mkdir(exist_ok=True)
        for folder in (ROOT / kind).iterdir():
            (home / kind / folder.name).symlink_to(folder)
    (home / "given").mkdir()
    told = {f"TUNEBOOK_{kind.upper()}": str(home / kind) for kind in ("recipes", "datasets", "runs")}
    fork = ["fork", case.origin, name, str(case.write(home / "given")), *case.options]
    code, seconds, screen = typed(fork, told, home / "fork.txt")
    done: Row = {"case": name, "date": time.strftime("%Y-%m-%d"), "typed": " ".join(fork)}
    done["typed"] = done["typed"].replace(str(home / "given") + "/", "").replace(str(public("")), "DATA")
    splits = re.search(r"(?m)^rows +(.*)$", screen)
    done |= {"fork_exit": code, "fork_seconds": seconds, "splits": splits and splits[1]}
    if fork_only or code:
        return done
    recipe = ["recipe", name, "--tier", "trial", *case.run]
    code, seconds, screen = typed(recipe, told, home / "recipe.txt")
    done |= {"run": " ".join(recipe), "run_exit": code, "run_seconds": seconds}
    said = re.search(r"about (\d+) minutes?", screen)
    done["minutes_said_first"] = int(said[1]) if said else None
    found = read_metrics(home / "runs" / name / "latest" / "metrics.json")
    score = {who: found["contenders"][who][found["primary"]]["value"] for who in (found["baseline"], "tuned")}
    done |= {"train_rows": found["train_rows"], "test_rows": found["rows"], "primary": found["primary"]}
    done |= {"before": score[found["baseline"]], "after": score["tuned"], "verdict": found["verdict"]}
    return done


def typed(words: list[str], told: dict[str, str], screen: Path) -> tuple[int, int, str]:
    """Run one command in 80 columns, save its output as `screen`, and return exit code, seconds and
    output."""
    start = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "tunebook.commands.cli", *words],
        cwd=ROOT,
        env=child_environment() | {"COLUMNS": "80", "PYTHONPATH": str(ROOT)} | told,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    screen.write_text(result.stdout)
    return result.returncode, round(time.monotonic() - start), result.stdout


def table(found: Row) -> str:
    """Return the rows of docs/fork.md."""
    lines = ["| given | train, dev, test | score of the trial | verdict | minutes |", "|---|---|---|---|---|"]
    for run in found["runs"]:
        kept = re.findall(r"([\d,]+) (?:train|dev|test)", run["splits"])
        scale = "{:.1%}" if run["primary"] != "loss" else "{:.3f}"
        score = " to ".join(scale.format(run[when]) for when in ("before", "after"))
        lines.append(
            f"| {CASES[run['case']].title} | {', '.join(kept)} | {run['primary']} {score} "
            f"| {run['verdict']}{', a gate failed' if run['run_exit'] == 3 else ''} "
            f"| {(run['fork_seconds'] + run['run_seconds']) / 60:.0f}"
            f"{', ' + run['note'] if run.get('note') else ''} |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="default: all")
    parser.add_argument("--keep", type=Path, help="keep all files in this folder, with the output as text")
    parser.add_argument("--note", help="what to know about the times of these runs")
    parser.add_argument("--fork-only", action="store_true", help="only fork, and write no results")
    args = parser.parse_args(argv)
    for name in args.cases or CASES:
        with tempfile.TemporaryDirectory() as scratch:
            home = (args.keep or Path(scratch)) / name
            home.mkdir(parents=True)
            done = follow(name, home, args.fork_only)
        done |= {"note": args.note} if args.note else {}
        print(json.dumps(done, indent=1), flush=True)
        if "verdict" in done:
            runs = {run["case"]: run for run in read_json(TARGET, {}).get("runs", [])} | {name: done}
            done["machine"] = {key: machine.facts()[key] for key in ("cpu", "cores", "memory_gib")}
            found = {"runs": [runs[each] for each in CASES if each in runs]}
            write_json(TARGET, found)
            fill(DOC, "forks", table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
