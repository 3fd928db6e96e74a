"""What a training compares of its rows before the first step, and what it leaves out and says so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import tiny
from tests.support.prepared_rows import prepare, talk
from tunebook.core.errors import InputError
from tunebook.core.files import read_json, write_json, write_jsonl
from tunebook.data.prompt import PromptEncoder
from tunebook.data.stretches import IGNORED
from tunebook.plugins.supervised_text import compare_supervised_text
from tunebook.runs.supervised import FILE, forget_difference, read_supervised, sentence


class Config(dict[str, Any]):
    """Axolotl's config: a key that is not set is None."""

    __getattr__ = dict.get  # type: ignore[assignment]


ROWS = [talk(f"Question {number}?", f"Answer {number}.", id=f"r{number}") for number in range(6)]


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    return PromptEncoder(tiny.trial_tokenizer())


class Training:
    """A training of ROWS in a folder: its config, its trainer, and what was compared."""

    def __init__(
        self, folder: Path, encoder: PromptEncoder, rows: list[dict[str, Any]] | None = None
    ) -> None:
        self.folder, self.file = folder / "train", folder / "train.jsonl"
        self.rows = ROWS if rows is None else rows
        write_jsonl(self.file, self.rows)
        entry = Config(path=str(self.file), type="chat_template", field_messages="messages", ds_type="json")
        self.cfg = Config(output_dir=str(self.folder), datasets=[entry], sequence_len=256)
        self.made = [prepare(row, encoder) for row in self.rows]
        self.trainer = SimpleNamespace(processing_class=encoder.tokenizer, train_dataset=None)

    def dataset(self) -> Any:
        from datasets import Dataset  # type: ignore[attr-defined]

        made = [
            {"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)}
            for ids, labels in self.made
        ]
        return Dataset.from_list(made).shuffle(seed=1)

    def compare(self, dataset: Any = None) -> dict[str, Any]:
        self.trainer.train_dataset = self.dataset() if dataset is None else dataset
        compare_supervised_text(self.cfg, self.trainer)
        found: dict[str, Any] = read_json(self.folder / FILE)
        return found

    def not_compared(self, dataset: Any = None) -> str:
        """Return why no row was compared."""
        found = self.compare(dataset)
        assert (found["compared"], found["differ"]) == (0, 0)
        (why,) = found["not_compared"]
        assert why in sentence(read_supervised(self.folder))  # type: ignore[arg-type]
        return str(why)


def test_all_rows_are_compared_and_counted(encoder: PromptEncoder, tmp_path: Path) -> None:
    found = Training(tmp_path, encoder).compare()
    assert (found["rows"], found["compared"], found["differ"]) == (6, 6, 0)
    assert not found["not_compared"] and not found["first"]
    assert "6 of 6 rows" in sentence(found)  # type: ignore[arg-type]


def test_a_difference_ends_the_training_and_names_the_row(encoder: PromptEncoder, tmp_path: Path) -> None:
    training = Training(tmp_path, encoder)
    labels = training.made[3][1]
    labels[len(labels) - 2] = IGNORED
    with pytest.raises(InputError) as caught:
        training.compare()
    assert caught.value.codes == ["train.other_text"]
    first, last = caught.value.problems
    assert (first.file, first.line, first.key) == (str(training.file), 4, "id r3")
    assert "1 of 6 rows" in last.text
    with pytest.raises(InputError):
        training.compare()
    forget_difference(training.folder)
    assert read_supervised(training.folder) is None


def test_rows_are_compared_once_in_a_run(encoder: PromptEncoder, tmp_path: Path) -> None:
    training = Training(tmp_path, encoder)
    dataset = training.dataset()
    found = training.compare(dataset)
    write_json(training.folder / FILE, {**found, "seconds": 77.0})
    assert training.compare(dataset)["seconds"] == 77.0
    training.made = training.made[::-1]
    assert training.compare()["seconds"] < 77.0, "other rows"
    (training.folder / FILE).write_text("{")
    assert training.compare(dataset)["compared"] == 6, "made again"


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"type": "completion"}, "completion"),
        ({"type": "alpaca"}, "alpaca"),
        ({"path": "owner/name"}, "JSONL"),
        ({"roles": {"user": ["human"]}}, "roles"),
        ({"message_field_training": "train"}, "message_field_training"),
        ({"message_property_mappings": {"role": "from", "content": "value"}}, "message_property_mappings"),
        ({"split": "train[:3]"}, "split"),
    ],
)
def test_entries_whose_rows_are_not_known(
    keys: dict[str, Any], word: str, encoder: PromptEncoder, tmp_path: Path
) -> None:
    training = Training(tmp_path, encoder)
    training.cfg["datasets"][0] |= keys
    assert word in training.not_compared()


def test_entries_of_other_rows_beside_known_ones(encoder: PromptEncoder, tmp_path: Path) -> None:
    training = Training(tmp_path, encoder)
    training.cfg["datasets"].append(Config(path="owner/name", type="completion"))
    training.made.append(prepare(talk("Who?", "Nobody."), encoder))
    found = training.compare()
    assert (found["compared"], list(found["not_compared"].values())) == (6, [1])


def test_entries_that_leave_rows_as_they_are(encoder: PromptEncoder, tmp_path: Path) -> None:
    training = Training(tmp_path, encoder, [*ROWS, talk("a", "b", "c", "0:d", id="w")])
    as_is = {"message_property_mappings": {"role": "role", "content": "content"}, "split": "train"}
    training.cfg["datasets"][0] |= {"message_field_training": "weight", "field_tools": "tools", **as_is}
    assert training.compare()["compared"] == 7
    training.made = training.made[:2]
    training.cfg["datasets"][0] |= {"shards": 3}
    assert training.compare()["compared"] == 2


def test_trainings_that_learn_no_text_or_not_yet(encoder: PromptEncoder, tmp_path: Path) -> None:
    from datasets import Dataset  # type: ignore[attr-defined]

    training = Training(tmp_path, encoder)
    head = Dataset.from_list([{"input_ids": [1, 2], "labels": 3}])
    assert "classification head" in training.not_compared(head)
    assert "tokenized while training" in training.not_compared(Dataset.from_list([{"text": "a"}]))
    assert "streamed" in training.not_compared(iter([]))
    training.cfg["rl"] = "kto"
    assert "rl: kto" in training.not_compared()


def test_both_answers_of_pairs_are_compared(encoder: PromptEncoder, tmp_path: Path) -> None:
    from datasets import Dataset  # type: ignore[attr-defined]

    rows = [
        talk(f"Q {n}?", f"Yes {n}.", id=f"r{n}", rejected=[{"role": "assistant", "content": f"No {n}."}])
        for n in range(4)
    ]
    training = Training(tmp_path, encoder, rows)
    keys = {"type": "chat_template.argilla_chat", "field_chosen": "messages", "field_rejected": "rejected"}
    training.cfg["datasets"][0] |= keys
    training.cfg["rl"] = SimpleNamespace(value="dpo")

    def pairs() -> Any:
        made = []
        for row in rows:
            prompt = encoder.context(row["messages"][:-1])
            answers = {
                name: encoder.tokenizer(f"{row[field][-1]['content']}<|im_end|>")["input_ids"]
                for name, field in (("chosen_ids", "messages"), ("rejected_ids", "rejected"))
            }
            made.append({"prompt_ids": prompt, **answers})
        return Dataset.from_list(made)

    assert training.compare(pairs())["compared"] == 4
    rows[2]["rejected"] = [{"role": "assistant", "content": "Never."}]
    with pytest.raises(InputError) as caught:
        training.compare(pairs())
    assert [problem.line for problem in caught.value.problems] == [3, None]


def test_a_fault_of_the_comparison_ends_no_training(encoder: PromptEncoder, tmp_path: Path) -> None:
    training = Training(tmp_path, encoder)
    training.file.write_text("{}\n")
    assert "the comparison failed: ValueError" in training.not_compared()
