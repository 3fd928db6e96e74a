"""`tunebook advise` on our own rows, on rows not worth a fine-tune, and with models that answer some."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_server import ChatServer, Reply, completion, serve, status
from tests.support.commands import in_process
from tests.support.lazy import lazy
from tunebook.commands.advise import ask
from tunebook.core.files import read_jsonl
from tunebook.core.paths import ROOT
from tunebook.core.process import ChildError

pytestmark = pytest.mark.slow

worker = lazy("tunebook.commands.advise.ask_worker")

SOURCES = {
    name: ROOT / "datasets" / f"kettlewick-{name}" / "source" for name in ("intents", "handbook", "chat")
}
PASSAGES = {"fields": "context=text", "group": "passage"}


def splits(name: str) -> str:
    return " ".join(f"{split}={SOURCES[name] / split}.jsonl" for split in ("train", "dev", "test"))


def advised(
    data: str, code: int, environment: dict[str, str] | None = None, **options: str
) -> dict[str, Any]:
    """Return what it prints as JSON; a model is asked only where `environment` is given."""
    words = [f"--{name}={value}" for name, value in options.items()]
    words += ["--no-ask"] if environment is None else []
    ended = in_process("advise", data, "--json", *words, **(environment or {}))
    assert ended.returncode == code, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_labels_get_a_head_with_the_evidence_and_a_price() -> None:
    found = advised(splits("intents"), 0)
    assert (found["advice"], found["recipe"]) == ("head", "classify-head")
    assert (found["facts"]["train"], found["facts"]["test"], len(found["facts"]["labels"])) == (600, 300, 14)
    assert found["facts"]["svm"][0] > 0.7 > 0.15 > found["facts"]["frequent"]
    assert found["cost"]["dollars"]["high"] > found["cost"]["dollars"]["low"] > 0
    assert len(found["questions"]) == 6
    assert not (ROOT / "datasets" / "advise").exists()


def test_questions_on_passages_get_lora() -> None:
    found = advised(splits("handbook"), 0, **PASSAGES)
    assert (found["advice"], found["recipe"]) == ("LoRA", "qa-lora")
    assert found["facts"]["in_passage"] > 0.5
    # `passage` is an id there: read as the passage, it holds no answer.
    assert advised(splits("handbook"), 3, group="title")["advice"] == "retrieve"


def test_answers_that_stand_nowhere_are_retrieved(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        rows = map(json.loads, (SOURCES["handbook"] / f"{split}.jsonl").open(encoding="utf-8"))
        text = "".join(json.dumps({**row, "text": "See the handbook."}) + "\n" for row in rows)
        (tmp_path / f"{split}.jsonl").write_text(text, encoding="utf-8")
    data = " ".join(f"{split}={tmp_path / split}.jsonl" for split in ("train", "dev", "test"))
    found = advised(data, 3, **PASSAGES)
    assert found["advice"] == "retrieve"
    assert found["facts"]["in_passage"] < 0.05


def few(folder: Path) -> str:
    lines = (SOURCES["intents"] / "train.jsonl").read_text(encoding="utf-8").splitlines()[:60]
    (folder / "few.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return str(folder / "few.jsonl")


def test_few_rows_are_no_fine_tune(tmp_path: Path) -> None:
    found = advised(few(tmp_path), 3)
    assert found["recipe"] is None and found["cost"] is None


def test_the_screen_has_six_questions_and_the_next_command() -> None:
    ended = in_process("advise", splits("intents"), "--no-ask")
    assert ended.returncode == 0
    assert "advice    head" in ended.stdout
    assert "make fork FROM=classify-head" in ended.stdout
    assert "ASK=0" in ended.stdout


def test_an_unknown_task_is_named() -> None:
    ended = in_process("advise", splits("intents"), "--task=poetry")
    assert ended.returncode == 2
    assert "[option.bad_task]" in ended.stderr


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a child would do is done in this process, which has paid the imports."""
    monkeypatch.setattr(ask, "follow", lambda module, words, *rest, **more: worker.main(words))


def endpoint(server: ChatServer, cache: Path) -> dict[str, str]:
    return {
        "TUNEBOOK_ENDPOINT": server.address,
        "TUNEBOOK_ENDPOINT_MODEL": "large-chat",
        "TUNEBOOK_ENDPOINT_KEY": "a-key-of-the-test",
        "TUNEBOOK_ENDPOINT_PRICE_IN": "1",
        "TUNEBOOK_ENDPOINT_PRICE_OUT": "2",
        "TUNEBOOK_CACHE": str(cache),
    }


def labels(split: str) -> dict[str, str]:
    return {row["text"]: row["label"] for row in read_jsonl(SOURCES["intents"] / f"{split}.jsonl")}


def test_a_prompt_of_an_endpoint_that_does_the_job_is_the_advice(here: None, tmp_path: Path) -> None:
    right = labels("dev")

    def behave(number: int, body: dict[str, Any]) -> Reply:
        return completion(right[body["messages"][-1]["content"]])

    with serve(behave) as server:
        variables = endpoint(server, tmp_path)
        found = advised(splits("intents"), 3, variables)
        assert advised(splits("intents"), 3, variables)["facts"] == found["facts"]
    assert (found["advice"], found["recipe"], found["cost"]) == ("prompt", None, None)
    assert found["questions"][-1]["yes"] is False
    sample = found["facts"]["prompted"]
    assert (sample["model"], sample["who"], sample["rows"], sample["failed"]) == (
        "large-chat",
        "endpoint",
        24,
        0,
    )
    assert [one["value"] for one in sample["tried"]] == [1.0, 1.0]
    assert sample["dollars_per_thousand"] == pytest.approx((11 * 1 + 7 * 2) / 1e6 * 1000)
    # 24 rows with each of two prompts, and the second advice goes by the answers that are kept.
    assert len(server.bodies) == 48
    asked = {body["messages"][-1]["content"] for body in server.bodies}
    assert len(asked) == 24 and asked <= right.keys()
    shown = {turn["content"] for body in server.bodies for turn in body["messages"][:-1]}
    assert shown & labels("train").keys()
    assert not (shown | asked) & labels("test").keys()
    kept = "".join(path.read_text() for path in tmp_path.rglob("*.json*"))
    assert "a-key-of-the-test" not in kept
    assert not any(text in kept for text in asked)  # the rows themselves are not


def test_an_endpoint_that_falls_short_leaves_the_recipe(here: None, tmp_path: Path) -> None:
    with serve(lambda number, body: completion("no idea")) as server:
        found = advised(splits("intents"), 0, endpoint(server, tmp_path))
    assert (found["advice"], found["questions"][-1]["yes"]) == ("head", True)


def test_free_text_of_an_endpoint_is_shown_and_decides_nothing(here: None, tmp_path: Path) -> None:
    with serve(lambda number, body: completion("Thank you for your message.")) as server:
        found = advised(splits("chat"), 0, endpoint(server, tmp_path))
    assert found["facts"]["prompted"]["metric"] == "chrf"
    assert (found["advice"], found["questions"][-1]["yes"]) == ("LoRA", None)


def test_rows_are_announced_before_they_leave_and_need_not(here: None, tmp_path: Path) -> None:
    with serve(lambda number, body: completion("no idea")) as server:
        variables = endpoint(server, tmp_path)
        told = in_process("advise", splits("intents"), **variables)
        assert server.address in told.stdout
        server.bodies.clear()
        assert in_process("advise", splits("intents"), "--no-ask", **variables).returncode == 0
        early = in_process("advise", few(tmp_path), **variables)
    assert not server.bodies
    assert "no model was prompted: question" in early.stdout


def test_without_endpoint_and_base_it_says_that_no_model_was_prompted(tmp_path: Path) -> None:
    found = advised(splits("intents"), 0, {"TUNEBOOK_CACHE": str(tmp_path)})
    assert "TUNEBOOK_ENDPOINT is not set" in found["facts"]["prompted"]
    assert found["questions"][-1]["yes"] is None


def test_an_endpoint_without_a_model_or_an_answer_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"TUNEBOOK_CACHE": str(tmp_path), "TUNEBOOK_ENDPOINT": "http://127.0.0.1:1/v1"}
    ended = in_process("advise", splits("intents"), **variables)
    assert (ended.returncode, "[endpoint.bad_variable]" in ended.stderr) == (2, True)

    def fails(*rest: object, **more: object) -> None:
        raise ChildError("InputError: status 401")

    monkeypatch.setattr(ask, "follow", fails)
    ended = in_process("advise", splits("intents"), TUNEBOOK_ENDPOINT_MODEL="large-chat", **variables)
    assert (ended.returncode, "[advise.no_answer]" in ended.stderr) == (1, True)
    assert "ASK=0" in ended.stderr


def test_a_key_that_is_rejected_ends_it_with_the_reason(tmp_path: Path) -> None:
    with serve(lambda number, body: status(401, "who are you")) as server:
        ended = in_process("advise", splits("intents"), **endpoint(server, tmp_path))
    assert ended.returncode == 1
    assert "401" in ended.stderr and "[advise.no_answer]" in ended.stderr


@pytest.mark.long
def test_the_trial_base_answers_where_it_is_in_the_cache() -> None:
    found = advised(splits("handbook"), 0, {}, **PASSAGES)
    sample = found["facts"]["prompted"]
    assert (sample["who"], sample["metric"], sample["rows"]) == ("trial base", "f1", 24)
    assert len(sample["tried"]) == 2 and sample["seconds"] > 0
    best, other = sample["tried"]
    assert 0 <= best["low"] <= best["value"] <= best["high"] <= 1 and best["value"] >= other["value"]
    assert (found["advice"], found["questions"][-1]["yes"]) == ("LoRA", None)
