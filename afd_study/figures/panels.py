"""What several still figures draw alike: a line with its band, a point with its bar, a level, a log axis."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from afd_study.figures.style import Look, look

INTERVAL = ("mean", "low", "high")


def line(axes: Axes, x: pd.Series | pd.Index, y: pd.Series, style: Look, **extra: Any) -> None:
    """Draw a line with markers in a look; `extra` is matplotlib's own."""
    settings: dict[str, Any] = {"marker": style.marker, "color": style.colour, "label": style.label} | extra
    axes.plot(x, y, style.line, **settings)


def band(axes: Axes, x: pd.Series | pd.Index, rows: pd.DataFrame, style: Look, *, alpha: float) -> None:
    """Fill from column low to column high in a look's colour."""
    axes.fill_between(x, rows["low"], rows["high"], color=style.colour, alpha=alpha, linewidth=0)


def upright(axes: Axes, x: pd.Series, rows: pd.DataFrame, style: Look, **extra: Any) -> None:
    """Draw points at column mean with vertical bars from low to high."""
    bars: dict[str, Any] = {"linewidth": 1.2, "alpha": 0.6} | extra
    axes.vlines(x, rows["low"], rows["high"], color=style.colour, **bars)
    dots: dict[str, Any] = {"markersize": 7, "markeredgecolor": "white", "mew": 0.6}
    axes.plot(x, rows["mean"], style.marker, color=style.colour, label=style.label, **dots)


def demonstrations_across(axes: Axes, levels: pd.DataFrame, task: str) -> None:
    """Draw the demonstrations' own score across: `levels` has task, method, mean."""
    style = look("demonstrations")
    rows = levels[(levels["task"] == task) & (levels["method"] == "demonstrations")]
    for value in rows["mean"]:
        axes.axhline(value, color=style.colour, linestyle=style.line, lw=1.2, label=style.label, zorder=1)


def powers_of_two(axes: Axes, sizes: Iterable[int]) -> None:
    """Make the x-axis logarithmic with a tick at each of the sizes."""
    ticks = sorted(set(sizes))
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, labels=[str(tick) for tick in ticks])
