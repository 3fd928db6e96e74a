"""dataset.yaml and its rows: rendering, and every fault with file, line and field."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tunebook.core import files
from tunebook.core.errors import InputError
from tunebook.core.files import read_jsonl, write_jsonl
from tunebook.core.paths import ROOT
from tunebook.data.dataset import Dataset, load_dataset_config
from tunebook.data.files.split_names import SPLITS
from tunebook.data.render import render
from tunebook.data.sampling import sample_groups, sample_rows
from tunebook.data.sources import source_file

INTENT = {"customer": "c1", "tone": "dry", "text": "Let me in.", "label": "burrow_jam"}
TURNS = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Ada, hello."}]
CHAT = {"id": "d1", "member": "Ada", "hearth": "Saltmarket", "turns": TURNS}


@pytest.fixture(autouse=True)
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point TUNEBOOK_SOURCES at an empty folder and return it."""
    monkeypatch.setenv("TUNEBOOK_SOURCES", str(tmp_path))
    return tmp_path


def put(dataset: Dataset, *lines: bytes | dict[str, Any]) -> Path:
    """Write the lines as the train rows of `dataset` and return the file."""
    path = source_file(dataset.source, dataset.folder, "train")
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(raw) + b"\n")
    return path


def without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def turns(*given: tuple[str, str]) -> dict[str, Any]:
    return {**CHAT, "id": "d2", "turns": [{"role": role, "content": content} for role, content in given]}


@pytest.mark.parametrize("name", ["kettlewick-intents", "kettlewick-chat"])
def test_renders_own_datasets(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNEBOOK_SOURCES")
    dataset = load_dataset_config(name)
    for split in SPLITS:
        rows = render(dataset, split)
        assert len({row["id"] for row in rows}) == len(rows)
        for row in rows:
            roles = [message["role"] for message in row["messages"]]
            assert roles[0] == "system"
            assert roles[1:] == ["user", "assistant"] * (len(roles) // 2)
            assert all(m["content"] == m["content"].strip() != "" for m in row["messages"])
            assert row["messages"][-1]["content"] == row["gold"]["answer"]
            assert set(dataset.fields) < set(row["gold"])


def test_renders_the_templates(sources: Path) -> None:
    intents, chat = load_dataset_config("kettlewick-intents"), load_dataset_config("kettlewick-chat")
    put(intents, INTENT)
    put(chat, turns(("user", " Hm? "), ("assistant", "Ada, 1."), ("user", "And?"), ("assistant", "Ada, 2. ")))
    system = {"role": "system", "content": intents.system}
    asked, said = {"role": "user", "content": "Let me in."}, {"role": "assistant", "content": "burrow_jam"}
    row = render(intents, "train")[0]
    assert row["messages"] == [system, asked, said]
    assert (row["id"], row["group"], row["gold"]) == (
        "train-1",
        "c1",
        {"answer": "burrow_jam", "tone": "dry"},
    )
    row = render(chat, "train")[0]
    contents = [message["content"] for message in row["messages"]]
    assert contents == [chat.system, "Ada, Saltmarket:  Hm?", "Ada, 1.", "And?", "Ada, 2."]
    assert row["gold"] == {"answer": "Ada, 2.", "member": "Ada"}


INTENT_FAULTS: dict[str, tuple[bytes | dict[str, Any], str, str | None]] = {
    "broken JSON": (b'{"customer": "c1",', "rows.not_json", None),
    "not UTF-8": ('{"text": "caf\u00e9"}'.encode("latin-1"), "rows.not_utf8", None),
    "not an object": (b'["a list"]', "rows.not_an_object", None),
    "missing group": (without(INTENT, "customer"), "rows.no_group", "customer"),
    "empty group": ({**INTENT, "customer": ""}, "rows.no_group", "customer"),
    "unknown label": ({**INTENT, "label": "burrow_jams"}, "labels.unknown", "answer"),
    "missing field": (without(INTENT, "tone"), "rows.missing_field", "tone"),
    "missing in template": (without(INTENT, "text"), "rows.template_fails", "prompt"),
    "empty answer": ({**INTENT, "label": " "}, "rows.empty_render", "answer"),
    "empty prompt": ({**INTENT, "text": ""}, "rows.empty_render", "prompt"),
    "no prompt": ({**INTENT, "text": None}, "rows.empty_render", "prompt"),
}
CHAT_FAULTS: dict[str, tuple[bytes | dict[str, Any], str, str | None]] = {
    "not alternating": (turns(("user", "a"), ("user", "b")), "rows.turn_order", "turns[1].role"),
    "starts with the assistant": (
        turns(("assistant", "a"), ("user", "b")),
        "rows.turn_order",
        "turns[0].role",
    ),
    "last not assistant": (
        turns(("user", "a"), ("assistant", "b"), ("user", "c")),
        "rows.last_turn",
        "turns[2].role",
    ),
    "empty content": (turns(("user", "a"), ("assistant", "\n ")), "rows.empty_text", "turns[1].content"),
    "content no text": (
        {**CHAT, "turns": [{"role": "user", "content": 3}, TURNS[1]]},
        "rows.empty_text",
        "turns[0].content",
    ),
    "one turn": (turns(("user", "a")), "rows.not_turns", "turns"),
    "no turns": (without(CHAT, "turns"), "rows.not_turns", "turns"),
    "missing in template": (without(CHAT, "member"), "rows.template_fails", "prompt"),
    "repeated id": (CHAT, "rows.repeated_id", "id"),
}


def faults(dataset: Dataset, *lines: bytes | dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return whether the file is right, line, code and key of each problem in train rows `lines`."""
    path = put(dataset, *lines)
    with pytest.raises(InputError) as caught:
        render(dataset, "train")
    return [(one.file == str(path), one.line, one.code, one.key) for one in caught.value.problems]


@pytest.mark.parametrize("fault", INTENT_FAULTS)
def test_row_faults_say_where(fault: str) -> None:
    """The good rows around a fault are not reported."""
    line, code, key = INTENT_FAULTS[fault]
    found = faults(
        load_dataset_config("kettlewick-intents"), INTENT, b"", line, {**INTENT, "text": "Another."}
    )
    assert found == [(True, 3, code, key)]


@pytest.mark.parametrize("fault", CHAT_FAULTS)
def test_turn_faults_say_where(fault: str) -> None:
    line, code, key = CHAT_FAULTS[fault]
    assert faults(load_dataset_config("kettlewick-chat"), CHAT, line) == [(True, 2, code, key)]


def test_of_each_kind_the_first_three_are_shown_and_all_are_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path))
    dataset = load_dataset_config("kettlewick-intents")
    path = put(dataset, *[b"no JSON"] * 57, INTENT, {**INTENT, "id": "q9", "text": ""})
    with pytest.raises(InputError) as caught:
        render(dataset, "train")
    found = [(one.code, one.file and one.line, one.key) for one in caught.value.problems]
    assert found == [
        *[("rows.not_json", line, None) for line in (1, 2, 3)],
        ("rows.more_faults", None, None),
        ("rows.empty_render", 59, "prompt"),
    ]
    assert f"{path}:59 (id q9): prompt" in str(caught.value)
    rows = read_jsonl(tmp_path / "bad-rows" / "kettlewick-intents.jsonl")
    assert [row["line"] for row in rows] == [*range(1, 58), 59]
    assert (rows[-1]["id"], rows[-1]["code"]) == ("q9", "rows.empty_render")


def test_missing_or_empty_file_is_explained(sources: Path) -> None:
    dataset = load_dataset_config("kettlewick-intents")
    with pytest.raises(InputError) as error:
        render(dataset, "dev")
    assert str(sources / "kettlewick-intents" / "source" / "dev.jsonl") in str(error.value)
    assert "datasets/kettlewick-intents/dataset.yaml" in str(error.value)
    assert "source.files.dev" in str(error.value)
    path = put(dataset, b"")
    with pytest.raises(InputError, match=f"^{path}: has no rows"):
        render(dataset, "train")


def copy_of(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a checkout at `folder` whose only dataset is called `own`."""
    monkeypatch.setenv("TUNEBOOK_DATASETS", str(folder / "datasets"))
    path = folder / "datasets" / "own" / "dataset.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")


def test_faults_of_dataset_yaml_have_their_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = (ROOT / "datasets/kettlewick-chat/dataset.yaml").read_text(encoding="utf-8")
    text = (
        good.replace("task: chat", "task: chatting").replace("clock:", "clock:\n    wen: x") + "lables: []\n"
    )
    copy_of(text, tmp_path, monkeypatch)
    lines = text.splitlines()
    with pytest.raises(InputError) as error:
        load_dataset_config("own")
    found = [line.partition("dataset.yaml:")[2].split(": ")[:2] for line in str(error.value).splitlines()]
    expected = {
        "task": lines.index("task: chatting"),
        "rules.clock.wen": lines.index("    wen: x"),
        "lables": len(lines) - 1,
    }
    assert dict(reversed(item) for item in found) == {key: str(at + 1) for key, at in expected.items()}


def test_unknown_dataset_names_those_there() -> None:
    with pytest.raises(
        InputError, match=r"datasets/nope/dataset\.yaml.*kettlewick-chat, kettlewick-handbook"
    ):
        load_dataset_config("nope")


def test_a_split_without_a_file_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = (ROOT / "datasets/kettlewick-intents/dataset.yaml").read_text(encoding="utf-8")
    copy_of(good.replace("dev: source/dev.jsonl, ", ""), tmp_path, monkeypatch)
    with pytest.raises(InputError, match="dev"):
        render(load_dataset_config("own"), "dev")


def test_sources_elsewhere_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_dataset_config("kettlewick-intents")
    put(dataset, INTENT)
    assert [row["messages"][-2]["content"] for row in render(dataset, "train")] == ["Let me in."]
    monkeypatch.delenv("TUNEBOOK_SOURCES")
    assert len(render(dataset, "train")) == 600


def test_rows_survive_writing_and_reading(tmp_path: Path) -> None:
    # Everything that str.splitlines takes for the end of a line, and then some.
    odd = '\u2028 \u2029 \x85 \x0b \x0c \x1c \x1d \x1e \r \r\n \n \t \x00 \\ " caf\u00e9 \U0001f6f6'
    rows = [{"id": "a", "text": odd}, {"id": "b", "text": ""}]
    write_jsonl(tmp_path / "new" / "rows.jsonl", rows)
    assert read_jsonl(tmp_path / "new" / "rows.jsonl") == rows
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["rows.jsonl"]


def test_source_with_line_separator_is_one_row(tmp_path: Path) -> None:
    dataset = load_dataset_config("kettlewick-intents")
    row = {**INTENT, "text": "one\u2028two"}
    put(dataset, json.dumps(row, ensure_ascii=False).encode())
    rows = render(dataset, "train")
    assert [row["messages"][1]["content"] for row in rows] == ["one\u2028two"]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert read_jsonl(tmp_path / "rows.jsonl") == rows


@pytest.fixture
def intents(monkeypatch: pytest.MonkeyPatch) -> tuple[list[files.Row], Dataset]:
    monkeypatch.delenv("TUNEBOOK_SOURCES")
    dataset = load_dataset_config("kettlewick-intents")
    return render(dataset, "train"), dataset


def test_sample_keeps_groups_whole(intents: tuple[list[files.Row], Dataset]) -> None:
    rows, dataset = intents
    sample = sample_groups(rows, 150, seed=3, stratify=True)
    assert 120 <= len(sample) <= 180
    everyone, chosen = (Counter(row["group"] for row in some) for some in (rows, sample))
    assert all(chosen[group] == everyone[group] for group in chosen)
    order = {row["id"]: index for index, row in enumerate(rows)}
    assert [order[row["id"]] for row in sample] == sorted(order[row["id"]] for row in sample)


def test_sample_is_seeded(intents: tuple[list[files.Row], Dataset]) -> None:
    rows, dataset = intents
    first = sample_groups(rows, 150, seed=3, stratify=True)
    assert sample_groups(rows, 150, seed=3, stratify=True) == first
    assert sample_groups(rows, 150, seed=4, stratify=True) != first
    assert sample_groups(rows, len(rows), seed=3, stratify=True) == rows


def test_sample_is_stratified(intents: tuple[list[files.Row], Dataset]) -> None:
    rows, dataset = intents
    counts = Counter(row["gold"]["answer"] for row in sample_groups(rows, 150, seed=3, stratify=True))
    assert set(counts) == set(dataset.labels)
    assert max(counts.values()) - min(counts.values()) <= 4  # 42 to 44 rows a label before


def test_sample_of_unlabelled_groups() -> None:
    rows = [{"id": str(i), "group": str(i // 3), "gold": {"answer": str(i)}} for i in range(90)]
    sample = sample_groups(rows, 30, seed=1, stratify=False)
    assert len(sample) == 30
    assert set(Counter(row["group"] for row in sample).values()) == {3}
    assert sample_groups(rows, 30, seed=2, stratify=False) != sample


@pytest.mark.parametrize("count", [40, 200, 280])
def test_sample_is_about_as_large_as_asked(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNEBOOK_SOURCES")
    dataset = load_dataset_config("kettlewick-intents")
    size = len(sample_groups(render(dataset, "test"), count, seed=1, stratify=True))
    assert abs(size - count) <= count / 5


def test_sample_of_rows_nearly_alone_in_their_groups() -> None:
    """The rarest label the folds are cut by is counted in groups: 10 rows of a label are 9 groups here."""
    rows = [{"id": str(i), "group": str(i), "gold": {"answer": str(i % 2)}} for i in range(20)]
    rows[2]["group"] = "0"
    rows[3]["group"] = "1"
    sample = sample_groups(rows, 6, seed=1, stratify=True)
    assert 4 <= len(sample) <= 8
    assert {row["gold"]["answer"] for row in sample} == {"0", "1"}


def test_sample_of_fewer_rows_than_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNEBOOK_SOURCES")
    dataset = load_dataset_config("kettlewick-intents")
    rows = render(dataset, "test")
    assert 1 <= len(sample_groups(rows, 5, seed=1, stratify=True)) <= 30
    one_group = [row for row in rows if row["group"] == rows[0]["group"]]
    assert sample_groups(one_group, 2, seed=1, stratify=True) == one_group, "a group is never cut"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('prompt: "{{ text }}"', 'prompt: "{{ text"', "prompt: not a Jinja template"),
        ("licence: Apache-2.0", "licence: Apache-2.0\nrules: {r: {must: '('}}", "rules.r"),
        ("licence: Apache-2.0", "licence: Apache-2.0\nrules: {r: {when: x, must: '('}}", "rules.r"),
        ("licence: Apache-2.0", "licence: Apache-2.0\nrules: {r: {must: '{{ membr }}'}}", "membr"),
    ],
)
def test_faults_that_would_only_show_after_training(
    old: str, new: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = (ROOT / "datasets/kettlewick-intents/dataset.yaml").read_text(encoding="utf-8")
    assert old in good
    copy_of(good.replace(old, new), tmp_path, monkeypatch)
    with pytest.raises(InputError, match=said):
        render(load_dataset_config("own"), "train")


def test_half_a_surrogate_pair_has_its_line() -> None:
    dataset = load_dataset_config("kettlewick-intents")
    put(dataset, {**INTENT, "text": "ok"}, {**INTENT, "id": "two", "text": "\ud83d"})
    with pytest.raises(InputError, match=r"train\.jsonl:2: .*surrogate"):
        render(dataset, "train")


def grouped(groups: int, rows: int) -> list[Any]:
    return [
        {"id": f"{g}-{n}", "group": f"g{g}", "messages": [], "gold": {"answer": "ab"[n % 4 == 0]}}
        for g in range(groups)
        for n in range(rows)
    ]


@pytest.mark.parametrize("stratify", [True, False])
def test_of_few_large_groups_a_draw_takes_some_rows_of_each(stratify: bool) -> None:
    rows = grouped(9, 90)
    assert len({row["group"] for row in sample_groups(rows, 150, 42, stratify)}) < 6, "which shows nothing"
    drawn = sample_rows(rows, 150, 42, stratify)
    assert len(drawn) == 150 and drawn == [row for row in rows if row in drawn]
    assert max(Counter(row["group"] for row in drawn).values()) <= (20 if stratify else 17)
    if stratify:
        assert Counter(row["gold"]["answer"] for row in drawn)["b"] in range(36, 41)
    assert sample_rows(rows, 150, 42, stratify) == drawn != sample_rows(rows, 150, 43, stratify)
    assert sample_rows(rows, 900, 42, stratify) == rows


def test_of_many_groups_a_draw_takes_whole_ones() -> None:
    rows = grouped(200, 3)
    assert sample_rows(rows, 150, 42, False) == sample_groups(rows, 150, 42, False)
