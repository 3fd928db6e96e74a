"""Rows of datasets on the Hub: configs and splits, and what keeps them from being read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import hub_contents, hub_server, hub_use
from tests.support.commands import in_process
from tests.support.hub_files import Fault
from tests.support.hub_server import Hub
from tunebook.core.errors import InputError, MachineError, TunebookError
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.data.files.hub_rows import cached_revision, read_hub, split_names
from tunebook.data.files.split_names import SPLITS
from tunebook.data.render import render
from tunebook.models import hub

NAME = "owner/trees"


def rows(count: int, word: str) -> list[dict[str, Any]]:
    return [{"text": f"{word} {number}", "label": number % 2} for number in range(count)]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": {"names": ["oak", "elm"], "_type": "ClassLabel"},
    }
    splits = {"train": rows(3, "old"), "test": rows(2, "new")}
    with hub_server.serving() as one:
        one.repos[f"datasets/{NAME}"] = hub_contents.dataset(
            {"plain": splits, "other": {"validation": rows(1, "one")}}, features
        )
        monkeypatch.setattr(hub, "PAUSES", (0.0, 0.0))
        hub_use.use(one, tmp_path / "hf", monkeypatch)
        yield one


def read(
    config: str | None = "plain", split: str = "train", revision: str | None = None, name: str = NAME
) -> list[dict[str, Any]]:
    return [row for _, row in read_hub(name, config, revision, split)]


def refused(error: type[TunebookError], **asked: Any) -> TunebookError:
    with pytest.raises(error) as caught:
        read(**asked)
    assert caught.value.problems[0].key == "source.hub"
    return caught.value


def test_configs_splits_and_label_names(server: Hub) -> None:
    assert [row["text"] for row in read()] == ["old 0", "old 1", "old 2"]
    assert [row["label"] for row in read(split="test")] == ["oak", "elm"]
    assert [row["text"] for row in read("other", "validation")] == ["one 0"]
    assert sorted(split_names(NAME, "plain", "DATA")) == ["test", "train"]
    assert cached_revision(NAME, None) == server.commit(f"datasets/{NAME}")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"config": "none"}, "none"),
        ({"split": "dev"}, "dev"),
        ({"name": "owner/nothing"}, "owner/nothing"),
    ],
)
def test_what_is_not_there_is_the_datasets_fault(asked: dict[str, str], said: str, server: Hub) -> None:
    error = refused(InputError, **asked)
    assert (error.code, error.exit_code) == ("data.not_on_hub", 2) and said in str(error)


def test_a_script(server: Hub) -> None:
    """As PolyAI/banking77, which is a script that datasets no longer runs."""
    server.repos[f"datasets/{NAME}"] = {"README.md": b"---\nlicense: mit\n---\n", "trees.py": b"print(1)"}
    error = refused(InputError, config=None)
    assert error.code == "data.is_script" and "Parquet" in str(error)


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (Fault("cut", ".parquet"), "hub.broke_off", ["broke off"]),
        (Fault("half", "GET /datasets/owner/trees/resolve"), "hub.broke_off", ["broke off"]),
        (Fault("short", ".parquet"), "hub.broke_off", ["broke off"]),
        (Fault("slow", "GET /datasets/owner/trees/resolve", seconds=0.6), "hub.broke_off", ["broke off"]),
        (Fault("busy", "README.md", seconds=9), "hub.busy", ["429", "9 seconds"]),
        (Fault("broken", "README.md"), "hub.busy", ["503"]),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_a_hub_that_fails_each_time_is_named(
    fault: Fault, code: str, said: list[str], server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LONGEST_WAIT", 1.0)
    if fault.kind == "slow":
        hub_use.impatient(monkeypatch)
    server.faults.append(fault)
    error = refused(MachineError)
    assert (error.code, error.exit_code) == (code, 4)
    assert all(part in str(error) for part in [*said, NAME, server.endpoint]), str(error)


@pytest.mark.parametrize("kind", ["cut", "half", "short", "busy", "broken"])
def test_a_hub_that_fails_once_costs_another_try(kind: str, server: Hub) -> None:
    place = "README.md" if kind in ("busy", "broken") else "GET /datasets/owner/trees/resolve"
    server.faults.append(Fault(kind, place, times=1))  # type: ignore[arg-type]
    assert len(read()) == 3


@pytest.mark.parametrize(("token", "status"), [(None, "401"), ("hf_other", "403")])
def test_a_gated_dataset(
    token: str | None, status: str, server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.gated.add(f"datasets/{NAME}")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    error = refused(MachineError)
    assert error.code == "hub.refused" and f"answered {status}" in str(error)
    monkeypatch.setenv("HF_TOKEN", server.token)
    assert len(read()) == 3


def test_a_revision(server: Hub) -> None:
    error = refused(MachineError, revision="v9")
    assert error.code == "hub.no_revision" and "'v9'" in str(error)
    server.tags[f"datasets/{NAME}"] = {"v9"}
    assert len(read(revision="v9")) == 3


@pytest.mark.parametrize("columns", [None, "other"])
def test_a_file_that_cannot_be_read(columns: str | None, server: Hub) -> None:
    data = hub_contents.parquet([{columns: 1}]) if columns else b"PAR1"
    files = server.repos[f"datasets/{NAME}"]
    files["plain/train-00001-of-00001.parquet"] = data
    error = refused(InputError)
    assert (error.code, error.exit_code) == ("data.not_readable_on_hub", 2)
    assert "'owner/trees', split 'train'" in str(error)


def test_the_network_gone_after_set_up(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read()
    server.asked.clear()
    hub_use.switch_off(monkeypatch)
    assert read() == before and server.asked == []
    error = refused(MachineError, name="owner/others")
    assert error.code == "hub.settings" and "HF_HUB_OFFLINE=1" in str(error)


@pytest.mark.parametrize("name", ["banking77", "squad_v2", "oasst2"])
def test_the_recipes_datasets_by_their_ids(name: str, server: Hub) -> None:
    hub_contents.fill(server.repos)
    dataset = load_dataset_config(name)
    found = {split: render(dataset, split) for split in SPLITS}
    assert all(found.values()) and len(found["train"]) >= 30
    assert dataset.source.hub in str(server.asked)


def test_fork_names_the_refusal(server: Hub, tmp_path: Path) -> None:
    server.gated.add(f"datasets/{NAME}")
    for part in ("recipes/classify-lora", "datasets/banking77"):
        shutil.copytree(ROOT / part, tmp_path / part)
    places = {"TUNEBOOK_RECIPES": str(tmp_path / "recipes"), "TUNEBOOK_DATASETS": str(tmp_path / "datasets")}
    result = in_process("fork", "classify-lora", "mine", NAME, **places)
    assert result.returncode == 4 and "[hub.refused]" in result.stderr, result.stderr
