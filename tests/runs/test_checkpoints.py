"""A damaged checkpoint is named and set aside, so that training resumes from the newest whole one."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from tunebook.runs.checkpoints import (
    UNPLANNED,
    bring_back,
    fault,
    set_broken_aside,
    set_unplanned_aside,
    ship,
)
from tunebook.runs.run import Run

ZIPS = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin")
WEIGHTS = "adapter_model.safetensors"


def save(folder: Path, step: int) -> Path:
    """Write what Axolotl leaves after `step`; torch.save's files are plain zip archives."""
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    tensors = {"a": numpy.arange(512, dtype=numpy.float32), "b": numpy.ones((8, 8), dtype=numpy.float16)}
    save_file(tensors, checkpoint / WEIGHTS, metadata={"format": "pt"})
    for name in ZIPS:
        with zipfile.ZipFile(checkpoint / name, "w") as archive:
            archive.writestr("archive/data.pkl", b"some pickled bytes" * 40)
            archive.writestr("archive/data/0", bytes(range(256)) * 8)
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": []}))
    (checkpoint / "adapter_config.json").write_text("{}")
    (checkpoint / "README.md").write_text("not looked at")
    return checkpoint


def cut(path: Path, keep: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def flip(path: Path) -> None:
    """Change one byte in the middle, as a bad disk does."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def wipe(checkpoint: Path) -> None:
    for path in checkpoint.iterdir():
        path.unlink()


def shards(checkpoint: Path) -> None:
    """Replace the weights by two shards and their index."""
    (checkpoint / WEIGHTS).unlink()
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name in names:
        save_file({name: numpy.ones(4, dtype=numpy.float32)}, checkpoint / name)
    index = {"metadata": {}, "weight_map": {name: name for name in names}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))


def lose_a_shard(checkpoint: Path) -> None:
    shards(checkpoint)
    (checkpoint / "model-00002-of-00002.safetensors").unlink()


Damage = Callable[[Path], object]
DAMAGES: dict[str, tuple[str, Damage]] = {
    "no optimizer": ("optimizer.pt", lambda c: (c / "optimizer.pt").unlink()),
    "no scheduler": ("scheduler.pt", lambda c: (c / "scheduler.pt").unlink()),
    "no arguments": ("training_args.bin", lambda c: (c / "training_args.bin").unlink()),
    "no state": ("trainer_state.json", lambda c: (c / "trainer_state.json").unlink()),
    "no generator state": ("rng_state", lambda c: (c / "rng_state.pth").unlink()),
    "no weights": ("weights", lambda c: (c / WEIGHTS).unlink()),
    "weights cut": (WEIGHTS, lambda c: cut(c / WEIGHTS)),
    "weights cut by a byte": (WEIGHTS, lambda c: cut(c / WEIGHTS, 0.9999)),
    "weights cut in the header": (WEIGHTS, lambda c: cut(c / WEIGHTS, 0.02)),
    "weights empty": (WEIGHTS, lambda c: cut(c / WEIGHTS, 0)),
    "weights too long": (WEIGHTS, lambda c: (c / WEIGHTS).open("ab").write(b"x")),
    "weights all zeros": (WEIGHTS, lambda c: (c / WEIGHTS).write_bytes(bytes(4096))),
    "a shard lost": ("model-00002-of-00002.safetensors", lose_a_shard),
    "optimizer cut": ("optimizer.pt", lambda c: cut(c / "optimizer.pt")),
    "optimizer empty": ("optimizer.pt", lambda c: cut(c / "optimizer.pt", 0)),
    "optimizer with a changed byte": ("optimizer.pt", lambda c: flip(c / "optimizer.pt")),
    "scheduler cut": ("scheduler.pt", lambda c: cut(c / "scheduler.pt")),
    "generator state cut": ("rng_state.pth", lambda c: cut(c / "rng_state.pth")),
    "state of another step": ("step 5", lambda c: _state(c, json.dumps({"global_step": 5}))),
    "state cut": ("trainer_state.json", lambda c: cut(c / "trainer_state.json")),
    "state empty": ("trainer_state.json", lambda c: _state(c, "")),
    "state without a step": ("trainer_state.json", lambda c: _state(c, "{}")),
    "state that is no mapping": ("trainer_state.json", lambda c: _state(c, "[]")),
    "nothing in it": ("missing", wipe),
}
damaged = pytest.mark.parametrize(("word", "damage"), DAMAGES.values(), ids=DAMAGES)


def _state(checkpoint: Path, text: str) -> None:
    (checkpoint / "trainer_state.json").write_text(text)


def test_a_whole_checkpoint_has_no_fault(tmp_path: Path) -> None:
    assert fault(save(tmp_path, 20)) is None


def test_a_whole_checkpoint_in_shards_has_no_fault(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 20)
    shards(checkpoint)
    assert fault(checkpoint) is None


@pytest.mark.parametrize("name", ["optimizer.bin", "optimizer_0/__0_0.distcp", "global_step20/states.pt"])
def test_states_that_several_processes_saved_are_whole(name: str, tmp_path: Path) -> None:
    """FSDP in one file and in shards, and DeepSpeed."""
    checkpoint = save(tmp_path, 20)
    (checkpoint / name).parent.mkdir(exist_ok=True)
    (checkpoint / "optimizer.pt").rename(checkpoint / name)
    assert fault(checkpoint) is None


def test_a_cut_optimizer_of_several_processes_is_named(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 20)
    (checkpoint / "optimizer.pt").rename(checkpoint / "optimizer.bin")
    cut(checkpoint / "optimizer.bin")
    assert fault(checkpoint) == "optimizer.bin is incomplete"


@damaged
def test_damage_is_named(word: str, damage: Damage, tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 20)
    damage(checkpoint)
    assert word in (fault(checkpoint) or "no fault found")


@damaged
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(
    word: str, damage: Damage, tmp_path: Path
) -> None:
    save(tmp_path, 5)
    save(tmp_path, 10)
    damage(save(tmp_path, 20))
    moved, newest = set_broken_aside(tmp_path)
    assert newest == 10
    assert len(moved) == 1
    assert "checkpoint-20" in moved[0] and word in moved[0]
    left = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert left == ["checkpoint-10", "checkpoint-5"]
    assert len([*(tmp_path / "broken").iterdir()]) == 1, "kept for whoever wants to look"


def test_whole_ones_stay_and_the_newest_is_by_number(tmp_path: Path) -> None:
    for step in (5, 10, 100, 20):
        save(tmp_path, step)
    assert set_broken_aside(tmp_path) == ([], 100)
    assert not (tmp_path / "broken").exists()


def test_an_older_broken_one_goes_too(tmp_path: Path) -> None:
    (save(tmp_path, 5) / "optimizer.pt").unlink()
    save(tmp_path, 10)
    moved, newest = set_broken_aside(tmp_path)
    assert newest == 10
    assert not (tmp_path / "checkpoint-5").exists()
    assert len(moved) == 1


def test_nothing_whole_means_from_the_start(tmp_path: Path) -> None:
    wipe(save(tmp_path, 5))
    assert set_broken_aside(tmp_path)[1] is None
    assert set_broken_aside(tmp_path / "not-there") == ([], None)


def test_the_same_step_can_break_twice(tmp_path: Path) -> None:
    for _ in range(2):
        wipe(save(tmp_path, 5))
        assert len(set_broken_aside(tmp_path)[0]) == 1
    assert len([*(tmp_path / "broken").iterdir()]) == 2


def test_a_persons_own_copy_beside_them_is_left_alone(tmp_path: Path) -> None:
    save(tmp_path, 5)
    (tmp_path / "checkpoint-5-copy").mkdir()
    assert set_broken_aside(tmp_path) == ([], 5)
    assert (tmp_path / "checkpoint-5-copy").is_dir()


@pytest.mark.parametrize("kept", [False, True])
def test_tokens_are_counted_across_a_resume(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where counters continue, a checkpoint without its count restarts them."""
    from tunebook.models import lanes
    from tunebook.training.launch import count_tokens

    monkeypatch.setattr(lanes, "is_new", lambda: kept)
    # The first value after the second resume is above the one before it.
    counted = [30, 60, 95, 25, 70, 80]
    log = [{"step": step, "tokens/trainable": n} for step, n in enumerate(counted, 1)]
    log.insert(3, {"step": 3, "eval_loss": 1.0})
    assert count_tokens(log, "tokens/trainable", [3, 4]) == (95 + 80 if kept else 95 + 25 + 80)
    assert count_tokens(log[:3], "tokens/trainable", []) == 95
    assert count_tokens([], "tokens/trainable", []) is None


def test_the_checkpoint_of_a_stop_gives_way_to_the_next_one(tmp_path: Path) -> None:
    save(tmp_path, 5)
    (save(tmp_path, 7) / UNPLANNED).touch()
    assert fault(tmp_path / "checkpoint-7") is None, "training goes on from it"
    set_unplanned_aside(tmp_path)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-5"]
    cut(save(tmp_path, 10) / WEIGHTS)  # killed while the next one was written
    bring_back(tmp_path)
    assert set_broken_aside(tmp_path)[1] == 7
    bring_back(tmp_path)
    assert set_broken_aside(tmp_path) == ([], 7)


@pytest.mark.parametrize(("kind", "dtype"), [("F32", "float32"), ("BF16", "bfloat16")])
def test_config_json_names_the_precision_of_the_weights(kind: str, dtype: str, tmp_path: Path) -> None:
    """Others load a model in the precision that its config.json names."""
    run, source = Run(tmp_path / "run"), tmp_path / "run" / "train"
    source.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": kind, "shape": [0], "data_offsets": [0, 0]}}).encode()
    (source / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    for written in ({"torch_dtype": "float16"}, {"dtype": "float16"}, {}):
        (source / "config.json").write_text(json.dumps({"model_type": "llama", **written}))
        ship(source, run)
        assert json.loads((run / "model" / "config.json").read_text()) == {
            "model_type": "llama",
            "dtype": dtype,
        }
