"""Leftovers of other formats in answers and prompts, labels inside texts, answers outside passages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.small_data import dataset, seen
from tunebook.check.findings import Findings
from tunebook.check.labels import Labels
from tunebook.check.rows import survey
from tunebook.check.turns import Leftovers, NotInPassage
from tunebook.data.dataset import Dataset, load_dataset_config

ROWS = 40


def texts(found: Findings) -> list[str]:
    return [one.text for kind in found.kinds.values() for one in kind.shown]


@pytest.mark.parametrize(
    ("prompt", "answer", "said"),
    [
        ("Is {} open?", "Assistant: Yes, {} is.", "40 of 40 answers begin with 'Assistant:'"),
        ("Is {} open?", "### Response: Yes, {} is.", "40 of 40 answers begin with '### Response:'"),
        ("Is {} open?", "Yes, {} is. END", "40 of 40 answers end with 'END'"),
        ("Is {} open?\n\n###\n\n", "Yes, {} is.", "40 of 40 prompts end with '###'"),
        ("Is {} open? ->", "Yes, {} is.", "40 of 40 prompts end with '->'"),
        ("Is {} open?", "Yes, {} is.", ""),
        ("Is {} open?", "It is, says {} of the NATO.", ""),
        ("Is {} open?", "{}: yes.", ""),
    ],
)
def test_a_leftover_at_nearly_all_edges_is_reported(
    prompt: str, answer: str, said: str, tmp_path: Path
) -> None:
    watcher = Leftovers(found := Findings(), dataset(tmp_path))
    for number in range(ROWS):
        name = f"Shed{chr(97 + number % 26)}{number}"
        watcher.see(seen("train", number, prompt.format(name), answer.format(name)))
    watcher.finish()
    assert [text.partition(",")[0] for text in texts(found)] == ([said] if said else [])


@pytest.mark.parametrize(
    ("answer", "reported"),
    [
        ("north {}", True),
        ("shed {}", False),
        ("yes", False),
        ("It is in a place that I can tell {} of", False),
    ],
)
def test_short_answers_outside_their_passage_are_reported(
    answer: str, reported: bool, tmp_path: Path
) -> None:
    watcher = NotInPassage(found := Findings(), dataset(tmp_path))
    for number in range(ROWS):
        watcher.see(seen("train", number, f"They met in shed {number}. Where?", answer.format(number)))
    watcher.finish()
    assert bool(texts(found)) == reported


@pytest.mark.parametrize(("text", "reported"), [("[{}] it leaks, {}", True), ("it leaks, {1}", False)])
def test_labels_inside_nearly_all_texts_are_reported(text: str, reported: bool, tmp_path: Path) -> None:
    data = dataset(tmp_path)
    watcher = Labels(found := Findings(), data)
    for number in range(ROWS):
        label = data.labels[number % 3]
        watcher.see(seen("train", number, text.format(label, number), label))
    watcher.finish()
    assert any("contain their own label" in text for text in texts(found)) == reported


@pytest.mark.parametrize(
    "name", ["kettlewick-intents", "kettlewick-chat", "kettlewick-handbook", "kettlewick-preference"]
)
def test_our_own_rows_have_none(name: str) -> None:
    data: Dataset = load_dataset_config(name)
    found = Findings()
    watchers = [Labels(found, data)] if data.labels else [Leftovers(found, data), NotInPassage(found, data)]
    survey(data, watchers, found)
    codes = {one.code for kind in found.kinds.values() for one in kind.shown}
    assert not codes & {"turns.leftover", "turns.not_in_passage", "labels.in_text"}
