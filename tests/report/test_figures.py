"""Pictures are SVG without scripts, in the page's colour, the same each time."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from tunebook.core.paths import ROOT
from tunebook.report import figures

DRAWN = {
    "curve": lambda: figures.curve({"train": [(1, 2.0), (2, 1.0)], "dev": []}, "step", "loss"),
    "confusion": lambda: figures.confusion([[3, 1], [0, 4]], ["a", "b"], ["a", "b"]),
    "points": lambda: figures.points(
        {"all": [{"x": 1e-4, "y": 0.2, "low": 0.1, "high": 0.3, "name": "r"}, {"x": 1e-2, "y": 0.4}]},
        "rate",
        "f1",
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_plain_svg(name: str) -> None:
    text = DRAWN[name]()
    root = ET.fromstring(text)
    assert root.tag.endswith("svg") and root.get("aria-label") and root.get("viewBox")
    assert root.get("width") is None and root.get("height") is None, "it shrinks with the page"
    assert "<script" not in text and "currentColor" in text and figures.INK not in text
    assert "<b>" not in text
    assert DRAWN[name]() == text


def test_a_page_escapes_its_title() -> None:
    assert "<p>a &lt; b</p>" in figures.page("a < b", "<svg/>")


def test_names_of_equal_points_do_not_cover_each_other() -> None:
    equal = [{"x": 1.0, "y": 0.5, "name": f"name{i}"} for i in range(4)]
    drawn = figures.points({"all": [*equal, {"x": 2.0, "y": 0.9, "name": "far"}]}, "x", "y", names=True)
    texts = ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")
    places = {
        (e.get("x"), e.get("y"), e.get("transform")) for e in texts if (e.text or "").startswith("name")
    }
    assert len(places) == 4


@pytest.mark.slow
def test_a_picture_is_drawn_in_a_cell_of_a_notebook() -> None:
    """A notebook's kernel hands its cells a backend that matplotlib cannot find in .venv."""
    code = "from tunebook.report import figures; print(figures.curve({'a': [(1, 2.0), (2, 1.0)]}, 'x', 'y'))"
    backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    drawn = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | backend, capture_output=True, text=True
    )
    assert drawn.returncode == 0, drawn.stderr[-1000:]
    assert drawn.stdout.startswith("<svg")
