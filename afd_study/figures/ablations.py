"""Still figures of ablations: the judge's mean against what was varied, a panel for each grid and task."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from afd_study.figures.panels import INTERVAL, line
from afd_study.figures.style import Plate, in_order, legend_below, look, need, plate, theme

COLUMNS = ("grid", "axis", "task", "method", "kind", "place", "value", *INTERVAL, "n_seeds")
ACROSS = 2  # panels side by side


def responses(table: pd.DataFrame, *, n: int = 16) -> Plate:
    """Draw the judge's mean at each value that was varied, with intervals, a panel for each grid and task.

    `table` (study.chapters.ablations.responses): grid, axis, task, method, kind, place, value, mean, low,
    high, n_seeds. Values stand evenly spaced in their order; controls (the random pick, demonstrations) are
    lines without intervals. `n` is the number of responses picked from, for the caption.

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
        rows, style = part[part["method"] == name].sort_values("place"), look(name)
        if style.control:
            control: dict[str, Any] = {"marker": "", "linewidth": 1.2, "zorder": 1}
            line(axes, rows["place"], rows["mean"], style, **control)
            continue
        places = rows["place"] + 0.06 * (lines.index(name) - (len(lines) - 1) / 2)  # bars side by side
        if rows["kind"].nunique() > 1:  # each value is a reward model of its own, with a look of its own
            axes.plot(places, rows["mean"], color=style.colour, linewidth=0.8, alpha=0.6, zorder=1)
        for kind, own in rows.groupby("kind", sort=False):
            _with_bars(axes, str(kind), places[own.index], own)
    ticks = part.drop_duplicates("place").sort_values("place")
    axes.set_xticks(ticks["place"], labels=list(ticks["value"]))
    axes.set_xlim(-0.3, len(ticks) - 0.7)
    axes.set(title=part["task"].iloc[0], xlabel=part["axis"].iloc[0])


def _with_bars(axes: Axes, kind: str, places: pd.Series, rows: pd.DataFrame) -> None:
    style = look(kind)
    axes.vlines(places, rows["low"], rows["high"], color=style.colour, linewidth=1.6, alpha=0.6)
    line(axes, places, rows["mean"], style, markersize=5.5)
