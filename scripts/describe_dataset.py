"""Measure one of our own datasets and write the numbers into its card (datasets/NAME/README.md).

.venv/bin/python scripts/describe_dataset.py NAME [NAME ...]
"""

from __future__ import annotations

import argparse
from collections import Counter

from tunebook.core.files import Row, read_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.data.files.split_names import SPLITS
from tunebook.data.render import render_all
from tunebook.evaluation.engines.linear_svm import linear_svm
from tunebook.models import trial_model
from tunebook.report.markdown_blocks import fill


def describe(name: str) -> str:
    """Return the measured block: rows, groups, lengths, and for labels the SVM and majority scores."""
    from statistics import mean, median

    dataset = load_dataset_config(name)
    rows = render_all(dataset)
    lines = [
        "| split | rows | groups | words of the prompt: mean, median, most | words of the answer: mean |",
        "|---|---|---|---|---|",
    ]
    for split in SPLITS:
        asked = [
            sum(len(m["content"].split()) for m in row["messages"] if m["role"] == "user")
            for row in rows[split]
        ]
        answered = mean(
            sum(len(m["content"].split()) for m in row["messages"] if m["role"] == "assistant")
            for row in rows[split]
        )
        groups = len({row["group"] for row in rows[split]})
        lengths = f"{mean(asked):.1f}, {median(asked):.0f}, {max(asked)}"
        lines.append(f"| {split} | {len(rows[split])} | {groups} | {lengths} | {answered:.1f} |")
    if dataset.labels:
        gold = [row["gold"]["answer"] for row in rows["test"]]
        most = Counter(row["gold"]["answer"] for row in rows["train"]).most_common(1)[0][0]
        predicted = linear_svm(rows["train"], rows["test"])
        right = sum(a == b for a, b in zip(gold, predicted, strict=True))
        lines += [
            "",
            f"On test: TF-IDF + linear SVM {right / len(gold) * 100:.1f} % accuracy; "
            f"the most frequent train label {gold.count(most) / len(gold) * 100:.1f} %.",
        ]
    if dataset.task == "qa":
        shares = [
            f"{split} {sum(not row['gold']['answers'] for row in rows[split]) / len(rows[split]) * 100:.1f} %"
            for split in SPLITS
        ]
        lines += ["", f"Questions without an answer: {', '.join(shares)}."]
    return "\n".join(lines)


def describe_conversations(rows: list[Row]) -> str:
    """Return the measured block of datasets/general: kinds, lengths in words and the trial model's tokens."""
    from statistics import mean, median

    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(trial_model.ensure() / "tokenizer.json"))
    texts = {
        role: ["\n".join(turn["content"] for turn in row["messages"] if turn["role"] == role) for row in rows]
        for role in ("user", "assistant")
    }
    whole = ["\n".join(turn["content"] for turn in row["messages"]) for row in rows]
    sizes = {
        "words of the prompts": [len(text.split()) for text in texts["user"]],
        "words of the answers": [len(text.split()) for text in texts["assistant"]],
        "tokens, all turns": [len(tokenizer.encode(text).ids) for text in whole],
    }
    lines = [f"| {len(rows)} conversations | fewest | median | mean | most |", "|---|---|---|---|---|"]
    for name, counts in sizes.items():
        lines.append(
            f"| {name} | {min(counts)} | {median(counts):.0f} | {mean(counts):.1f} | {max(counts)} |"
        )
    turns = Counter(sum(turn["role"] == "user" for turn in row["messages"]) for row in rows)
    systems = sum(row["messages"][0]["role"] == "system" for row in rows)
    lines += ["", f"With more than one question: {len(rows) - turns[1]}; with a system message: {systems}."]
    kinds = Counter(row["kind"] for row in sorted(rows, key=lambda row: str(row["kind"])))
    lines += ["", "| kind | conversations |", "|---|---|"]
    lines += [f"| {kind} | {count} |" for kind, count in kinds.most_common()]
    return "\n".join(lines)


def describe_pairs(splits: dict[str, list[Row]]) -> str:
    """Return the measured block of kettlewick-preference: pairs, groups, lengths and faults of each split."""
    from statistics import mean

    lines = [
        "| split | pairs | conversations | with an earlier exchange | words, chosen: mean "
        "| words, rejected: mean | chosen longer, shorter |",
        "|---|---|---|---|---|---|---|",
    ]
    faults = ["", "| split | fact | promise | evasive | tone | a style rule |", "|---|---|---|---|---|---|"]
    for split, rows in splits.items():
        lengths = [(len(row["chosen"].split()), len(row["rejected"].split())) for row in rows]
        cells = [
            split,
            len(rows),
            len({row["conversation"] for row in rows}),
            sum(len(row["turns"]) > 1 for row in rows),
            *(f"{mean(some):.1f}" for some in zip(*lengths, strict=True)),
            f"{sum(a > b for a, b in lengths)}, {sum(a < b for a, b in lengths)}",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
        off = Counter(row["off"] for row in rows)
        read = [off[name] for name in ("fact", "promise", "evasive", "tone")]
        faults.append(f"| {split} | {' | '.join(map(str, read))} | {len(rows) - sum(read)} |")
    return "\n".join(lines + faults)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    for name in parser.parse_args(argv).names:
        folder = ROOT / "datasets" / name
        plain = name == "general"  # only conversations, without a dataset.yaml
        if plain:
            block = describe_conversations(read_jsonl(folder / "train.jsonl"))
        elif load_dataset_config(name).task == "preference":
            block = describe_pairs({one: read_jsonl(folder / f"source/{one}.jsonl") for one in SPLITS})
        else:
            block = describe(name)
        fill(folder / "README.md", "measured", block)
        print(f"datasets/{name}/README.md")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
