"""docs/lanes.md has what the runs on both lanes gave."""

from __future__ import annotations

from benchmarks import lanes
from tunebook.core.files import read_json
from tunebook.report.markdown_blocks import block


def test_the_page_of_lanes_is_current() -> None:
    """`python -m benchmarks.lanes` writes it from finished runs."""
    pairs = read_json(lanes.TARGET)["pairs"]
    written = block(lanes.PAGE.read_text(), "lanes").strip()
    assert written == f"{lanes.table(pairs)}\n\n{lanes.sentences(pairs)}"
    for found in pairs.values():
        assert sorted(found) == ["0.19.0", "0.21.0"]
        assert all(run["judged"] and not run["outside"] for run in found.values()), "reproduced on each lane"


def test_losses_are_the_same_up_to_a_step() -> None:
    assert lanes.same_steps([2.0, 1.0, 0.5, 0.4], [2.001, 1.0, 0.6, 0.4]) == 2
    assert lanes.same_steps([2.0], [2.0, 1.0]) == 1
