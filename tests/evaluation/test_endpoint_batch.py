"""Many rows asked of an endpoint: what is kept, asked again, given up; and the contender made of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.evaluation.test_endpoint_client import KEY, settings
from tests.support.chat_server import DROP, ChatServer, Reply, completion, serve, status
from tests.support.helpers import make_run
from tests.support.lazy import lazy
from tunebook.core import files
from tunebook.core.errors import InputError, MachineError
from tunebook.core.files import read_json, read_jsonl, write_json
from tunebook.data.dataset import Dataset
from tunebook.evaluation.contenders import Prompting, untuned
from tunebook.evaluation.endpoint.batch import ask_all, endpoint_answers
from tunebook.evaluation.endpoint.client import Settings
from tunebook.evaluation.endpoint.judge import judge_summary
from tunebook.evaluation.inputs import Inputs
from tunebook.evaluation.suite import Suite
from tunebook.report.report import write_report
from tunebook.report.verdict import compare
from tunebook.runs.run import Run

pytestmark = pytest.mark.slow

ORDER = "tunebook.evaluation.evaluate"
evaluation_order = lazy(ORDER)
evaluator = lazy("tunebook.evaluation.evaluator")

ASKED = {f"r{i}": [{"role": "user", "content": f"Question {i}?"}] for i in range(6)}
Behave = Callable[[int, dict[str, Any]], Reply | str]


def echo(number: int, body: dict[str, Any]) -> Reply:
    return completion("Answer to " + body["messages"][-1]["content"])


def quiet(done: int, total: int) -> None:
    pass


def one_by_one(server: ChatServer, **other: Any) -> Settings:
    return settings(server, concurrency=1, **other)


def failing(*texts: str, instead: Reply | str) -> Behave:
    """Echo every question but those of `texts`."""
    return lambda number, body: instead if body["messages"][-1]["content"] in texts else echo(number, body)


def test_every_row_has_its_own_answer_in_order(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with serve(echo) as server:
        found = ask_all(
            ASKED, settings(server), tmp_path / "a.jsonl", lambda done, total: seen.append((done, total))
        )
    assert [*found] == [*ASKED]
    assert [record["text"] for record in found.values()] == [f"Answer to Question {i}?" for i in range(6)]
    assert seen == [(i, 6) for i in range(7)]


def test_several_at_a_time_but_no_more(tmp_path: Path) -> None:
    together, lock, here, most = threading.Barrier(2), threading.Lock(), 0, 0

    def behave(number: int, body: dict[str, Any]) -> Reply:
        nonlocal here, most
        with lock:
            here += 1
            most = max(most, here)
        together.wait(30)  # nobody is answered before two are asking
        with lock:
            here -= 1
        return echo(number, body)

    with serve(behave) as server:
        found = ask_all(ASKED, settings(server, concurrency=2, timeout=60), tmp_path / "a.jsonl", quiet)
    assert not any("error" in record for record in found.values())
    assert most == 2


def test_a_failed_row_is_kept_with_its_error_and_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with serve(failing("Question 2?", instead=status(200, "<html>"))) as server:
        first = ask_all(ASKED, one_by_one(server), path, quiet)
        assert first["r2"]["error"] == "not a chat completion: <html>"
        assert [name for name, record in first.items() if "error" in record] == ["r2"]
        assert len(files.read_records(path)) == 6
        server.bodies.clear()
        server.behave = echo
        second = ask_all(ASKED, one_by_one(server), path, quiet)
    assert server.asked == ["Question 2?"]
    assert second == first | {"r2": second["r2"]}
    assert second["r2"]["text"] == "Answer to Question 2?"


@pytest.mark.parametrize("cut", [1, 40, 0])
def test_a_cut_file_costs_its_last_row_only(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with serve(echo) as server:
        whole = ask_all(ASKED, one_by_one(server), path, quiet)
        content = path.read_bytes()
        last = content.splitlines(keepends=True)[-1]
        path.write_bytes(
            content[: -len(last)] + last[:-cut] if cut else content[: -len(last)] + b'{"key": "\xc3'
        )
        server.bodies.clear()
        again = ask_all(ASKED, one_by_one(server), path, quiet)
    # Without its line end only, the record is whole.
    assert server.asked == ([] if cut == 1 else ["Question 5?"])
    assert {name: record["text"] for name, record in again.items()} == {
        name: record["text"] for name, record in whole.items()
    }
    with serve(failing(instead=DROP)) as server:
        assert ask_all(ASKED, one_by_one(server), path, quiet)["r5"]["text"]


@pytest.mark.parametrize("other", [{"model": "large"}, {"max_tokens": 5}, {"seed": 8}])
def test_another_question_is_asked_anew(other: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with serve(echo) as server:
        ask_all(ASKED, settings(server), path, quiet)
        ask_all(ASKED, settings(server, **other), path, quiet)
        assert len(server.bodies) == 12
        changed = ASKED | {"r1": [{"role": "user", "content": "Another?"}]}
        assert ask_all(changed, settings(server), path, quiet)["r1"]["text"] == "Answer to Another?"
    assert len(server.bodies) == 13


def test_a_served_run_is_named_exactly(tmp_path: Path) -> None:
    """`tunebook serve` may serve another file on the same port under the recipe's name."""
    path, first, second = tmp_path / "a.jsonl", "mine@0123456789", "mine@9876543210"
    with serve(echo) as server:
        server.models = ["mine", first]
        for name in ("mine", second):
            with pytest.raises(InputError, match=first) as caught:
                ask_all(ASKED, settings(server, model=name), path, quiet)
            assert caught.value.code == "endpoint.inexact_model"
        assert not server.bodies and not path.exists()
        ask_all(ASKED, settings(server, model=first), path, quiet)
        server.models = ["mine", second]
        ask_all(ASKED, settings(server, model=second), path, quiet)
        assert [body["model"] for body in server.bodies] == [first] * 6 + [second] * 6
        server.models = ["other", "other@0123456789", "mine@latest"]
        ask_all(ASKED, settings(server, model="mine"), path, quiet)


def test_one_that_refuses_forever_is_given_up_and_what_came_is_kept(tmp_path: Path) -> None:
    path, many = tmp_path / "a.jsonl", {f"r{i}": [{"role": "user", "content": str(i)}] for i in range(60)}
    with serve(lambda number, body: echo(number, body) if number < 3 else status(503, "closed")) as server:
        with pytest.raises(MachineError) as error:
            ask_all(many, one_by_one(server), path, quiet)
        assert "5 rows got no answer; the last error: status 503: closed (6 requests)" in str(error.value)
        assert "3 answers are kept" in str(error.value) and str(path) in str(error.value)
        assert len(server.bodies) <= 3 + 6 * 6, "the one in flight is finished, no other is begun"
        server.bodies.clear()
        server.behave = echo
        found = ask_all(many, one_by_one(server), path, quiet)
    assert server.asked == [str(i) for i in range(3, 60)]
    assert not any("error" in record for record in found.values())


def test_more_than_a_tenth_without_an_answer_is_too_much(tmp_path: Path) -> None:
    with serve(failing("Question 1?", "Question 4?", instead=completion(""))) as server:
        with pytest.raises(MachineError, match="2 rows .*an empty answer") as caught:
            ask_all(ASKED, one_by_one(server), tmp_path / "a.jsonl", quiet)
    assert caught.value.code == "endpoint.too_many_failures"


def test_nobody_there(tmp_path: Path) -> None:
    with serve(echo) as server:
        gone = settings(server, concurrency=2)
    with pytest.raises(MachineError, match="ConnectError"):
        ask_all(ASKED, gone, tmp_path / "a.jsonl", quiet)


def test_a_refused_key_ends_it_and_is_written_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    refuse = status(401, f"Incorrect API key provided: {KEY}")
    with serve(lambda number, body: echo(number, body) if number < 2 else refuse) as server:
        with pytest.raises(InputError, match=r"Incorrect API key provided: \[key\]") as caught:
            ask_all(ASKED, one_by_one(server), path, quiet)
    assert caught.value.code == "endpoint.refused"
    assert [record["id"] for record in files.read_records(path)] == ["r0", "r1"]


def test_the_key_is_in_no_file(tmp_path: Path) -> None:
    rows = [{"id": name} for name in ASKED]
    with serve(failing("Question 3?", instead=status(400, f"sent: Bearer {KEY}"))) as server:
        server_echo = server.behave
        server.behave = lambda number, body: (
            completion(f"You sent {KEY}") if number == 0 else server_echo(number, body)
        )
        endpoint_answers(rows, [*ASKED.values()], one_by_one(server), tmp_path / "endpoint", quiet)
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "You sent [key]" in written and "sent: Bearer [key]" in written
    assert KEY not in written


@pytest.mark.parametrize(
    ("prices", "usage", "tokens", "dollars"),
    [
        ({"price_in": 1.0, "price_out": 2.0}, True, (55, 35), (55 * 1 + 35 * 2) / 1e6),
        ({"price_in": 1.0}, True, (55, 35), None),
        ({"price_in": 1.0, "price_out": 2.0}, False, (None, None), None),
    ],
)
def test_tokens_and_cost(
    prices: dict[str, float],
    usage: bool,
    tokens: tuple[int | None, int | None],
    dollars: float | None,
    tmp_path: Path,
) -> None:
    """Five of six rows are answered, 11 and 7 tokens each."""
    good = completion("Yes.") if usage else completion("Yes.", usage={})

    def behave(number: int, body: dict[str, Any]) -> Reply:
        if body["messages"][-1]["content"] == "Question 3?":
            return status(400)
        return status(500) if number == 0 else good

    rows = [{"id": name} for name in ASKED]
    with serve(behave) as server:
        endpoint_answers(rows, [*ASKED.values()], one_by_one(server, **prices), tmp_path, quiet)
    found = read_json(tmp_path / "summary.json")
    assert found == {
        **{"model": "small", "address": server.address, "rows": 6, "answered": 5, "errors": 1, "retries": 1},
        **{"tokens_in": tokens[0], "tokens_out": tokens[1]},
        "dollars": pytest.approx(dollars) if dollars else None,
    }


# The contender


def evaluation(run: Run, task: str) -> evaluator.Evaluator:
    """Return what asks the endpoint about a hand-made run, without the models that it does not need."""
    saved = read_json(run / "settings.json")
    sample = {"generate_rows": 8} if task == "chat" else {}
    suite = Suite.model_validate(saved["suite"] | sample)
    fields = {
        "classification": {"answer": "x"},
        "qa": {"answers": "x", "no_answer": "Not here."},
        "chat": {"turns": "x"},
    }
    source = {"files": dict.fromkeys(("train", "dev", "test"), "x.jsonl")}
    dataset = Dataset.model_validate(
        {
            **{"folder": run.folder, "licence": "none", "source": source, "system": "Short.", "prompt": "x"},
            **{"baseline_prompt": "One word.", **saved["dataset"], **fields[task]},
        }
    )
    rows = read_jsonl(run / "data" / "test.jsonl")
    for row in rows:
        row["gold"]["answers"] = [row["gold"]["answer"]]
    inputs = Inputs(run, suite, dataset, {}, 42, {"test": rows, "dev": rows}, [])
    models: Any = SimpleNamespace(
        tokenizer=None, head=False, config={"base_model": "none"}, precision="float32"
    )
    return evaluator.Evaluator(inputs, models, run / "events.jsonl")


@pytest.mark.parametrize("task", ["classification", "qa", "chat"])
def test_the_contender_stands_in_the_table_the_sentence_and_the_report(task: str, tmp_path: Path) -> None:
    """It answers every row with that row's gold but one, which it fails."""
    run = make_run(tmp_path / "run", task)
    made = evaluation(run, task)
    gold = {row["messages"][0]["content"]: row["gold"]["answer"] for row in made.rows["test"]}
    failed: list[str] = []

    def behave(number: int, body: dict[str, Any]) -> Reply:
        assert body["messages"][0] == {"role": "system", "content": "One word."}
        text = body["messages"][-1]["content"]
        if not failed:
            failed.append(text)
        return status(400, "too long") if text in failed else completion(gold[text])

    with serve(behave) as server:
        made.ask_endpoint(one_by_one(server), "test")
    assert {body["max_tokens"] for body in server.bodies} == {8}
    choice = read_json(run / "eval" / "choice.json")
    write_json(run / "eval" / "choice.json", choice | {"contenders": [*choice["contenders"], "endpoint"]})
    records = read_jsonl(run / "eval" / "answers" / "endpoint.test.jsonl")
    assert [record["id"] for record in records] == [row["id"] for row in made.rows["test"]]
    assert [record["error"] for record in records if "error" in record] == ["status 400: too long"]
    compare(run)
    found = read_json(run / "metrics.json")
    measures = found["contenders"]["endpoint"]
    asked = 8 if task == "chat" else 20
    metric = {"classification": "accuracy", "qa": "f1", "chat": "chrf"}[task]
    assert (measures[metric]["value"], measures[metric]["n"]) == (1, asked - 1)
    if task == "chat":
        assert measures["loss"] == {**measures["loss"], "value": None, "n": 0, "low": None, "high": None}
        assert not [c for c in found["comparisons"] if c["b"] == "endpoint" and c["metric"] == "loss"]
    against = next(c for c in found["comparisons"] if c["b"] == "endpoint" and c["metric"] == metric)
    assert " endpoint" in found["sentence"] and f"({against['n']} examples, corrected p" in found["sentence"]
    assert found["rows"] == 20
    write_report(run)
    for name in ("report.html", "report.md"):
        text = (run / name).read_text()
        assert f"small at {server.address}, {asked - 1} of {asked} requests answered" in text
        assert "cost not known" in text
    everything = "".join(path.read_text() for path in run.folder.rglob("*") if path.is_file())
    assert KEY not in everything
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert events[-1]["job"] == "endpoint" and events[-1]["done"] == events[-1]["total"] == asked


def test_the_evaluation_asks_the_endpoint_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that needs a model is there already; `EVAL=quick` asks nobody."""
    run = make_run(tmp_path / "run", "chat")
    saved = read_json(run / "settings.json")
    monkeypatch.setattr(evaluator.Evaluator, "evaluate", lambda *_: [])
    for name in ("measure_side_effects", "ship_the_best"):
        monkeypatch.setattr(f"{ORDER}.{name}", lambda *_: None)
    monkeypatch.setattr(f"{ORDER}.not_measured", lambda *_: {})
    monkeypatch.setattr(evaluator.Evaluator, "agreement", lambda self: None)
    best = untuned(Prompting(few_shot=True))
    monkeypatch.setattr(f"{ORDER}.choose_baseline", lambda *_: (best, {best.name: 0.5}))

    def judges(number: int, body: dict[str, Any]) -> Reply:
        return completion("VERDICT: A" if "VERDICT" in body["messages"][-1]["content"] else "An answer.")

    with serve(judges) as server:
        for name, value in (("", server.address), ("_MODEL", "small"), ("_KEY", KEY)):
            monkeypatch.setenv(f"TUNEBOOK_ENDPOINT{name}", value)
        for mode, judged in (("quick", True), ("default", False), ("full", True)):
            server.bodies.clear()
            write_json(
                run / "settings.json", {**saved, "suite": {**saved["suite"], "mode": mode, "judge": judged}}
            )
            made = evaluation(run, "chat")
            evaluation_order.evaluate(made)
            choice = read_json(run / "eval" / "choice.json")
            assert choice["contenders"] == [
                *("base_generate_0", "base_generate_k", "tuned"),
                *([] if mode == "quick" else ["endpoint"]),
            ]
            # 8 rows for the contender, once; 9 pairs in two orders for the judge.
            assert len(server.bodies) == {"quick": 0, "default": 8, "full": 18}[mode]
            assert (judge_summary(run) is not None) == (mode == "full")
