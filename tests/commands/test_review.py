"""`make review`: blind, resumable, in the report."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from httpx import Client

from tests.support.helpers import IMAGE, SCRIPT, make_run
from tunebook.commands import review
from tunebook.commands.review import CHOICES, LONGEST, Reading, served
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
        html = reading.shown(pair)
        assert f'name="pair" value="{pair.key}"' in html
        assert html.index(f">{pair.texts[0]}<") < html.index(f">{pair.texts[1]}<")
        assert "0 of 5" in html or f"{reading.read()} of 5 pairs are read" in html
        named = html.replace(pair.tuned, "").replace(pair.baseline, "")
        assert "tuned" not in named and "base" not in named
        sides.add(pair.tuned_first)
        reading.vote(pair.key, "tie")
    assert sides == {True, False}


def test_what_models_and_members_write_is_escaped(tmp_path: Path) -> None:
    reading = Reading(make_run(tmp_path / "run", "classification"))
    html = "".join(reading.shown(pair) for pair in reading.pairs)
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


def test_a_second_reviewer_reads_the_same_pairs_without_the_first_ones_votes(run: Run) -> None:
    anna, ben = Reading(run, "anna"), Reading(run, "ben")
    for pair in anna.pairs:
        anna.vote(pair.key, "first")
    assert anna.unread() is None
    assert ben.read() == 0 and ben.unread() == anna.pairs[0]
    assert "0 of 5 pairs are read by ben" in ben.shown(ben.unread())
    ben.vote(ben.pairs[0].key, "second")
    assert (anna.read(), ben.read()) == (5, 1)
    assert Reading(run).read() == 0, "votes without a name are another reviewer's"


def test_how_far_two_reviewers_agree_is_in_the_report(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_all(reading: Reading, console: Console) -> None:
        while pair := reading.unread():
            alike = reading.reviewer == "anna" or pair != reading.pairs[0]
            reading.vote(pair.key, better(reading, "tuned" if alike else "base"))

    monkeypatch.setattr(review, "_serve", read_all)
    for name in ("anna", "ben"):
        assert review.review(str(run.folder), Console(), name) == 0
    text = (run / "report.html").read_text()
    assert "anna and ben agree on 4 of the 5 pairs that both read (Cohen&#39;s kappa 0.00)" in text
    assert "ben: 5 pairs; the fine-tuned model preferred in 4, the baseline in 1, neither in 0." in text
    assert "anna and ben agree on 4 of the 5" in (run / "report.md").read_text()


@pytest.mark.parametrize("name", ["two words", "x" * 41, "<b>", "a\nb"])
def test_a_reviewers_name_is_a_short_word(name: str, run: Run) -> None:
    with pytest.raises(InputError, match="REVIEWER") as caught:
        review.review(str(run.folder), Console(), name)
    assert caught.value.code == "run.reviewer"


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
    assert "All 5 pairs are read" in reading.shown(None)
    assert reading.before("") == reading.pairs[-1]


def test_a_vote_on_nothing_is_none(run: Run) -> None:
    reading = Reading(run)
    assert reading.vote("", "first") == reading.pairs[0]
    assert reading.read() == 0


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
        assert "of 5 pairs the fine-tuned model was preferred in 5" in text
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


def test_the_served_page_votes_and_tells_nobody_whose_answer_is_whose(run: Run) -> None:
    reading = Reading(run)
    with served(reading) as address, Client(follow_redirects=True, trust_env=False) as client:
        html = client.get(address).text
        assert not re.findall(r"https?://", html), "nothing is fetched from elsewhere"
        named = html.replace(reading.pairs[0].tuned, "").replace(reading.pairs[0].baseline, "")
        assert "tuned" not in named and "base_generate" not in named
        for _, letter, _ in CHOICES:
            assert f'data-key="{letter}"' in html
        place = address.partition("?")[0]
        assert "keydown" in client.get(f"{place}keys.js").text
        html = client.post(place, data={"pair": reading.pairs[0].key, "act": "second"}).text
        assert f'value="{reading.pairs[1].key}"' in html and "1 of 5 pairs are read" in html
        client.post(place, data={"pair": reading.pairs[1].key, "act": "tie"})
        votes = files.read_records(run / "review" / "votes.jsonl")
        assert [vote["choice"] for vote in votes] == ["second", "tie"]
        html = client.post(place, data={"pair": reading.pairs[2].key, "act": "back"}).text
        assert f'value="{reading.pairs[1].key}"' in html
        assert client.post(place, data={"act": "whatever"}).status_code == 400
        assert client.post(place, data={"act": "x" * LONGEST}).status_code == 413
        assert "Finished" in client.post(place, data={"act": "finish"}).text and reading.finished.is_set()


@pytest.mark.slow
def test_nobody_else_reads_votes_or_ends_it(run: Run) -> None:
    """A rebound name, another page of the browser, another user of the machine."""
    reading = Reading(run)
    vote = {"pair": reading.pairs[0].key, "act": "first"}
    with served(reading) as address, Client(trust_env=False) as client:
        place, _, token = address.partition("?token=")
        host = place.removeprefix("http://").rstrip("/")
        assert client.get(place).status_code == 401
        assert client.get(f"{place}?token={token}", headers={"Host": "evil.example:7860"}).status_code == 421
        assert client.get(f"{place}?token=x{token[1:]}").status_code in (303 if token[0] == "x" else 401,)
        assert client.post(place, data=vote).status_code == 401
        opened = client.get(address)
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        assert "HttpOnly" in opened.headers["set-cookie"] and "SameSite" in opened.headers["set-cookie"]
        for name in ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost:x", ""):
            for method in ("GET", "POST"):
                answer = client.request(method, place, headers={"Host": name})
                assert answer.status_code in (400, 421), name
        for more in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": f"https://{host}"},
            {"Origin": "http://127.0.0.1:1"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
            {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
        ):
            assert client.post(place, data=vote, headers=more).status_code == 403, more
            assert "access-control-allow-origin" not in client.get(place, headers=more).headers
        assert not reading.finished.is_set() and reading.read() == 0
        own = {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert client.post(place, data=vote, headers=own).status_code == 200 and reading.read() == 1
        followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}  # a link in a web terminal
        assert client.get(place, headers=followed).status_code == 200
        shown = client.get(place).headers
        assert "frame-ancestors 'none'" in shown["content-security-policy"]
