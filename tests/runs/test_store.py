"""A run survives its machine: states in a store, verified, never half."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunebook.core.errors import InputError, MachineError
from tunebook.core.files import read_json
from tunebook.runs import storage
from tunebook.runs.checkpoints import RESUMED
from tunebook.runs.run import Run
from tunebook.runs.store import Store


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PAUSES", (0.0, 0.0))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def machine(tmp_path: Path, name: str = "here") -> Run:
    """A run folder on the disk of the machine `name`."""
    run = Run(tmp_path / name / "some-recipe" / "abc")
    run.folder.mkdir(parents=True, exist_ok=True)
    return run


def checkpoint(run: Run, step: int, weights: bytes = b"12345678") -> Path:
    """Write a checkpoint that passes for whole."""
    folder = run / "train" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "U8", "shape": [8], "data_offsets": [0, len(weights)]}}).encode()
    content = len(header).to_bytes(8, "little") + header + weights
    (folder / "adapter_model.safetensors").write_bytes(content)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("data", name * step)
    (folder / "training_args.bin").write_bytes(b"args")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


def at_work(run: Run, step: int = 5) -> Run:
    run.mark("train", "running")
    (run / "events.jsonl").write_text('{"stage": "train", "done": 5, "total": 10, "time": 1.0}\n')
    checkpoint(run, step)
    return run


def silent(_: str) -> None:
    pass


def files(run: Run) -> dict[str, bytes]:
    found = [path for path in run.folder.rglob("*") if path.is_file() and path.name != "store.json"]
    return {path.relative_to(run.folder).as_posix(): path.read_bytes() for path in found}


def test_another_machine_goes_on_with_the_same_files(tmp_path: Path, url: str) -> None:
    here, there = at_work(machine(tmp_path)), machine(tmp_path, "there")
    (here / "train" / RESUMED).write_text("[3]\n")  # by which tokens are counted
    assert Store(url, here).save() == 1
    state = Store(url, there).fetch(silent)
    assert state and state["step"] == 5
    assert files(there) == files(here)
    assert Store(url, there).fetch(silent) is None, "it is here already"
    assert Store(url, there).save() == 2


def test_a_state_has_the_whole_checkpoints_and_nothing_half_written(tmp_path: Path, url: str) -> None:
    run = at_work(machine(tmp_path), 5)
    checkpoint(run, 10)
    (checkpoint(run, 15) / "optimizer.pt").write_bytes(b"cut")
    (run / "train" / "prepared").mkdir()
    for name in ("train/prepared/rows.arrow", "train/model.safetensors", "state.json.partial", ".lock"):
        (run / name).write_text("x")
    assert Store(url, run).save() == 1
    there = machine(tmp_path, "there")
    state = Store(url, there).fetch(silent)
    assert state and state["step"] == 10
    kept = {name.split("/")[1] for name in files(there) if name.startswith("train/")}
    assert kept == {"checkpoint-5", "checkpoint-10"}
    ages = [(there / "train" / f"checkpoint-{step}").stat().st_mtime for step in (5, 10)]
    assert ages[0] < ages[1], "the trainer removes the oldest"
    assert set(files(there)) == {"state.json", "events.jsonl"} | {n for n in files(there) if "train/" in n}


def test_an_evaluated_run_leaves_its_checkpoints(tmp_path: Path, url: str) -> None:
    run = at_work(machine(tmp_path))
    for stage in ("train", "evaluate"):
        run.mark(stage, "done")
    Store(url, run).save()
    there = machine(tmp_path, "there")
    assert Store(url, there).fetch(silent)
    assert set(files(there)) == {"state.json", "events.jsonl"}


def test_unchanged_files_are_uploaded_once_and_old_states_go(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = at_work(machine(tmp_path))
    store = Store(url, run)
    store.save()
    written: list[str] = []
    write = store.storage.write
    monkeypatch.setattr(
        store.storage, "write", lambda name, content: (written.append(name), write(name, content))
    )
    for number in range(2, 6):
        (run / "events.jsonl").write_text(f"{number}\n")
        assert store.save() == number
    assert len(written) == 8, "events.jsonl and the list, each time"
    assert store.numbers() == [4, 5]
    needed = {file["sha256"] for n in (4, 5) for file in store._read_state(n)["files"].values()}
    assert set(store.storage.names("files")) == needed


@pytest.mark.parametrize("after", range(1, 12))
def test_an_upload_cut_anywhere_leaves_the_state_before(
    after: int, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = at_work(machine(tmp_path), 5)
    Store(url, run).save()
    before = files(run)
    checkpoint(run, 10, b"87654321")
    (run / "events.jsonl").write_text("more\n")
    store = Store(url, run)
    write, count = store.storage.write, 0

    def cut(name: str, content: bytes) -> None:
        nonlocal count
        count += 1
        if count == after:
            write(name, content[: len(content) // 2])
            raise KeyboardInterrupt
        write(name, content)

    monkeypatch.setattr(store.storage, "write", cut)
    try:
        store.save()
        finished = True
    except KeyboardInterrupt:
        finished = False
    there = machine(tmp_path, "there")
    state = Store(url, there).fetch(silent)
    assert state and state["step"] == (10 if finished else 5)
    if not finished:
        assert files(there) == before
    assert Store(url, there).save() > state["number"]
    again = machine(tmp_path, "again")
    assert Store(url, again).fetch(silent) and files(again) == files(there)


@pytest.mark.parametrize("damage", ["cut", "changed", "removed", "list"])
def test_a_damaged_state_is_passed_over(damage: str, tmp_path: Path, url: str) -> None:
    run = at_work(machine(tmp_path))
    store = Store(url, run)
    store.save()
    before = files(run)
    (run / "events.jsonl").write_text("newer\n")
    store.save()
    state = store._read_state(2)
    blob = Path(url) / "some-recipe" / "abc" / "files" / state["files"]["events.jsonl"]["sha256"]
    if damage == "cut":
        blob.write_bytes(blob.read_bytes()[:-1])
    elif damage == "changed":
        blob.write_bytes(blob.read_bytes()[::-1])
    elif damage == "removed":
        blob.unlink()
    else:
        path = blob.parent.parent / "states" / "000002.json"
        path.write_text(path.read_text()[:-20])
    notes: list[str] = []
    there = machine(tmp_path, "there")
    fetched = Store(url, there).fetch(notes.append)
    assert fetched and fetched["number"] == 1 and files(there) == before
    assert len(notes) == 1 and "state 2 is damaged" in notes[0]
    assert Store(url, there).save() == 3, "past the damaged one"


def test_nothing_whole_is_an_error_and_not_a_fresh_start(tmp_path: Path, url: str) -> None:
    run = at_work(machine(tmp_path))
    Store(url, run).save()
    for path in (Path(url) / "some-recipe" / "abc" / "files").iterdir():
        path.unlink()
    there = machine(tmp_path, "there")
    with pytest.raises(MachineError, match="every state of .* is damaged"):
        Store(url, there).fetch(silent)
    assert files(there) == {}


def test_a_machine_that_was_overtaken_is_told_so(tmp_path: Path, url: str) -> None:
    here, there = at_work(machine(tmp_path)), machine(tmp_path, "there")
    Store(url, here).save()
    Store(url, there).fetch(silent)
    Store(url, there).save()
    with pytest.raises(MachineError, match="has since continued this run .*Only one machine"):
        Store(url, here).save()


def test_a_stale_folder_takes_over_what_another_machine_did(tmp_path: Path, url: str) -> None:
    here, there = at_work(machine(tmp_path)), machine(tmp_path, "there")
    Store(url, here).save()
    Store(url, there).fetch(silent)
    checkpoint(there, 10)
    Store(url, there).save()
    checkpoint(here, 20)
    assert Store(url, here).fetch(silent)
    assert sorted(path.name for path in (here / "train").iterdir()) == ["checkpoint-10", "checkpoint-5"]


def test_small_results_come_without_checkpoints_and_are_no_state_to_go_on_from(
    tmp_path: Path, url: str
) -> None:
    run = at_work(machine(tmp_path))
    Store(url, run).save()
    there = machine(tmp_path, "there")
    assert Store(url, there).fetch(silent, small=True)
    assert set(files(there)) == {"state.json", "events.jsonl"}
    assert Store(url, there).fetch(silent), "the whole state is fetched before training goes on"
    assert (there / "train" / "checkpoint-5").is_dir()


def test_names_that_lead_out_of_the_run_are_refused(tmp_path: Path, url: str) -> None:
    run = at_work(machine(tmp_path))
    Store(url, run).save()
    path = Path(url) / "some-recipe" / "abc" / "states" / "000001.json"
    path.write_text(path.read_text().replace('"events.jsonl"', '"../../outside"'))
    with pytest.raises(MachineError, match="every state"):
        Store(url, machine(tmp_path, "there")).fetch(silent)
    assert not (tmp_path / "outside").exists()


# Trouble with the storage itself


def failing(error: Exception, times: int) -> Callable[..., Any]:
    def action() -> str:
        nonlocal times
        times -= 1
        if times >= 0:
            raise error
        return "done"

    return action


def test_a_passing_fault_is_tried_again(url: str) -> None:
    place = storage.Storage(url)
    assert place._try("read", failing(OSError("500 Internal Server Error"), 2)) == "done"
    with pytest.raises(MachineError, match="cannot read, tried 3 times .*500 Internal Server Error"):
        place._try("read", failing(OSError("500 Internal Server Error"), 3))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError("Access Denied"),
            "no permission to write .*Access Denied.*keys in the.*environment.*clock",
        ),
        (OSError(28, "No space left on device"), "cannot write: .*No space left on device"),
    ],
)
def test_what_waiting_does_not_mend_is_said_at_once(error: Exception, said: str, url: str) -> None:
    action = failing(error, 1)
    with pytest.raises(MachineError, match=said):
        storage.Storage(url)._try("write", action)


def test_a_full_disk_is_found_before_anything_is_fetched(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = at_work(machine(tmp_path))
    Store(url, run).save()
    monkeypatch.setattr("tunebook.runs.store.shutil.disk_usage", lambda path: type("U", (), {"free": 10})())
    there = machine(tmp_path, "there")
    with pytest.raises(MachineError, match="from STORE needs .* are free"):
        Store(url, there).fetch(silent)
    assert files(there) == {} and not read_json(there / "store.json")


@pytest.mark.parametrize(("url", "error"), [("nowhere://x/y", InputError), ("dropbox://x/y", MachineError)])
def test_an_address_that_cannot_be_used(url: str, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error, match="^STORE: "):
        Store(url, machine(tmp_path))
