"""`make review`: blind, resumable, in the report."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.helpers import IMAGE, SCRIPT, make_run
from tunebook.commands import review
from tunebook.commands.review import CHOICES, Reading, start
from tunebook.core import files
from tunebook.core.console import Console
from tunebook.core.errors import InputError
from tunebook.core.files import read_json
from tunebook.runs.run import Run


@pytest.fixture
def run(handmade: Callable[..., Run]) -> Run:
    made = handmade("chat", groups=6)
    made.mark("report", "done")
    return made


def better(reading: Reading, text: str) -> str:
    """Return the choice of a reader who likes answers that begin with `text`."""
    pair = reading.unread()
    assert pair
    return "first" if pair.texts[0].startswith(text) else "second"


def test_the_page_shows_both_answers_and_not_whose_they_are(run: Run) -> None:
    reading = Reading(run)
    sides = set()
    while pair := reading.unread():
        key, html = reading.shown(pair)
        assert key == pair.key
        assert html.index(f">{pair.texts[0]}<") < html.index(f">{pair.texts[1]}<")
        assert "0 of 5" in html or f"{reading.read()} of 5 pairs are read" in html
        named = html.replace(pair.tuned, "").replace(pair.baseline, "")
        assert "tuned" not in named and "base" not in named
        sides.add(pair.tuned_first)
        reading.vote(key, "tie")
    assert sides == {True, False}


def test_what_models_and_members_write_is_escaped(tmp_path: Path) -> None:
    reading = Reading(make_run(tmp_path / "run", "classification"))
    html = "".join(reading.shown(pair)[1] for pair in reading.pairs)
    assert SCRIPT not in html and IMAGE not in html
    assert "&lt;script&gt;" in html and "&lt;img" in html


def test_votes_are_for_the_side_that_was_chosen(run: Run) -> None:
    reading = Reading(run)
    while pair := reading.unread():
        reading.vote(pair.key, better(reading, "tuned"))
    votes = files.read_records(run / "review" / "votes.jsonl")
    assert {vote["outcome"] for vote in votes} == {"tuned"}
    assert {vote["choice"] for vote in votes} == {"first", "second"}
    assert [vote["key"] for vote in votes] == [pair.key for pair in reading.pairs]


def test_goes_on_at_the_first_unread_pair(run: Run) -> None:
    reading = Reading(run)
    for pair in reading.pairs[:2]:
        reading.vote(pair.key, "first")
    path = run / "review" / "votes.jsonl"
    path.write_bytes(path.read_bytes()[:-5])  # killed while the second vote was written
    again = Reading(run)
    assert again.read() == 1
    assert again.unread() == reading.pairs[1]
    assert again.vote(reading.pairs[1].key, "tie") == reading.pairs[2]
    assert [vote["choice"] for vote in files.read_records(path)] == ["first", "tie"]


def test_a_hasty_second_key_does_not_vote_on_an_unread_pair(run: Run) -> None:
    reading = Reading(run)
    on_screen = reading.pairs[0]
    assert reading.vote(on_screen.key, "first") == reading.pairs[1]
    assert reading.vote(on_screen.key, "first") == reading.pairs[1], "sent before the next pair was shown"
    assert reading.read() == 1


def test_back_to_the_pair_before_and_another_vote(run: Run) -> None:
    reading = Reading(run)
    first, second = reading.pairs[:2]
    assert reading.before(first.key) == first
    reading.vote(first.key, "first")
    assert reading.before(second.key) == first
    assert reading.vote(first.key, "tie") == second
    assert reading.read() == 1
    for pair in reading.pairs:
        reading.vote(pair.key, "second")
    assert reading.unread() is None
    assert reading.shown(None)[0] == ""
    assert "All 5 pairs are read" in reading.shown(None)[1]
    assert reading.before("") == reading.pairs[-1]


def test_a_vote_on_nothing_is_none(run: Run) -> None:
    reading = Reading(run)
    assert reading.vote("", "first") == reading.pairs[0]
    assert reading.read() == 0


def test_every_choice_has_a_key_of_the_keyboard() -> None:
    for choice, letter, _ in CHOICES:
        assert f'"{letter}": "{choice}"' in review.KEYS


def test_the_result_is_written_and_in_the_report(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_all(reading: Reading, console: Console) -> None:
        while pair := reading.unread():
            reading.vote(pair.key, better(reading, "tuned"))

    monkeypatch.setattr(review, "_serve", read_all)
    assert review.review(str(run.folder), Console()) == 0
    counted = read_json(run / "review" / "summary.json")
    assert (counted["n"], counted["wins"], counted["pairs"], counted["same"]) == (5, 5, 5, 1)
    for name in ("report.html", "report.md"):
        text = (run / name).read_text()
        assert "of 5 pairs the tuned model was preferred in 5" in text
        assert "0 pairs are unread" in text


def test_nothing_read_changes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "_serve", lambda reading, console: None)
    assert review.review(str(run.folder), Console()) == 0
    assert not (run / "review").exists()


def test_a_run_that_has_not_finished(handmade: Callable[..., Run]) -> None:
    with pytest.raises(InputError, match="has not finished"):
        review.review(str(handmade("chat").folder), Console())


def test_a_run_whose_answers_are_all_the_same(run: Run) -> None:
    answers = run / "eval" / "answers"
    (answers / "tuned.test.jsonl").write_bytes((answers / "base_generate_k.test.jsonl").read_bytes())
    with pytest.raises(InputError, match="the same answer to every row"):
        review.review(str(run.folder), Console())


def test_the_served_page_votes_and_tells_nobody_whose_answer_is_whose(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    for name, value in (("HTTP_PROXY", "http://127.0.0.1:9"), ("NO_PROXY", ""), ("no_proxy", "")):
        monkeypatch.setenv(name, value)  # a network's proxy, which has nothing to do with this machine
    import httpx
    from gradio_client import Client

    reading = Reading(run)
    blocks, address = start(reading)
    try:
        html = httpx.get(address).text
        assert "keydown" in html, "the keys of the keyboard"
        assert not [tag for tag in re.findall(r"<(?:script|link)[^>]*>", html) if "https://" in tag]
        assert "tuned" not in html and "base_generate" not in html
        client = Client(address, verbose=False, download_files=str(tmp_path))
        choices = [choice for choice, _, _ in CHOICES]
        key, shown = client.predict(reading.pairs[0].key, fn_index=choices.index("second"))
        assert key == reading.pairs[1].key
        assert "1 of 5 pairs are read" in shown
        key, shown = client.predict(key, fn_index=choices.index("tie"))
        assert [vote["choice"] for vote in files.read_records(run / "review" / "votes.jsonl")] == [
            "second",
            "tie",
        ]
        client.predict(fn_index=len(CHOICES) + 1)
        assert reading.finished.is_set()
    finally:
        blocks.close(verbose=False)
