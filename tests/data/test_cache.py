"""The rendering cache: what is a hit, and that everything it depends on makes a miss."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.small_data import dataset, labelled
from tunebook.core.errors import InputError, Problem
from tunebook.core.files import read_jsonl
from tunebook.data import cache
from tunebook.data.render import each_row, render, render_whole


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A config whose base is a folder with a tokenizer, and a cache of the test's own."""
    monkeypatch.setenv("TUNEBOOK_CACHE", str(tmp_path / "cache"))
    base = tmp_path / "base"
    base.mkdir()
    (base / "tokenizer.json").write_text("{}")
    (base / "chat_template.jinja").write_text("{{ messages }}")
    return {"base_model": str(base), "chat_template": "tokenizer_default", "learning_rate": 1e-4}


def test_the_second_time_is_a_hit_with_the_same_rows(config: dict[str, Any], tmp_path: Path) -> None:
    data = dataset(tmp_path)
    first, second = cache.rendered(data, config), cache.rendered(data, config)
    assert (first.hit, second.hit) == (False, True)
    assert "MISS" in first.summary and "HIT" in second.summary
    assert second.key == first.key
    assert read_jsonl(second.path("dev")) == render(data, "dev")
    assert cache.counts(second) == {"train": 30, "dev": 30, "test": 30}


def test_who_shares_the_cache_may_read_an_entry(config: dict[str, Any], tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        entry = cache.rendered(dataset(tmp_path), config)
    finally:
        os.umask(before)
    assert entry.folder.stat().st_mode & 0o777 == 0o750


def change_data(data: Any, config: dict[str, Any], folder: Path) -> Any:
    row = {**labelled("test", 1)[0], "text": "another text"}
    (data.folder / "test.jsonl").write_text(json.dumps(row) + "\n")
    return data, config


def change_yaml(data: Any, config: dict[str, Any], folder: Path) -> Any:
    return data.model_copy(update={"system": "Another system prompt."}), config


def change_template(data: Any, config: dict[str, Any], folder: Path) -> Any:
    return data, {**config, "chat_template": "chatml"}


def change_template_file(data: Any, config: dict[str, Any], folder: Path) -> Any:
    (Path(config["base_model"]) / "chat_template.jinja").write_text("{{ messages }}!")
    return data, config


def change_thinking(data: Any, config: dict[str, Any], folder: Path) -> Any:
    return data, {**config, "chat_template_kwargs": {"enable_thinking": False}}


def change_tokenizer(data: Any, config: dict[str, Any], folder: Path) -> Any:
    (Path(config["base_model"]) / "tokenizer.json").write_text('{"added": 1}')
    return data, config


@pytest.mark.parametrize(
    "change",
    [change_data, change_yaml, change_template, change_template_file, change_thinking, change_tokenizer],
    ids=lambda change: change.__name__,
)
def test_a_change_is_a_miss(change: Callable, config: dict[str, Any], tmp_path: Path) -> None:
    data = dataset(tmp_path)
    before = cache.rendered(data, config)
    changed, other = change(data, config, tmp_path)
    after = cache.rendered(changed, other)
    assert not after.hit and after.key != before.key


def test_a_change_of_the_code_is_a_miss(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset(tmp_path)
    before = cache.rendered(data, config)
    monkeypatch.setattr(cache, "CODE", tmp_path)
    (tmp_path / "render.py").write_text("changed")
    assert cache.rendered(data, config).key != before.key


def test_a_change_of_the_revision_is_a_miss(config: dict[str, Any], tmp_path: Path) -> None:
    data = dataset(tmp_path)
    hub = {**config, "base_model": "some/model"}
    keys = {cache.rendered(data, {**hub, "revision_of_model": name}).key for name in ("a" * 40, "b" * 40)}
    assert len(keys) == 2


def test_what_decides_nothing_of_the_rows_is_a_hit(config: dict[str, Any], tmp_path: Path) -> None:
    data = dataset(tmp_path)
    cache.rendered(data, config)
    assert cache.rendered(data, {**config, "learning_rate": 1e-3, "num_epochs": 9}).hit


def test_hub_data_of_unknown_revision_is_never_a_hit(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "hub_revision", lambda source: None)
    given = {"hub": "some/data", "splits": {"train": "train", "dev": "dev", "test": "test"}}
    assert cache.parts(dataset(tmp_path, source=given), config) is None
    monkeypatch.setattr(cache, "hub_revision", lambda source: "c" * 40)
    parts = cache.parts(dataset(tmp_path, source=given), config)
    assert parts and parts["data"] == {"hub": "some/data", "revision": "c" * 40}


def test_a_bad_row_leaves_nothing_behind(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError):
        cache.rendered(dataset(tmp_path, {"train": [b"{"]}), config)
    assert [*(tmp_path / "cache").rglob("*")] == []


def test_only_the_newest_few_are_kept(config: dict[str, Any], tmp_path: Path) -> None:
    data = dataset(tmp_path)
    for number in range(cache.KEEP + 2):
        last = cache.rendered(data, {**config, "chat_template": f"template {number}"})
    home = tmp_path / "cache" / "rendered" / "trees"
    assert len([*home.iterdir()]) == cache.KEEP and last.folder.is_dir()


def test_rows_of_one_config_are_those_of_another(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset(tmp_path)
    cache.keep(data, render_whole(data))
    monkeypatch.setattr(cache, "render_whole", None)
    one, other = (cache.rendered(data, {**config, "chat_template": name}) for name in ("chatml", "llama3"))
    assert one.key != other.key and not one.hit
    assert one.path("train").read_bytes() == other.path("train").read_bytes()
    assert cache.all_rows(data)["dev"] == read_jsonl(one.path("dev")) == render(data, "dev")
    (data.folder / "dev.jsonl").write_text("")
    assert cache.find(data) is None


def test_rows_keep_their_line_and_their_group(config: dict[str, Any], tmp_path: Path) -> None:
    bad = {"train": [*labelled("train", 40), b"{"]}
    data = dataset(tmp_path, bad, allow_drop=1)
    cache.keep(data, render_whole(data))
    entry = cache.find(data)
    assert entry
    found = [replace(one, family=None) for one in entry.located(data, "train")]
    expected = [*each_row(data, "train")]
    assert sorted(found, key=str) == sorted(expected, key=str) and isinstance(found[0].value, Problem)
