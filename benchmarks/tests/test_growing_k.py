"""Few-shot prompting with a growing number of examples: what is prompted, scored and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.lazy import lazy
from tunebook.config.recipe import load_recipe
from tunebook.core.files import read_json
from tunebook.data.dataset import load_dataset_config
from tunebook.evaluation.contenders import Prompting
from tunebook.evaluation.engines.protocol import Engine, Generation, Ids
from tunebook.evaluation.suite import load_suite
from tunebook.runs.rows import RenderedRow
from tunebook.runs.run import Run

growing_k, inputs_of = lazy("benchmarks.growing_k"), lazy("tunebook.evaluation.inputs")

END = "\x03"


class Letters:
    """A tokenizer whose tokens are letters."""

    eos_token, eos_token_id = END, ord(END)

    def apply_chat_template(self, messages: Any, add_generation_prompt: bool, **_: Any) -> str:
        turns = "".join(f"<{turn['role']}>{turn['content']}{END}" for turn in messages)
        return turns + ("<assistant>" if add_generation_prompt else "")

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}

    def decode(self, ids: Ids, **_: Any) -> str:
        return "".join(map(chr, ids))


class Parrot(Engine):
    """Repeats the last example's answer, and ranks the labels by how often the prompt has them."""

    end = ord(END)

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def generate(self, contexts: list[Ids], prefix: Ids, max_new: int) -> list[Generation]:
        texts = ["".join(map(chr, ids)) for ids in contexts]
        self.prompts += texts
        answers = [
            text.split("<assistant>")[-2].split(END)[0] if "\x03<user>" in text else "?" for text in texts
        ]
        return [Generation([ord(letter) for letter in answer], True) for answer in answers]

    def rank_choices(self, contexts: list[Ids], choices: list[Ids], prefix: Ids) -> list[list[float]]:
        texts = ["".join(map(chr, ids)) for ids in contexts]
        labels = ["".join(map(chr, ids[:-1])) for ids in choices]
        return [[float(text.count(label)) for label in labels] for text in texts]


class Models:
    """The one model of the test."""

    head, times, precision = False, 1, None
    tokenizer, config = Letters(), {"base_model": "none"}

    def __init__(self) -> None:
        self.engine = Parrot()

    def open(self, name: str, engine: bool = True) -> Engine:
        return self.engine

    def fingerprint(self, name: str) -> dict[str, Any]:
        return {}


def row(at: int, label: str) -> RenderedRow:
    return {
        "id": f"r{at}",
        "group": f"g{at}",
        "messages": [
            {"role": "user", "content": f"message {at}"},
            {"role": "assistant", "content": label},
        ],
        "gold": {"answer": label},
    }


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path / "cache"))
    test = [row(at, "perch" if at % 2 else "dud") for at in range(8)]
    rows = {"train": [], "dev": [], "test": test}
    examples = [row(at, label)["messages"] for at, label in ((90, "perch"), (91, "dud"))]
    suite = load_suite(load_recipe("classify-lora"), "classification", "trial", "default")
    dataset = load_dataset_config("kettlewick-intents")
    return inputs_of.Inputs(Run(tmp_path / "run"), suite, dataset, {}, 42, rows, examples)


@pytest.mark.parametrize(
    ("method", "shots", "accuracy", "invalid"),
    [("generate", 0, 0.0, 1.0), ("generate", 1, 0.5, 0.0), ("generate", 2, 0.5, 0.0), ("rank", 1, 0.5, None)],
)
def test_a_line_has_so_many_examples_and_its_scores(
    method: Any, shots: int, accuracy: float, invalid: float | None, inputs: Any
) -> None:
    models = Models()
    line = growing_k.line(inputs, models, inputs.rows["test"], Prompting(method, shots > 0), shots)
    assert (line["method"], line["shots"]) == (method, shots)
    assert line["accuracy"]["value"] == accuracy and line["accuracy"]["n"] == 8
    assert line["invalid"] == invalid
    prompts = models.engine.prompts
    assert all(prompt.count("<assistant>") == shots + 1 for prompt in prompts)
    own = len("<user>message 0\x03<assistant>")
    examples = sum(len(f"<user>message 90\x03<assistant>{label}\x03") for label in ("perch", "dud")[:shots])
    assert line["prompt_tokens"] == own + examples


def test_the_results_are_written_after_each_prompt(
    inputs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, seen = tmp_path / "result.json", []
    monkeypatch.setattr("benchmarks.growing_k.load", lambda folder: (inputs, Models()))
    monkeypatch.setattr("benchmarks.growing_k.SHOTS", (0, 2))
    real = growing_k.write_json

    def write(path: Path, found: Any) -> None:
        seen.append(len(found["lines"]))
        real(path, found)

    monkeypatch.setattr("benchmarks.growing_k.write_json", write)
    assert growing_k.main(["--rows", "6", "--to", str(target)]) == 0
    found = read_json(target)
    assert seen == [1, 2, 3, 4]
    assert (found["rows"], found["split"]) == (6, "test")
    assert [(one["shots"], one["method"]) for one in found["lines"]] == [
        *((0, "generate"), (0, "rank")),
        *((2, "generate"), (2, "rank")),
    ]


def test_the_committed_file_has_every_prompt_on_the_same_rows() -> None:
    found = read_json(growing_k.TARGET)
    assert [(one["shots"], one["method"]) for one in found["lines"]] == [
        (shots, method) for shots in growing_k.SHOTS for method in growing_k.METHODS
    ]
    assert {one["accuracy"]["n"] for one in found["lines"]} == {found["rows"]}
    assert {one["accuracy"]["groups"] for one in found["lines"]} == {found["groups"]}
    for method in growing_k.METHODS:
        tokens = [one["prompt_tokens"] for one in found["lines"] if one["method"] == method]
        assert tokens == sorted(tokens) and len(set(tokens)) == len(tokens)
