"""The still figure of how costs grow."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from afd_study.figures.style import INK, RULE, Plate, legend_below, need, plate, theme

AXES = {
    "parameters": "parameters in matrix products",
    "tokens": "tokens a response",
    "draws": "draws a prompt",
    "prompts": "prompts",
    "vocabulary": "vocabulary",
}
# Kinds of work: line and marker. They are no methods, so that they have no colour.
WORKS = {"training": ("-", "o"), "sampling": ("--", "s"), "scoring": (":", "^")}
COLUMNS = ("work", "axis", "value", "seconds", "low", "high")


def growth(table: pd.DataFrame) -> Plate:
    """Draw seconds relative to each line's first point against what grows, both log, a panel an axis.

    `table`: work, axis, value, seconds, low, high. The grey rule is proportional growth.
    """
    need(table, COLUMNS, what="growth")
    names = [name for name in AXES if name in set(table["axis"])]
    with theme():
        figure, grid = plate(2, 3, height=5.0)
        panels = grid.flatten()
        for axes, name in zip(panels, names, strict=False):
            _panel(axes, table[table["axis"] == name], AXES[name])
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel("times the first point")
        legend_below(figure, columns=4)
    figure.caption = "Seconds relative to the smallest size, one axis at a time. Bars: range of repeats."
    figure.data = table
    return figure


def _panel(axes: Axes, part: pd.DataFrame, label: str) -> None:
    first, last = part["value"].min(), part["value"].max()
    axes.plot([first, last], [1, last / first], label="proportional", **RULE)
    for work, (line, marker) in WORKS.items():
        rows = part[part["work"] == work].sort_values("value")
        if rows.empty:
            continue
        unit = rows["seconds"].iloc[0]
        bars = np.abs(rows[["low", "high"]].to_numpy() - rows[["seconds"]].to_numpy()).T / unit
        style: dict[str, Any] = {"linestyle": line, "marker": marker, "markersize": 4, "elinewidth": 0.8}
        axes.errorbar(rows["value"], rows["seconds"] / unit, bars, color=INK, label=work, **style)
    axes.set(xscale="log", yscale="log", xlabel=label)
    axes.set_xticks(sorted(set(part["value"])))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: _short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    """Write 196608 as 197 k and 3145728 as 3.1 M."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.{3 if value >= 100 * size else 2}g}{unit}"
    return f"{value:g}"
