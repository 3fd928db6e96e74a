"""CUDA_VISIBLE_DEVICES in all its spellings, and a driver that does not answer."""

from __future__ import annotations

import pytest

from tunebook.core import visible
from tunebook.core.errors import MachineError
from tunebook.core.visible import Card, chosen, words

CARDS = [Card(f"card {n}", f"GPU-{n}{n}ab-cd", 80.0, 9.0) for n in range(4)]
SLICES = [Card("slice", f"MIG-5{n}", 10.0, 9.0) for n in range(2)]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, ["card 0", "card 1", "card 2", "card 3"]),
        ("0", ["card 0"]),
        ("3,1", ["card 3", "card 1"]),
        (" 0 , 2 ", ["card 0", "card 2"]),
        ("GPU-22", ["card 2"]),
        ("gpu-22ab-cd, 0", ["card 2", "card 0"]),
        ("MIG-51", ["slice"]),
        ("MIG-50,MIG-51", ["slice", "slice"]),
        ("", []),
        ("  ", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("none", []),
        ("void", []),
        ("1,-1,2", ["card 1"]),
    ],
)
def test_spellings(given: str | None, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert [card.name for card in chosen(CARDS, SLICES)] == found
    assert (words() == []) == (found == [])


@pytest.mark.parametrize(
    "given", ["7", "0,7", "0,0", "cuda:0", "0;1", "all", "GPU-", "GPU-77", "MIG-99", "0x0", "1.0", "GPU-00,0"]
)
def test_what_names_no_gpu_is_an_error(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    with pytest.raises(MachineError) as caught:
        chosen(CARDS, SLICES)
    assert (caught.value.code, caught.value.exit_code) == ("machine.bad_visible_devices", 4)
    assert caught.value.problems[0].key == "CUDA_VISIBLE_DEVICES"
    assert "GPU-33ab-cd" in str(caught.value), "what there is"


def test_a_driver_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visible, "device_files", lambda: [])
    assert visible.broken_driver(RuntimeError("x")) is None
    monkeypatch.setattr(visible, "device_files", lambda: ["/dev/nvidia0"])
    broken = visible.broken_driver(RuntimeError("Driver/library version mismatch"))
    assert broken and broken.code == "machine.driver_broken" and "/dev/nvidia0" in str(broken)
