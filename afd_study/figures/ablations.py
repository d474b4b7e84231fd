"""Figures of ablations: the judge's mean against what was varied, a panel for each grid and task."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from afd_study.figures.style import Plate, in_order, legend_below, look, need, plate, theme

COLUMNS = ("grid", "axis", "task", "method", "kind", "place", "value", "mean", "low", "high", "n_seeds")
ACROSS = 2  # panels side by side


def responses(table: pd.DataFrame, *, n: int = 16) -> Plate:
    """Draw the judge's mean at each value that was varied, with intervals, a panel for each grid and task.

    `table` (study.ablations.responses): grid, axis, task, method, kind, place, value, mean, low, high,
    n_seeds. Values stand evenly spaced in their order; controls (the random pick, demonstrations) are lines
    without intervals. `n` is the number of responses picked from, for the caption.

    Raises DataError for a table that lacks columns or rows, SpecError for a method without a look.
    """
    need(table, COLUMNS, what="responses of ablations")
    panels = list(table.groupby(["grid", "task"], sort=False))
    rows = -(-len(panels) // ACROSS)
    with theme():
        figure, grid = plate(rows, ACROSS, height=2.5 * rows + 0.5)
        for axes, (_, part) in zip(grid.ravel(), panels, strict=False):
            _panel(axes, part)
        for axes in grid.ravel()[len(panels) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("judge points")
        legend_below(figure)
    figure.caption = (
        f"Judge's mean of the response kept out of {n} (or of as many as the axis says), against what was "
        f"varied. Bars: 95 % intervals, t over {int(table['n_seeds'].max())} seeds."
    )
    figure.data = table[list(COLUMNS)]
    return figure


def _panel(axes: Axes, part: pd.DataFrame) -> None:
    methods = in_order(part["method"])
    lines = [name for name in methods if not look(name).control]
    for name in methods:
        some = part[part["method"] == name].sort_values("place")
        if look(name).control:
            _points(axes, name, some["place"], some)
            continue
        places = some["place"] + 0.06 * (lines.index(name) - (len(lines) - 1) / 2)  # bars side by side
        if some["kind"].nunique() > 1:  # the value itself is another reward model, with a look of its own
            axes.plot(places, some["mean"], color=look(name).colour, linewidth=0.8, alpha=0.6, zorder=1)
        for kind, own in some.groupby("kind", sort=False):
            _points(axes, str(kind), places[own.index], own)
    ticks = part.drop_duplicates("place").sort_values("place")
    axes.set_xticks(ticks["place"], labels=list(ticks["value"]))
    axes.set_xlim(-0.3, len(ticks) - 0.7)
    axes.set(title=part["task"].iloc[0], xlabel=part["axis"].iloc[0])


def _points(axes: Axes, name: str, places: "pd.Series[float]", rows: pd.DataFrame) -> None:
    """Draw what a method reaches at some places: a control as a thin line, others with bars."""
    style = look(name)
    shown: dict[str, Any] = {"color": style.colour, "label": style.label}
    if style.control:
        axes.plot(places, rows["mean"], style.line, linewidth=1.2, zorder=1, **shown)
        return
    axes.vlines(places, rows["low"], rows["high"], color=style.colour, linewidth=1.6, alpha=0.6)
    axes.plot(places, rows["mean"], style.line, marker=style.marker, markersize=5.5, **shown)
