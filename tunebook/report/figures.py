"""Figures as small static SVG: they need no script, and their lines and letters have the page's text
colour."""

from __future__ import annotations

import io
import math
import os
import re
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"  # replaced by the page's text colour
COLOURS = ("#3b7dd8", "#d9822b", "#3a9b6b", "#a85cc0", "#b3483b", "#7a7f87")
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tunebook",
    "font.size": 10,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


class Dot(TypedDict):
    """A point with its interval and its name; `x` may be a word; a `y` of NaN was not measured."""

    x: float | str
    y: float
    low: NotRequired[float | None]
    high: NotRequired[float | None]
    name: NotRequired[str]


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    # The kernel of a notebook names a backend of its own there, and matplotlib refuses one it cannot find.
    os.environ.pop("MPLBACKEND", None)
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]
    from matplotlib.figure import Figure as NewFigure

    figure = NewFigure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, title: str) -> str:
    """Return the figure as an SVG element with `title` for screen readers."""
    from html import escape

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    label = f'<svg role="img" aria-label="{escape(title, quote=True)}" class="figure"'
    # A fixed width and height would not shrink on a phone.
    return re.sub(
        r'<svg (.*?)(?:width|height)="[^"]*"(.*?)(?:width|height)="[^"]*"',
        rf"{label} \1\2",
        text,
        count=1,
        flags=re.S,
    )


def curve(series: dict[str, list[tuple[float, float]]], x_name: str, y_name: str) -> str:
    """Draw lines of (x, y) points on common axes."""
    figure, axes = _axes(7.2, 3.2)
    for color, (name, points) in zip(COLOURS, series.items(), strict=False):
        if points:
            x, y = zip(*points, strict=True)
            marker = "o" if len(points) < 20 else ""
            axes.plot(x, y, marker=marker, color=color, label=name, linewidth=1.5)
    axes.set(xlabel=x_name, ylabel=y_name)
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper center", ncols=2)
    return _svg(figure, f"{y_name} over {x_name}: {', '.join(series)}")


def confusion(matrix: list[list[int]], rows: list[str], columns: list[str]) -> str:
    """Draw a confusion matrix with gold labels as rows and answers as columns, in shares of each row."""
    size = min(9.0, 1.8 + 0.36 * len(columns))
    figure, axes = _axes(size, size)
    shares = [[value / max(1, sum(row)) for value in row] for row in matrix]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    if len(columns) <= 30:
        for i, row in enumerate(matrix):
            for j, value in enumerate(row):
                if value:
                    colour = "#ffffff" if shares[i][j] > 0.55 else "#222222"
                    axes.text(j, i, str(value), ha="center", va="center", color=colour, fontsize=8)
    axes.set(xlabel="answer", ylabel="gold")
    return _svg(figure, "confusion matrix: gold labels by answers")


CORNERS = ((5, 5, "left"), (5, -11, "left"), (-5, -11, "right"), (-5, 5, "right"))  # in points, from the dot


def _label(figure: Figure, axes: Axes, points: list[Dot]) -> None:
    """Write the name of each of `points` next to it, at the first corner where it overlaps no other name,
    otherwise at the last corner."""
    figure.draw_without_rendering()  # the layout determines the positions
    taken: list[Any] = []
    shown = [point for point in points if not math.isnan(point["y"])]
    # from top to bottom, so that names are in the order of their dots
    for point in sorted(shown, key=lambda point: -point["y"]):
        text = axes.annotate(
            str(point["name"]),
            (point["x"], point["y"]),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8,
        )
        for across, up, side in CORNERS:
            text.set(position=(across, up), horizontalalignment=side)
            place = text.get_window_extent()
            if not place.count_overlaps(taken):
                break
        taken.append(place)


def points(
    series: dict[str, list[Dot]],
    x_name: str,
    y_name: str,
    joined: bool = True,
    names: bool = False,
) -> str:
    """Draw `{x, y, low, high, name}` points with their intervals; positive numbers that span more than a
    factor of eight get a logarithmic axis, words are placed side by side."""
    figure, axes = _axes(7.2, 3.6)
    every = [point["x"] for line in series.values() for point in line]
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        x, y = [point["x"] for point in line], [point["y"] for point in line]
        axes.plot(x, y, marker="o", color=colour, label=name, linewidth=1.2 if joined else 0)
        for point in line:
            low, high = point.get("low"), point.get("high")
            if low is not None and high is not None:
                axes.plot([point["x"]] * 2, [low, high], color=colour, linewidth=1, alpha=0.6)
    numbers = [value for value in every if isinstance(value, (int, float)) and value > 0]
    if (
        numbers
        and len(numbers) == len(every)
        and max(numbers) / min(numbers) > 8
        and math.isfinite(max(numbers))
    ):
        axes.set_xscale("log")
    axes.set(xlabel=x_name, ylabel=y_name)
    axes.grid(alpha=0.25)
    if len(series) > 1:
        figure.legend(loc="outside upper center", ncols=3)
    if names:
        _label(figure, axes, [point for line in series.values() for point in line])
    return _svg(figure, f"{' '.join(y_name.split())} over {x_name}")


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
svg {{ width: 100%; height: auto; }}</style></head><body><p>{title}</p>{figure}</body></html>
"""


def page(title: str, figure: str) -> str:
    """Return a page with one figure."""
    from html import escape

    return PAGE.format(title=escape(title), figure=figure)
