"""Every finding of `make check`, provoked: its code is listed in docs/errors.md, and its wording is a file
that a reviewer reads (tests/fixtures/findings/, one for each family of codes)."""

from __future__ import annotations

import functools
import importlib
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError

from tests.check.test_access import offline, real  # noqa: F401 (offline is a fixture)
from tests.check.test_check import axolotl, checked, recipe  # noqa: F401 (fixtures)
from tests.check.test_check_config import CASES
from tests.check.test_check_config import findings as findings_of_config
from tests.check.test_check_duplicates import SENTENCES, watch
from tests.check.test_check_lengths import FILL
from tests.check.test_check_lengths import judged as judge_lengths
from tests.check.test_check_promises import provoked
from tests.check.test_check_tokens import ANSWER, MASKED, judged, looked_at
from tests.check.test_split_sizes import judge_windows
from tests.check.test_split_sizes import judged as judge_sizes
from tests.config.test_resolve import RECIPE, make  # noqa: F401 (make is a fixture)
from tests.support.dialogues import dialogues
from tests.support.small_data import dataset, labelled, seen
from tests.support.snapshots import compare_with_snapshot
from tunebook.check import access
from tunebook.check.config import config_findings
from tunebook.check.findings import Finding, Findings
from tunebook.check.labels import Labels, alike, sharing
from tunebook.check.marks import Marks, report
from tunebook.check.rows import Seen, survey
from tunebook.check.secrets import Secrets
from tunebook.check.tokens import judge
from tunebook.check.turns import Leftovers, NotInPassage, OfAService, Turns
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config

DOCS: Any = importlib.import_module("scripts.write_error_docs")
FAMILIES = (
    "access base config duplicates labels model rows secrets split template thinking tokens training turns "
    "windows"
).split()


@functools.cache
def codes() -> set[str]:
    """The codes of all findings. Every worker imports this file, and one of them runs it."""
    return {fault.code for fault in DOCS.faults() if fault.file.startswith("tunebook/check/")}


def shown(found: Findings) -> list[Finding]:
    return [finding for kind in found.kinds.values() for finding in kind.shown]


def hold(family: str, found: list[Finding], folder: Path) -> None:
    """Assert that `found` has every finding of `family`, worded as in its file."""
    ours = {finding.code: finding for finding in reversed(found) if finding.code.startswith(f"{family}.")}
    assert set(ours) == {code for code in codes() if code.startswith(f"{family}.")}
    parts = [f"# {code}: {one.grade}, {one.kind}\n{one}\n" for code, one in sorted(ours.items())]
    text = re.sub(r"recipe\.yaml:\d+", "recipe.yaml:LINE", "\n".join(parts).replace(str(folder), "FOLDER"))
    compare_with_snapshot(ROOT / "tests" / "fixtures" / "findings" / f"{family}.txt", text)


def test_every_family_is_held() -> None:
    errors = {"check", "hardware", "machine"}  # raised, not collected
    assert {code.partition(".")[0] for code in codes()} - errors == set(FAMILIES)


@functools.cache
def of_the_cases() -> tuple[Finding, ...]:
    return tuple(
        one for name, overlay, given, *_ in CASES for one in findings_of_config(name, overlay, given)
    )


def of_the_verb(capsys: pytest.CaptureFixture[str], settings: str = "") -> list[Finding]:
    _, answer = checked(capsys, Options(set=settings))
    return [Finding(**finding) for kind in answer["kinds"] for finding in kind["first"]]


def test_config(
    recipe: Path,  # noqa: F811
    axolotl: dict[str, Any],  # noqa: F811
    make: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    axolotl["refused"] = "early stopping needs steps"
    found = of_the_verb(capsys)
    other = "  - path: rows/more.jsonl\n    type: chat_template\n"
    dev = "test_datasets:\n  - path: datasets/kettlewick-intents/rows/test.jsonl\n    type: chat_template\n"
    mixed = make(RECIPE.replace("sequence_len", other + "sequence_len") + dev)
    found += config_findings(resolve(mixed, Options("real"), False))
    monkeypatch.delenv("TUNEBOOK_RECIPES")
    hold("config", [*of_the_cases(), *found], tmp_path)


def test_model(tmp_path: Path) -> None:
    found = of_the_cases()
    needs = findings_of_config("chat-lora", None, "base_model=Qwen/Qwen3.5-4B", there=None)
    hold("model", [*found, *needs], tmp_path)


def test_training(
    recipe: Path,  # noqa: F811
    axolotl: dict[str, Any],  # noqa: F811
    make: Any,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tunebook.check.run.TINY_SET", 601)
    found = of_the_verb(capsys, "max_steps=20 sample_packing=true")
    found += provoked(make, tmp_path)
    monkeypatch.delenv("TUNEBOOK_RECIPES")
    monkeypatch.setattr("tunebook.models.lanes.counts_tokens", lambda: False)  # as Axolotl 0.19
    found += findings_of_config("chat-lora", None, "plugins=null")
    packs = "sequence_len=1024 sample_packing=true micro_batch_size=4 group_by_length=false"
    found += shown(judge_lengths([[500, 4]] * 400, [[100, 50]] * 12, set=packs))
    hold("training", [*of_the_cases(), *found], tmp_path)


def test_promises(make: Any, tmp_path: Path) -> None:  # noqa: F811
    found = provoked(make, tmp_path)
    for family in ("base", "template"):
        hold(family, found, tmp_path)


def test_thinking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = "plugins=[tunebook.plugins.Thinking] thinking=keep"
    found = findings_of_config("chat-lora", None, given)
    dataset = load_dataset_config("kettlewick-chat")
    thoughtful = dataset.model_copy(update={"source": dataset.source.model_copy(update={"reasoning": True})})
    monkeypatch.setattr("tunebook.check.config.load_dataset_or_stand_in", lambda *_: thoughtful)
    hold("thinking", [*found, *findings_of_config("chat-lora", None, "")], tmp_path)


def test_tokens(
    recipe: Path,  # noqa: F811
    axolotl: dict[str, Any],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    axolotl["rows_failed"] = "ValueError: no such token"
    found = of_the_verb(capsys)
    ids = MASKED["ids"]
    changes: list[dict[str, Any]] = [
        {"labels": [-100] * 6},
        {"labels": [-100] * 5 + [6]},
        {"labels": [-100] * 4 + [5, -100]},
        {"ids": [1, 1, *ids[1:]], "labels": [-100] * 5 + [5, 6]},
        {"contract": [[7, *ids[1:]], 4]},
        {"system_kept": False},
        {"tools_kept": False},
    ]
    for change in changes:
        found += shown(judged([[6, 4]], **change))
    monkeypatch.delenv("TUNEBOOK_RECIPES")
    for strategy, start in (("raise", 4), ("truncate", 4), ("truncate", 12)):
        long = f"sequence_len=10 excess_length_strategy={strategy}"
        found += shown(judge_lengths([*FILL, [14, start]], set=long))
    refused = {**ANSWER, "refused": {"0": "roles must alternate"}, "special": {"0": "<|im_end|>"}}
    marks = Marks()
    marks.see(seen("train", 3, "Is it open?", "It is.<|eot_id|>"))
    report(marks, {"marks": ["<|im_end|>"]}, [], others := Findings(), 0)
    found += shown(others)
    collected = Findings()
    judge(
        {**refused, "lengths": [[6, 4]], "masked": []}, looked_at([seen("train", 3, "x")]), collected, False
    )
    hold("tokens", found + shown(collected), tmp_path)


def test_rows(tmp_path: Path) -> None:
    def owned(split: str, owner: str) -> list[dict[str, Any]]:
        return [{**row, "owner": owner} for row in labelled(split, 3)]

    found, rows = (
        Findings(),
        {"train": [*owned("train", "ada"), b"{"], "dev": owned("dev", "ada"), "test": []},
    )
    survey(dataset(tmp_path, rows, group="owner", allow_drop=1), [], found)
    ours = [finding for finding in shown(found) if finding.code != "rows.not_json"]
    assert len(shown(found)) == len(ours) + 1, "a fault that is accepted keeps its own code"
    drops = "sequence_len=10 excess_length_strategy=drop"
    ours += shown(judge_lengths([[6, 4]] * 29 + [[11, 4]], [[11, 4]], [[8180, 8170]], drops, positions=8192))
    hold("rows", ours, tmp_path)


def test_splits(tmp_path: Path) -> None:
    found = [one for test, dev in ((5, 40), (20, 5), (300, 40)) for one in judge_sizes(test, test, dev=dev)]
    hold("split", found, tmp_path)


def test_windows(tmp_path: Path) -> None:
    hold("windows", judge_windows(train=8, test=9), tmp_path)


def test_labels(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"tree {i}", "label": "acorn" if i < 100 else "beech"} for i in range(104)]
    rows.append({"id": "x", "text": "tree 1", "label": "beech"})
    data = dataset(tmp_path, {"train": rows, "test": labelled("test", 2)})
    found = Findings()
    survey(data, [Labels(found, data)], found)
    given_away = Labels(found, data)
    for line in range(20):
        given_away.see(seen("test", line, f"[acorn] tree {line}"))
    given_away.finish()
    found.extend(alike(["card_lost", "Card Lost"], "dataset.yaml"))
    found.extend(sharing({"a b": [1, 2], "b a": [2, 1]}, "dataset.yaml"))
    hold("labels", shown(found), tmp_path)


def test_duplicates(tmp_path: Path) -> None:
    rows = [seen("test", line, text) for line, text in enumerate(SENTENCES, 1)]
    rows += [
        seen("train", 1, SENTENCES[0]),
        seen("train", 2, SENTENCES[1].upper() + "!"),
        seen("train", 3, SENTENCES[2].replace("whole", "entire")),
        seen("train", 4, SENTENCES[3].replace("two", "three"), answer="beech"),
    ]
    hold("duplicates", shown(watch(rows, tmp_path)), tmp_path)


def test_turns(tmp_path: Path) -> None:
    data, found = dataset(tmp_path), Findings()
    OfAService(found).see(seen("train", 7, "x", "The response was filtered: content management policy."))
    for evaluation in ({}, {"evaluate_turns": {"trial": "all", "real": "last"}}):
        watcher = Turns(found, data, evaluation)
        for row in dialogues():
            watcher.see(Seen("test", "test.jsonl", 1, row))
            watcher.see(Seen("train", "train.jsonl", 1, row))
        watcher.finish()
        assert found.facts["turns"] == {
            **{"turns": 12, "repeated": 6, "last": 6, "last_repeated": 6},
            "evaluated": "last" if evaluation else "all",
        }
    for watcher in (Leftovers(found, data), NotInPassage(found, data)):
        for number in range(20):
            watcher.see(seen("train", number, f"Where is shed {number}?", f"Bot: North {number} END"))
        watcher.finish()
    hold("turns", shown(found), tmp_path)


def test_secrets(tmp_path: Path) -> None:
    texts = ["my key is hf_" + "a" * 34, "write to ada@analytical.co.uk", "card 4111 1111 1111 1111"]
    found = Findings()
    for line, text in enumerate(texts, 1):
        Secrets(found).see(seen("train", line, text))
    hold("secrets", shown(found), tmp_path)


def test_access(offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    gated = SimpleNamespace(gated="manual", card_data=None)
    refusal = HfHubHTTPError("no", response=httpx.Response(401, request=httpx.Request("GET", "https://x")))
    source = {"hub": "owner/rows", "splits": {"train": "train", "dev": "dev", "test": "test"}}
    monkeypatch.delenv("TUNEBOOK_SOURCES", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr(access, "reach_hub", lambda *_: None)
    monkeypatch.setattr(access, "unreachable", lambda: None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    monkeypatch.setattr(access.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**9))
    monkeypatch.setattr(huggingface_hub, "model_info", lambda *_, **__: gated)
    found = Findings()
    for answer in (gated, refusal):

        def dataset_info(*_: Any, answer: Any = answer, **__: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(huggingface_hub, "dataset_info", dataset_info)
        access.check_access(real("classify-lora", "wandb_project=x"), dataset(tmp_path, source=source), found)
    for licence in ("unknown", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-SA-4.0", "llama3.2"):
        found.extend(access.licence_findings("MIT", licence, "recipe.yaml"))
    hold("access", shown(found), tmp_path)
