"""Facts counted in the rows for `tunebook advise`: sizes, labels, near-duplicates, the score of an SVM."""

from __future__ import annotations

import statistics

import numpy as np

from tunebook.check.sizes.splits import SPREAD
from tunebook.commands.fork.files import find
from tunebook.commands.fork.options import ForkOptions, read_fields
from tunebook.commands.fork.output import dataset_text
from tunebook.commands.fork.sample import as_read, by_column, group_of, recognised, sample
from tunebook.core.errors import InputError
from tunebook.core.words import words
from tunebook.core.yaml_file import parse_yaml
from tunebook.data.dataset import Dataset, datasets_folder
from tunebook.data.files.split_names import Split
from tunebook.data.formats.bad_rows import bad_rows
from tunebook.data.near_duplicates import Index, Prompt, prompt_text
from tunebook.data.render import render_whole
from tunebook.evaluation.engines.linear_svm import linear_svm
from tunebook.metrics.intervals import expected_detectable, mean_interval
from tunebook.plan.advise import Facts
from tunebook.runs.rows import RenderedRow

NAME = "advise"  # of the dataset, which exists only in memory
MOST = 5_000  # train rows for the SVM and the near-duplicate search, which so take seconds
Splits = dict[Split, list[RenderedRow]]


def read(data: str, task: str, fields: str, group: str) -> tuple[Dataset, Splits, str]:
    """Return the dataset that a fork of `data` would create, its rendered rows by split, and their source."""
    named, folder = read_fields(fields), datasets_folder() / NAME
    files = find(data, folder)
    some, faults = sample(files, folder)
    some = as_read(some, files.place, task or None, named)
    by_column(files, some)
    try:
        reading = recognised(some, files.place, task or None, named)
    except InputError:
        if faults:
            raise bad_rows(faults, files.place, len(some)) from None
        raise
    options = ForkOptions("", NAME, data, group=group)
    grouped, _ = group_of(options, some, reading, files.place)
    source = dataset_text.provisional(files, reading)
    counted = dataset_text.survey(source, folder, files, reading, grouped)
    source |= dataset_text.shares(counted, files)
    written = dataset_text.text(NAME, source, reading, grouped, counted, 0)
    dataset = Dataset.model_validate({**parse_yaml(written, "dataset.yaml")[0], "folder": folder})
    return dataset, render_whole(dataset).rows, files.place


def facts(dataset: Dataset, rows: Splits) -> Facts:
    """Count the facts that the questions need."""
    train, test = rows["train"], rows["test"]
    groups = len({row["group"] for row in test})
    labels: dict[str, int] = dict.fromkeys(dataset.labels or [], 0)
    svm = frequent = in_passage = None
    if dataset.task == "classification":
        for row in train:
            labels[row["gold"]["answer"]] = labels.get(row["gold"]["answer"], 0) + 1
        if len([label for label, count in labels.items() if count]) > 1 and test:
            svm = _svm(train[:MOST], test)
            likeliest = max(labels, key=lambda label: labels[label])
            frequent = statistics.fmean(row["gold"]["answer"] == likeliest for row in test)
    if dataset.task == "qa" and train:
        in_passage = statistics.fmean(_stands_in_prompt(row) for row in train[:MOST])
    return Facts(
        task=dataset.task,
        train=len(train),
        test=len(test),
        test_groups=groups,
        can_show=expected_detectable(len(test), groups, SPREAD[dataset.task]),
        near=_near(train[:MOST]),
        words=int(statistics.median(len(words(prompt_text(row))) for row in train)) if train else 0,
        labels=labels,
        svm=svm,
        frequent=frequent,
        in_passage=in_passage,
    )


def _svm(train: list[RenderedRow], test: list[RenderedRow]) -> tuple[float, float]:
    right = np.array(
        [
            float(label == row["gold"]["answer"])
            for label, row in zip(linear_svm(train, test), test, strict=True)
        ]
    )
    bounds = mean_interval(right, [str(row["group"]) for row in test], (0.0, 1.0))
    return float(right.mean()), bounds[0] if bounds else 0.0


def _near(rows: list[RenderedRow]) -> float:
    """Return the share of rows that have a near-duplicate among them."""
    index = Index([Prompt(words(prompt_text(row)), "", row["id"]) for row in rows])
    near = {number for one, other, _ in index.near() for number in (one, other)}
    return len(near) / max(1, len(rows))


def _stands_in_prompt(row: RenderedRow) -> bool:
    answer, prompt = row["messages"][-1]["content"], prompt_text(row)
    return bool(words(answer)) and " ".join(words(answer)) in " ".join(words(prompt))
