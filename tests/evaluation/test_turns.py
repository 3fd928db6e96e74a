"""Conversations are judged by all their answers: one number a conversation, from every model alike."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support import tiny
from tests.support.dialogues import TOPICS, dialogues, talk
from tests.support.lazy import lazy
from tunebook.core.files import read_jsonl
from tunebook.data.dataset import Dataset
from tunebook.evaluation.contenders import Contender, Prompting
from tunebook.evaluation.engines.protocol import Generation
from tunebook.evaluation.inputs import Inputs
from tunebook.evaluation.suite import Suite
from tunebook.metrics.aggregate import difference, measure
from tunebook.runs.run import Run

token_lm, evaluators = lazy("tunebook.evaluation.engines.token_lm"), lazy("tunebook.evaluation.evaluator")

SHOT = talk("shot", "Where is it?", "On Crake Fell.", "Thanks.", "Have a great day.")["messages"]
PROMPTINGS = [
    Prompting(few_shot=shots, baseline_prompt=told) for shots in (False, True) for told in (False, True)
]


@pytest.fixture(scope="module")
def lm() -> Any:
    return token_lm.TokenLM(tiny.model(), tiny.tokenizer())


def evaluator(folder: Path, rows: list[dict[str, Any]], engine: Any, tokenizer: Any, **changes: Any) -> Any:
    """Return what lets `engine` answer `rows`; `changes` are of the suite."""
    suite = {"primary": "loss", "shots": 1, "max_new_tokens": 4, "dev_rows": 4, "generate_rows": None}
    suite |= {"agreement_rows": 0, "evaluate_turns": "all", **changes}
    dataset = Dataset.model_validate(
        {
            **{"folder": folder, "name": "talks", "task": "chat", "licence": "none", "system": "Be brief."},
            **{"source": {"files": dict.fromkeys(("train", "dev", "test"), "x.jsonl")}, "turns": "turns"},
            **{"prompt": "{{ content }}", "baseline_prompt": "Answer in one line."},
        }
    )
    inputs = Inputs(
        Run(folder), Suite.model_validate(suite), dataset, {}, 42, {"dev": rows, "test": rows}, [SHOT]
    )
    models: Any = SimpleNamespace(
        tokenizer=tokenizer,
        head=False,
        config={"base_model": "none"},
        times=1,
        open=lambda name, engine_=True: engine,
        fingerprint=lambda name: {"name": name},
    )
    return evaluators.Evaluator(inputs, models)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path / "cache"))


def contender(prompting: Prompting) -> Contender:
    return Contender(prompting.name("own"), "own", prompting)


@pytest.mark.parametrize("prompting", PROMPTINGS, ids=lambda prompting: prompting.name())
def test_the_loss_is_of_every_trained_answer_weighted_by_its_bytes(
    prompting: Prompting, lm: Any, tmp_path: Path
) -> None:
    rows = [*dialogues()[:2], talk("w", "a?", {"content": "Not learned.", "weight": 0}, "b?", "Learned.")]
    made = evaluator(tmp_path, rows, lm, lm.tokenizer)
    records = made.losses(contender(prompting), "test", rows)
    for row, record in zip(rows, records, strict=True):
        messages = made.maker.messages(row, prompting)
        places = [-1] if row["id"] == "w" else [-3, -1]
        bits = []
        for place in places:
            encoded = made.maker.encoder.encode(messages[: len(messages) + place + 1])
            bits.append(-lm.score([encoded.context], [encoded.answer], [])[0] / math.log(2))
        texts = [row["messages"][place]["content"].encode() for place in places]
        assert record["loss"] == pytest.approx(sum(bits) / sum(map(len, texts)), rel=1e-3)
        each = [bit / len(text) for bit, text in zip(bits, texts, strict=True)]
        assert record.get("turn_losses", each) == pytest.approx(each, rel=1e-3)
        assert record.get("turns", [3]) == [len(row["messages"]) + place for place in places]


def test_answers_are_to_the_same_drawn_turns_of_every_contender(lm: Any, tmp_path: Path) -> None:
    class Echo:
        """Notes what it is asked; says one token and stops."""

        asked: list[list[int]] = []

        def generate(self, contexts: list[list[int]], prefix: list[int], max_new: int) -> list[Generation]:
            self.asked += contexts
            return [Generation([4093], True) for _ in contexts]

        def score_spans(self, contexts: Any, answers: Any, spans: Any, prefix: Any) -> list[list[float]]:
            return [[-1.0] * len(places) for places in spans]

    rows, engine = dialogues(greeting=True), Echo()
    made = evaluator(tmp_path, rows, engine, lm.tokenizer)
    for prompting in PROMPTINGS:
        one = contender(prompting)
        records = made.evaluate(one, "test")
        assert [record["turn"] for record in records] == [3] * 6, "neither the greeting nor the goodbye"
        assert [record["gold"] for record in records] == [answer for _, answer in TOPICS]
        assert all(record["turns"] == [1, 3, 5] for record in records)
        assert [record["id"] for record in records] == [row["id"] for row in rows]
        assert read_jsonl(made.run / "eval" / "answers" / f"{one.name}.test.jsonl") == records
        decoded = [made.maker.encoder.tokenizer.decode(ids) for ids in engine.asked[-6:]]
        # What came before is the real conversation, and nothing of what comes after it is shown.
        assert all(text.count("How can I help you?") == 1 for text in decoded)
        assert not any("Thanks, bye." in text for text in decoded)
        assert all(("Crake Fell" in text) == prompting.few_shot for text in decoded)


def test_the_old_way_is_an_option(tmp_path: Path, lm: Any) -> None:
    rows = dialogues(greeting=True)
    made = evaluator(tmp_path, rows, lm, lm.tokenizer, evaluate_turns="last")
    records = made.evaluate(contender(PROMPTINGS[0]), "test")
    assert [record["gold"] for record in records] == [row["gold"]["answer"] for row in rows]
    assert not any({"turn", "turns"} & record.keys() for record in records)


@pytest.mark.parametrize("prompting", PROMPTINGS, ids=lambda prompting: prompting.name())
def test_rows_of_one_answer_get_the_same_numbers_either_way(
    prompting: Prompting, lm: Any, tmp_path: Path
) -> None:
    rows = [talk(f"t{n}", f"I ask about {topic}.", answer) for n, (topic, answer) in enumerate(TOPICS)]
    found = [
        evaluator(tmp_path / way, rows, lm, lm.tokenizer, evaluate_turns=way).evaluate(
            contender(prompting), "test"
        )
        for way in ("all", "last")
    ]
    assert found[0] == found[1], "to the last bit"
    assert measure(found[0], "chat", []) == measure(found[1], "chat", [])


def test_a_conversation_is_one_in_intervals_and_tests(lm: Any, tmp_path: Path) -> None:
    rows = dialogues(greeting=True)
    made = evaluator(tmp_path, rows, lm, lm.tokenizer)
    answers = {one.name: made.evaluate(one, "test") for one in map(contender, PROMPTINGS[:2])}
    measured = measure(answers["own_generate_0"], "chat", [])
    assert (measured["loss"]["n"], measured["loss"]["groups"]) == (6, 6)
    found = difference("loss", *answers, answers)
    assert found is not None and (found["n"], found["groups"]) == (6, 6)
