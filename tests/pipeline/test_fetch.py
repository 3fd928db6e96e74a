"""A base model comes whole from the Hub before a run, or the run ends with exit code 4 and says why."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.support import hub_server, hub_use
from tests.support.commands import in_process
from tests.support.hub_files import Fault
from tests.support.hub_server import Hub
from tunebook.config.recipe import load_recipe
from tunebook.core.console import Console
from tunebook.core.errors import MachineError
from tunebook.evaluation.suite import load_suite
from tunebook.models import hub
from tunebook.pipeline import fetch
from tunebook.runs.run import Run

BASE = "some/model"
SHARDS = {f"model-0000{i}-of-00002.safetensors": bytes([i]) * 200_000 for i in (1, 2)}
INDEX = {"weight_map": dict(zip("ab", SHARDS, strict=True))}
FILES = {
    **SHARDS,
    "model.safetensors.index.json": json.dumps(INDEX).encode(),
    "config.json": b"{}",
    "tokenizer.json": b"{}",
}
OTHERS = {
    "pytorch_model.bin": b"pickle",
    "original/consolidated.safetensors": b"x",
    "consolidated.safetensors": b"x",
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server.serving() as one:
        one.repos[BASE] = {**FILES, **OTHERS}
        hub_use.use(one, tmp_path / "hf", monkeypatch)
        yield one


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before another try, which take no time."""
    found: list[float] = []

    class Clock:
        sleep = staticmethod(found.append)

    monkeypatch.setattr(hub, "time", Clock)
    for module in ("file_download", "utils._http"):  # the client's own pauses
        own = SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None})
        monkeypatch.setattr(f"huggingface_hub.{module}.time", own)
    return found


def get(revision: str | None = None) -> Path:
    """Fetch the base model and return its folder in the cache."""
    commit = fetch.base_model(BASE, revision, Console(quiet=True))
    config = hub.cached(BASE, "config.json", commit)
    assert config is not None
    return config.parent


def refused(revision: str | None = None) -> MachineError:
    with pytest.raises(MachineError) as caught:
        get(revision)
    error = caught.value
    assert error.exit_code == 4 and error.problems[0].key == "base_model"
    assert "HF_ENDPOINT" in str(error) or "HF_HUB_OFFLINE" in str(error)
    return error


def test_what_loading_reads_is_fetched_and_nothing_else(server: Hub) -> None:
    folder = get()
    assert folder.name == server.commit(BASE)
    assert {path.name for path in folder.iterdir()} == set(FILES) == set(server.fetched)
    assert all((folder / name).read_bytes() == data for name, data in FILES.items())


def test_older_weights_are_fetched_where_there_are_no_others() -> None:
    files = ["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json", "config.json"]
    assert fetch.wanted([*files, "README.md", "flax_model.msgpack"]) == files


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (Fault("cut", "GET /some/model/resolve"), "hub.broke_off", ["broke off", "same command again"]),
        (Fault("half", "GET /some/model/resolve"), "hub.broke_off", ["broke off"]),
        (Fault("short", "00002-of-00002.safetensors"), "hub.broke_off", ["broke off"]),
        (Fault("slow", "GET /some/model/resolve", seconds=0.6), "hub.broke_off", ["ReadTimeout"]),
        (
            Fault("busy", "/api/", seconds=7),
            "hub.busy",
            ["429", "too many requests", "in 7 seconds", "HF_TOKEN"],
        ),
        (Fault("busy", "/api/"), "hub.busy", ["429", "later"]),
        (Fault("busy", "/api/", seconds=3600), "hub.busy", ["in 3600 seconds"]),
        (Fault("broken", "/api/"), "hub.busy", ["503", "an error of its own"]),
    ],
    ids=lambda value: f"{value.kind} {value.seconds}" if isinstance(value, Fault) else "",
)
def test_a_hub_that_fails_each_time_is_named(
    fault: Fault,
    code: str,
    said: list[str],
    server: Hub,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if fault.kind == "slow":
        hub_use.impatient(monkeypatch)
    server.faults.append(fault)
    error = refused()
    assert error.code == code and all(part in str(error) for part in said), str(error)
    expected = {7: [7, 7], 3600: []}.get(int(fault.seconds or 0), [*hub.PAUSES])
    assert waits == expected, "a pause before each further try, as long as the Hub asks for"


@pytest.mark.parametrize("kind", ["cut", "half", "short", "busy", "broken"])
def test_a_hub_that_fails_once_costs_a_pause(kind: str, server: Hub, waits: list[float]) -> None:
    place = "/api/" if kind in ("busy", "broken") else "GET /some/model/resolve"
    server.faults.append(Fault(kind, place, times=1))  # type: ignore[arg-type]
    folder = get()
    assert all((folder / name).read_bytes() == data for name, data in FILES.items())
    # huggingface_hub 1.33 resumes an interrupted download by itself, 1.17 does not.
    assert waits == [hub.PAUSES[0]] or (waits == [] and kind in ("cut", "half"))
    assert server.faults[0].hits == 1


@pytest.mark.parametrize(("token", "status"), [(None, "401"), ("hf_other", "403")])
def test_a_gated_model(token: str | None, status: str, server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.gated.add(BASE)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    error = refused()
    assert error.code == "hub.refused" and f"answered {status}" in str(error)
    assert ("account of HF_TOKEN has no access" if token else "set HF_TOKEN") in str(error)
    assert "hf_other" not in str(error)
    monkeypatch.setenv("HF_TOKEN", server.token)
    assert get().name == server.commit(BASE)


def test_a_revision(server: Hub) -> None:
    error = refused("v2")
    assert error.code == "hub.no_revision" and "'v2'" in str(error)
    server.tags[BASE] = {"v2"}
    assert get("v2").name == server.commit(BASE)


def test_a_model_that_is_not_there(server: Hub) -> None:
    server.repos.clear()
    error = refused()
    assert error.code == "hub.refused" and "404" in str(error)


def test_the_network_gone_after_set_up(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = get()
    server.asked.clear()
    hub_use.switch_off(monkeypatch)
    assert get() == folder and get(folder.name) == folder
    assert server.asked == []
    (folder / "model-00002-of-00002.safetensors").unlink()
    error = refused()
    assert error.code == "hub.settings"
    assert "model-00002-of-00002.safetensors of 'some/model'" in str(error) and "HF_HUB_OFFLINE=1" in str(
        error
    )


def test_a_hub_that_is_gone(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = get()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert get() == folder, "the cache has all of it"
    (folder / "config.json").unlink()
    error = refused()
    assert error.code == "hub.unreachable" and "http://127.0.0.1:9" in str(error)


def test_a_whole_copy_serves_where_the_hub_fails(server: Hub, waits: list[float]) -> None:
    folder = get()
    server.faults.append(Fault("broken", "/api/"))
    assert get() == folder


def test_what_is_fetched_is_said_once(server: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    for expected in (1, 0):
        fetch.base_model(BASE, None, Console())
        assert capsys.readouterr().out.count(f"downloading {BASE} from the Hub at HF_ENDPOINT=") == expected


def test_a_resumed_run_stays_on_its_commit(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub's main moves while a run is stopped."""
    suite = load_suite(load_recipe("chat-lora"), "chat", "real", "default")
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    config = {"base_model": BASE, "datasets": []}

    def pinned(**more: str) -> str | None:
        found = fetch.fetch({**config, **more}, suite, run, "e", Console(quiet=True))
        return found.get("revision_of_model")

    first = pinned()
    assert first == server.commit(BASE)
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "revision_of_model": first}))
    server.repos[BASE] = {**server.repos[BASE], "config.json": b"{} "}
    server.asked.clear()
    assert server.commit(BASE) != first and pinned() == first and server.asked == []
    assert pinned(revision_of_model="main") == "main", "what the recipe says stays as it is"
    assert pinned(tokenizer_config="other/tokenizer") is None, "Axolotl would look for the commit there"


def test_the_real_tier_on_a_cpu_is_asked_for_by_name(server: Hub, tmp_path: Path) -> None:
    """A base model on the Hub is too large for most CPUs, so nobody gets there by mistake."""
    server.repos["Qwen/Qwen3-1.7B"] = FILES
    places = {"TUNEBOOK_RUNS": str(tmp_path / "runs"), "CUDA_VISIBLE_DEVICES": ""}
    words = ["recipe", "classify-lora", "--tier", "real"]
    result = in_process(*words, **places)
    assert result.returncode == 4 and "[machine.no_gpu]" in result.stderr, result.stderr
    assert "HARDWARE=" in result.stderr
    result = in_process(*words, "--hardware", "cpu", "--set", "replay=none", **places)
    assert result.returncode == 2 and "[data.not_on_hub]" in result.stderr, "it came to the rows"
    assert not list((tmp_path / "runs").iterdir()), "nothing is written before all is there"
