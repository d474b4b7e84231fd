"""Figures that the reader moves: plotly, in the looks of style.METHODS, as plain JSON that fetches nothing.

`figure.layout.meta["caption"]` is the caption as plain text (figures.text.caption reads it).
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from afd_study.errors import DataError
from afd_study.figures.figure_data import to_csv
from afd_study.figures.panels import INTERVAL
from afd_study.figures.style import INK, LEVELS, Look, facets, in_order, look, need, seed_phrase

DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
MARKERS = {
    "o": "circle",
    ".": "circle",
    "s": "square",
    "D": "diamond",
    "d": "diamond-tall",
    "P": "cross",
    "+": "cross-thin",
    "X": "x",
    "x": "x-thin",
    "*": "star",
    "^": "triangle-up",
    "v": "triangle-down",
    ">": "triangle-right",
    "<": "triangle-left",
    "p": "pentagon",
    "h": "hexagon",
    "H": "hexagon2",
    "8": "octagon",
}
"""matplotlib's marker -> plotly's symbol."""
N_TICKS = [1, 2, 5, 10, 20, 50, 100, 200]
HIDDEN = ("longest", "shortest", "likelihood", "likelihood_per_token", "closed_form_per_token")


def best_of_n(
    intervals: pd.DataFrame,
    *,
    control: str = "random",
    facet: str | None = None,
    hidden: Sequence[str] = HIDDEN,
    unit: str = "points",
) -> go.Figure:
    """Draw Best-of-n curves with bands; buttons (a slider from four settings on) change the setting.

    The legend shows and hides a method with its band, and keeps the reader's choice when the setting
    changes.

    Args:
        intervals: as in experiment.best_of_n.
        control: as in experiment.best_of_n.
        facet: as in experiment.best_of_n.
        hidden: methods that are in the legend but not drawn at first.
        unit: of the judge.

    Raises DataError for a table without columns, rows or the control, SpecError for a method without a look.
    """
    need(intervals, ("method", "n", *INTERVAL), what="best_of_n")
    if control not in set(intervals["method"]):
        raise DataError(
            f"the control '{control}' is not in the table; it holds {in_order(intervals['method'])}"
        )
    parts = facets(intervals, facet)
    names = in_order(set(intervals["method"]) - set(LEVELS))
    grid = sorted({int(n) for n in intervals.loc[intervals["method"].isin(names), "n"]})
    curves = [_curve(look(name), grid, "legendonly" if name in hidden else True) for name in names]
    traces = [*chain.from_iterable(curves), _level(look("demonstrations"), grid)]
    figure = go.Figure(data=traces, layout=_layout(grid, unit))
    settings = [_setting(part, names, grid) for _, part in parts]
    for trace, y, bounds in zip(figure.data, settings[0]["y"], settings[0]["customdata"], strict=True):
        trace.update(y=y, customdata=bounds)
    values = [value for setting in settings for y in setting["y"] for value in y if value is not None]
    margin = 0.04 * (max(values) - min(values))
    figure.layout.yaxis.range = [min(values) - margin, max(values) + margin]  # the same in every setting
    if len(parts) > 1:
        _add_control(figure, [title for title, _ in parts], settings)
    against = f"Best-of-n against the control '{look(control).label}'; bands: {seed_phrase(intervals)}."
    hint = "Click a name to show or hide a method, double-click to see it alone."
    columns = ("setting", "heterogeneity", "task", "method", "n", *INTERVAL)
    rows = intervals[[name for name in columns if name in intervals]]
    figure.layout.meta = {"caption": f"{against} {hint}", "csv": to_csv(rows)}
    return figure


def _curve(style: Look, grid: list[int], visible: bool | str) -> list[go.Scatter]:
    """Return a method's band and line, which the legend moves together."""
    together: dict[str, Any] = {"legendgroup": style.label, "name": style.label, "visible": visible}
    band = go.Scatter(
        x=grid + grid[::-1],
        fill="toself",
        fillcolor=_faint(style.colour),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        **together,
    )
    line = go.Scatter(
        x=grid,
        mode="lines+markers",
        line={"color": style.colour, "dash": DASHES[style.line], "width": 1.3 if style.control else 2.5},
        marker={
            "line": {"width": 0},
            "opacity": 1,
            "symbol": MARKERS.get(style.marker, "circle"),  # plotly has not all of matplotlib's
            "size": [6 if n in N_TICKS else 0 for n in grid],
        },
        hovertemplate="%{y:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}]",
        **together,
    )
    return [band, line]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.13)"


def _level(style: Look, grid: list[int]) -> go.Scatter:
    line = {"color": style.colour, "dash": "longdash", "width": 1.6}
    ends = [grid[0], grid[-1]]
    return go.Scatter(x=ends, mode="lines", line=line, name=style.label, hovertemplate="%{y:.2f}")


def _setting(part: pd.DataFrame, names: list[str], grid: list[int]) -> dict[str, list[Any]]:
    """Return the heights and hover bounds of every trace in one setting; None where there is no value."""
    heights, bounds = [], []
    for name in names:
        rows = part[part["method"] == name].set_index("n").reindex(grid)
        low, mean, high = (_plain(rows[column]) for column in ("low", "mean", "high"))
        heights += [high + low[::-1], mean]
        bounds += [None, list(zip(low, high, strict=True))]
    level = _plain(part.loc[part["method"] == "demonstrations", "mean"])[:1] or [None]
    return {"y": [*heights, level * 2], "customdata": [*bounds, None]}


def _plain(column: pd.Series) -> list[float | None]:
    return [None if pd.isna(value) else round(float(value), 5) for value in column]


def _add_control(figure: go.Figure, titles: list[str], settings: list[dict[str, list[Any]]]) -> None:
    """Add buttons, or a slider from four settings on, that swap the heights of all traces."""
    steps = [
        {"label": title, "method": "restyle", "args": [setting]}
        for title, setting in zip(titles, settings, strict=True)
    ]
    if len(steps) > 3:
        figure.layout.sliders = [{"steps": steps, "active": 0, "pad": {"t": 60}, "len": 0.7}]
        return
    figure.layout.updatemenus = [buttons_above(steps)]


def buttons_above(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return plotly's row of buttons above the panels, the first one pressed."""
    place = {"x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
    style = {"bgcolor": "white", "bordercolor": "#888888", "font": {"size": 13}, "showactive": True}
    return {"type": "buttons", "direction": "right", "buttons": steps, "active": 0} | place | style


def _layout(grid: list[int], unit: str) -> dict[str, Any]:
    axis = {"gridcolor": "#E6E6E6", "linecolor": "#888888", "zeroline": False, "showline": True}
    ticks = [n for n in N_TICKS if n <= grid[-1]]
    return {
        "template": "none",
        "height": 500,
        "margin": {"l": 60, "r": 10, "t": 50, "b": 50},
        "font": {"family": "sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "hovermode": "x unified",
        "hoverlabel": {"bgcolor": "white"},
        "legend": {"groupclick": "togglegroup", "tracegroupgap": 0, "font": {"size": 12}},
        "xaxis": axis
        | {
            "type": "log",
            "unifiedhovertitle": {"text": "n = %{x}"},
            "title": {"text": "n, responses drawn a prompt (log scale)"},
            "tickvals": ticks,
            "ticktext": [str(n) for n in ticks],
        },
        "yaxis": axis | {"title": {"text": f"judge's score of the kept response ({unit})"}},
    }
