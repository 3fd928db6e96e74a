"""Rows as `make check` sees them: faults, drops, groups, labels, secrets; nothing is lost without a word."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.small_data import dataset, labelled, seen
from tunebook.check.findings import PRINTED, SHOWN, Findings
from tunebook.check.labels import Labels, alike, sharing
from tunebook.check.rows import Sample, survey
from tunebook.check.secrets import Secrets, find, luhn, masked
from tunebook.check.turns import OfAService
from tunebook.core.errors import InputError
from tunebook.data import cache
from tunebook.data.dataset import Dataset
from tunebook.data.near_duplicates import words
from tunebook.data.render import render, render_all, render_whole

BAD = {"id": "x", "text": "", "label": "acorn"}


def kinds(found: Findings) -> dict[tuple[str, str], int]:
    return {key: kind.count for key, kind in found.kinds.items()}


def codes(found: Findings) -> dict[tuple[str, str], int]:
    return Counter((one.grade, one.code) for kind in found.kinds.values() for one in kind.shown)


def look(data: Dataset, *watchers: Any) -> Findings:
    found = Findings()
    survey(data, [make(found) for make in watchers], found)
    return found


def test_a_good_set_has_nothing_to_be_said_of_it(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    found = look(data, Sample, Secrets, lambda f: Labels(f, data))
    assert kinds(found) == {}
    assert found.facts["rows"] == {"train": 30, "dev": 30, "test": 30}
    assert found.facts["labels"] == {"acorn": 10, "beech": 10, "cedar": 10}


def test_every_bad_row_is_counted_and_the_first_are_shown(tmp_path: Path) -> None:
    broken = [BAD | {"id": f"b{i}"} for i in range(SHOWN + 5)]
    found = look(dataset(tmp_path, {"train": [*labelled("train", 30), *broken, b"{"]}))
    kind = found.kinds[("error", "rows")]
    assert kind.count == SHOWN + 6 and len(kind.shown) == SHOWN
    assert kind.shown[0].line == 31 and str(kind.shown[0]).endswith(
        "train.jsonl:31 (id b0): prompt: " + kind.shown[0].text
    )
    assert len(kind.first()) == PRINTED and found.shortened()
    assert found.listed().count("prompt: ") == SHOWN


def test_allow_drop_takes_so_many_bad_rows_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"train": [*labelled("train", 30), BAD, b"{"], "dev": [*labelled("dev", 5), BAD]}
    with pytest.raises(InputError) as caught:
        render_all(dataset(tmp_path, rows, allow_drop=2))
    assert len(caught.value.problems) == 3, "all three are shown"
    accepted = dataset(tmp_path, rows, allow_drop=3)
    assert [len(rendered) for rendered in render_all(accepted).values()] == [30, 5, 30]
    said = capsys.readouterr().err
    assert "3 bad rows are dropped (allow_drop: 3)" in said and "train.jsonl:31" in said
    assert len(render(accepted, "train")) == 30
    found = look(accepted)
    faults = {"rows.empty_render": 2, "rows.not_json": 1}
    assert codes(found) == {("note", code): count for code, count in {"rows.left_out": 1, **faults}.items()}
    refused = look(dataset(tmp_path, rows, allow_drop=2))
    assert codes(refused) == {("error", code): count for code, count in faults.items()}


def test_a_repeated_id_is_dropped_with_the_row_that_repeats_it(tmp_path: Path) -> None:
    twice = [*labelled("train", 5), labelled("train", 1)[0]]
    data = dataset(tmp_path, {"train": twice}, allow_drop=1)
    assert len(render(data, "train")) == 5
    with pytest.raises(InputError, match="repeats the id of line 1"):
        render(dataset(tmp_path, {"train": twice}), "train")


def test_a_split_without_rows_is_an_error(tmp_path: Path) -> None:
    found = look(dataset(tmp_path, {"test": [b""]}))
    assert codes(found) == {("error", "rows.empty_split"): 1}
    with pytest.raises(InputError, match=r"test.jsonl: has no rows"):
        render(dataset(tmp_path, {"test": [b""]}), "test")


def test_a_missing_file_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    (data.folder / "dev.jsonl").unlink()
    found = look(data)
    assert codes(found) == {("error", "data.no_rows_file"): 1}


def test_dev_that_is_split_from_train_is_the_same_as_when_rendered(tmp_path: Path) -> None:
    files = {"train": "train.jsonl", "test": "test.jsonl"}
    data = dataset(tmp_path, {"train": labelled("train", 200)}, source={"files": files, "dev_share": 0.1})
    seen_rows: dict[str, list[str]] = {"train": [], "dev": [], "test": []}

    class Remember:
        def see(self, row: Any) -> None:
            seen_rows[row.split].append(row.row["id"])

        def finish(self) -> None:
            pass

    look(data, lambda found: Remember())
    rendered = render_all(data)
    assert seen_rows == {split: [row["id"] for row in rows] for split, rows in rendered.items()}
    assert 19 <= len(seen_rows["dev"]) <= 21


def test_rows_from_the_cache_are_those_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path / "cache"))
    rows = [{**row, "owner": f"o{number % 37}"} for number, row in enumerate(labelled("train", 150))]
    source = {"files": {"train": "train.jsonl"}, "dev_share": 0.1, "test_share": 0.1}
    data = dataset(tmp_path, {"train": [*rows, b"{"]}, group="owner", source=source, allow_drop=1)
    seen_rows: list[Any] = []

    class Remember:
        def see(self, row: Any) -> None:
            seen_rows.append((row.split, row.place, row.line, row.row, row.family))

        def finish(self) -> None:
            pass

    told = look(data, lambda found: Remember()).as_json()
    from_files, seen_rows = seen_rows, []
    cache.keep(data, render_whole(data))
    monkeypatch.setattr("tunebook.check.rows.each_row", None)
    assert look(data, lambda found: Remember()).as_json() == told
    assert seen_rows == from_files and len(from_files) == 150


def test_a_group_in_two_splits_is_warned_of_once(tmp_path: Path) -> None:
    def owned(split: str, owner: str) -> list[dict[str, Any]]:
        return [{**row, "owner": owner} for row in labelled(split, 3)]

    rows = {"train": owned("train", "ada"), "dev": owned("dev", "ben"), "test": owned("test", "ada")}
    found = look(dataset(tmp_path, rows, group="owner"))
    kind = found.kinds[("warning", "groups in two splits")]
    assert codes(found) == {("warning", "rows.group_in_two_splits"): 1}
    assert "'ada' has rows in test as well as in train" in kind.shown[0].text


def test_a_sample_is_the_same_each_time_and_of_train_only() -> None:
    def draw() -> list[int]:
        sample = Sample(Findings(), size=5)
        for line in range(100):
            sample.see(seen("train", line, "x"))
            sample.see(seen("dev", line, "x"))
        assert {row.split for row in sample.rows} == {"train"}
        return [row.line for row in sample.rows]

    assert draw() == draw() and len(set(draw())) == 5


# Labels


def test_labels_that_are_missing_rare_or_uneven(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"tree {i}", "label": "acorn" if i < 100 else "beech"} for i in range(104)]
    data = dataset(tmp_path, {"train": rows, "test": labelled("test", 2)})
    found = look(data, lambda f: Labels(f, data))
    assert codes(found) == {
        ("warning", "labels.rare"): 1,
        ("warning", "labels.without_rows"): 1,
        ("note", "labels.not_tested"): 1,
        ("note", "labels.uneven"): 1,
    }


def test_one_text_with_two_labels(tmp_path: Path) -> None:
    more = [
        {"id": "a", "text": "Is this an oak?", "label": "acorn"},
        {"id": "b", "text": "is this an OAK", "label": "beech"},
        {"id": "c", "text": "Is this an oak?", "label": "acorn"},
    ]
    data = dataset(tmp_path, {"train": [*labelled("train", 30), *more]})
    kind = look(data, lambda f: Labels(f, data)).kinds[("warning", "one text, two labels")]
    assert kind.count == 1
    assert kind.shown[0].line == 32 and "train.jsonl:31" in kind.shown[0].text


@pytest.mark.parametrize(
    ("labels", "pairs"),
    [
        (["card_lost", "Card Lost"], 1),
        (["card_lost", "card-lost", "cash"], 1),
        (["declined_transfer", "declined_transfers"], 1),
        (["card_lost", "card_found"], 0),
        (["pin", "pan"], 0),
    ],
)
def test_names_that_are_hard_to_tell_apart(labels: list[str], pairs: int) -> None:
    assert len(alike(labels, "dataset.yaml")) == pairs


def test_labels_of_the_same_tokens() -> None:
    found = sharing({"a b": [1, 2], "b a": [2, 1], "a b c": [1, 2, 3], "d": [4]}, "dataset.yaml")
    assert [finding.text.partition(":")[0] for finding in found] == [
        "'a b' and 'b a' consist of the same tokens",
        "'a b' and 'a b c' start with the same tokens, up to the end of the shorter label",
    ]


# Secrets


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("my key is sk-proj-" + "a1B2" * 8, "secrets.api_key"),
        ("hf_" + "a" * 34, "secrets.api_key"),
        ("ghp_" + "Z9" * 18, "secrets.api_key"),
        ("AKIA" + "ABCD1234EFGH5678", "secrets.api_key"),
        ("-----BEGIN RSA PRIVATE " + "KEY-----", "secrets.api_key"),
        ("write to ada.lovelace+x@analytical.co.uk today", "secrets.email_address"),
        ("4111 1111 1111 1111", "secrets.card_number"),
        ("5500-0000-0000-0004.", "secrets.card_number"),
        ("378282246310005", "secrets.card_number"),
    ],
)
def test_what_looks_like_a_secret(text: str, code: str) -> None:
    assert [one.code for one in find(text)] == [code]


@pytest.mark.parametrize(
    "text",
    [
        "write to help@example.com or a@desk.invalid",
        "4111 1111 1111 1112",
        "order 1234567890",
        "0000 0000 0000 0000",
        "the task-list is sk-short",
        "costs 12.99 @ noon",
        "0.12345678901234567",
    ],
)
def test_what_only_looks_a_bit_like_one(text: str) -> None:
    assert find(text) == []


def test_a_secret_is_never_shown_in_full(tmp_path: Path) -> None:
    secret = "ada.lovelace@analytical.co.uk"
    row = {"id": "s", "text": f"I am {secret}, where is my tree?", "label": "acorn"}
    data = dataset(tmp_path, {"train": [*labelled("train", 10), row]})
    found = look(data, Secrets)
    (finding,) = found.kinds[("warning", "e-mail addresses in rows")].shown
    assert finding.line == 11 and secret[:3] in finding.text
    assert secret not in str(found.as_json())
    assert masked(secret) == "ada... (29 characters)"


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("The response was filtered due to Azure OpenAI's content management policy.", True),
        ('{"finish_reason": "content_filter"}', True),
        ("Rate limit reached for gpt-4 in organization org-x.", True),
        ("This model's maximum context length is 4097 tokens.", True),
        ("Error code: 429", True),
        ("[content removed]", True),
        ("The policy of our shop: content of parcels is not checked.", False),
        ("An error code: look it up on page 429.", False),
        ("The pipe is blocked.", False),
    ],
)
def test_an_answer_that_a_service_wrote_is_named(answer: str, named: bool) -> None:
    found = Findings()
    watcher = OfAService(found)
    watcher.see(seen("train", 3, answer))  # of the prompt nothing is said
    assert not found.kinds
    watcher.see(seen("train", 4, "x", answer))
    assert [one.line for kind in found.kinds.values() for one in kind.shown] == [4] * named
    row = seen("train", 5, "x", answer)
    row.row["messages"][-1]["weight"] = 0  # and nothing of a turn that is not learned
    watcher.see(row)
    assert sum(kind.count for kind in found.kinds.values()) == named


def test_luhn() -> None:
    assert luhn("79927398713") and not luhn("79927398710")


def test_words_are_the_same_whatever_case_punctuation_and_unicode_form() -> None:
    assert words("Caf\u00e9  \uff11, ok!") == words("cafe\u0301 1 OK") == ["caf\u00e9", "1", "ok"]
