"""`make data SHOW=`: which rows are shown, and how tokens look in a terminal and on a page."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import tunebook
from tests.support.small_data import dataset
from tunebook.commands.data import LEARNED, as_html, coloured, facts, render_rows, visible
from tunebook.config.overrides import Options
from tunebook.core.console import Console
from tunebook.core.errors import MachineError
from tunebook.core.paths import ROOT
from tunebook.data.tokenize import pick, spread, suspicious
from tunebook.models import trial_model

SCRIPT = "<script>alert(1)</script>"


def token(text: str, learned: bool = False, special: bool = False) -> dict[str, Any]:
    return {"text": text, "id": 7, "learned": learned, "special": special}


TOKENS = [token("<|im_start|>", special=True), token(SCRIPT), token("\n"), token("acorn", True)]
TOKENS.append(token("<|im_end|>", True, True))
ROW = {"id": "r1", "why": "longest", "tokens": TOKENS}


def test_every_kind_of_row_is_picked() -> None:
    sizes = [(length, 1) for length in (5, 9, 1, 7, 3, 8, 2, 6, 4, 10)]
    picked = pick(sizes, {4: "odd"}, 8)
    assert len(picked) == 8
    assert picked[4] == "odd" and picked[9] == picked[1] == "longest" and picked[2] == picked[6] == "shortest"
    assert list(picked.values()).count("random") == 3
    assert pick(sizes, {4: "odd"}, 8) == picked, "the same each time"
    assert len(pick(sizes, {}, 100)) == 10 and len(pick(sizes, {}, 1)) == 1 and pick([], {}, 5) == {}


def test_rows_spread_over_the_set() -> None:
    assert spread(10, 5) == [0, 2, 4, 6, 8] and spread(3, 5) == [0, 1, 2] and spread(0, 5) == []


@pytest.mark.parametrize(
    ("asked", "answer", "size", "why"),
    [
        ("Which tree?", "An oak.", (10, 5), None),
        ("Which tree?", "An oak.", (21, 5), "longer than sequence_len"),
        ("Which tree?", "An oak.", (25, 20), "the answer lies beyond sequence_len"),
        ("Which tr\ufffde?", "An oak.", (10, 5), "characters from a wrong encoding"),
        (
            "Say: the oak stands by the old mill",
            "the oak stands by the old mill",
            (10, 5),
            "the prompt contains",
        ),
    ],
)
def test_suspicious_rows(asked: str, answer: str, size: tuple[int, int], why: str | None) -> None:
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    found = suspicious([{"messages": turns, "gold": {"answer": answer}}], [size], 20)
    assert (found.get(0) or "None").startswith(str(why))


def test_line_breaks_are_visible_and_broken_letters_do_not_hide() -> None:
    assert visible(token("a\nb")) == "a\u21b5\nb"
    assert visible(token("\ufffd")) == "\ufffd"


def test_learned_tokens_are_coloured_in_the_terminal() -> None:
    text = coloured(TOKENS)
    assert text.plain == f"<|im_start|>{SCRIPT}\u21b5\nacorn<|im_end|>"
    learned = "".join(text.plain[span.start : span.end] for span in text.spans if LEARNED in str(span.style))
    assert learned == "acorn<|im_end|>"
    assert facts(ROW) == "(longest; 5 tokens, 2 learned)"


class Page(HTMLParser):
    """Collects tags, and the text of spans by class."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.spans: list[tuple[str, str]] = []
        self.kind: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.kind = (dict(attrs).get("class") or "") if tag == "span" else None

    def handle_data(self, data: str) -> None:
        if self.kind is not None:
            self.spans.append((self.kind.strip(), data))
            self.kind = None


def test_the_page_is_self_contained_and_escapes_rows(tmp_path: Path) -> None:
    page = Page(as_html(dataset(tmp_path), "a tokenizer", [ROW], [[0]], 64))
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert ("", SCRIPT) in page.spans
    assert ("l", "acorn") in page.spans and ("l s", "<|im_end|>") in page.spans
    assert ("s", "<|im_start|>") in page.spans


@pytest.mark.slow
def test_rows_are_shown_with_the_mask_that_axolotl_makes(tmp_path: Path) -> None:
    """The real thing on the trial tier; the second call is a hit and asks no child."""
    cache = tmp_path / "cache"
    (cache / "models").mkdir(parents=True)
    (cache / "models" / trial_model.folder().name).symlink_to(trial_model.ensure())
    words = ("data", "chat-lora", "--tier", "trial", "--show", "4", "--set", "sample_packing=true")
    first = tunebook(*words, TUNEBOOK_CACHE=str(cache), timeout=600)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "cache MISS" in first.stdout and "packed sequence 1:" in first.stdout
    (kept,) = (cache / "rendered" / "kettlewick-chat").glob("*/shown-4-*.json")
    rows = {json.loads(line)["id"]: json.loads(line) for line in (kept.parent / "train.jsonl").open()}
    for row in json.loads(kept.read_text())["rows"]["shown"]:
        answers = [turn["content"] for turn in rows[row["id"]]["messages"] if turn["role"] == "assistant"]
        learned = "".join(token["text"] for token in row["tokens"] if token["learned"])
        assert learned == "".join(f"{answer}<|im_end|>" for answer in answers)
    page = Page((ROOT / "datasets" / "kettlewick-chat" / "rows" / "shown.html").read_text())
    assert ("l s", "<|im_end|>") in page.spans
    second = tunebook(*words, TUNEBOOK_CACHE=str(cache))
    assert "cache HIT" in second.stdout and "cutting rows" not in second.stdout


def test_the_parent_asks_no_training_stack() -> None:
    code = "import sys, tunebook.commands.data, tunebook.data.tokenize; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.strip() == "False", result.stderr


@pytest.mark.parametrize(
    ("gpus", "asked", "rows"),
    [
        (0, None, "kettlewick-intents"),
        (1, None, "banking77"),
        (0, "real", "banking77"),
        (1, "trial", "kettlewick-intents"),
    ],
)
def test_the_tier_is_picked_as_for_a_run(
    gpus: int, asked: Any, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def rendered(made: Any, config: Any) -> None:
        taken.append(made.name)
        raise MachineError("stop here", code="hub.unreachable")

    monkeypatch.setattr("tunebook.config.resolve.machine.gpus", lambda: [object()] * gpus)
    monkeypatch.setattr("tunebook.commands.data.cache.rendered", rendered)
    with pytest.raises(MachineError):
        render_rows("classify-lora", Options(tier=asked), 0, Console(quiet=True))
    assert taken == [rows]
