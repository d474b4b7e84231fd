"""Still figures of the page on free features: training at each h, what is left of a ranking, leads over h."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import seaborn as sns

from afd_study.figures.panels import INTERVAL, line
from afd_study.figures.style import RULE, Look, Plate, in_order, legend_below, look, need, plate, theme

LAWS = (("#D55E00", "-"), ("#0072B2", "--"), ("#009E73", "-."), ("#CC79A7", ":"), ("#E69F00", "-"))
"""Colours and lines of laws or choices that have no look of their own, in turn."""
HEIGHT = 3.4


def _h_colours(values: pd.Series) -> dict[float, Any]:
    """Return a colour for each h, from blue to red."""
    ordered = sorted(values.unique())
    return dict(zip(ordered, sns.color_palette("viridis_r", len(ordered)), strict=True))


def over_time(
    table: pd.DataFrame, *, measures: Mapping[str, str], expected: pd.DataFrame | None = None
) -> Plate:
    """Draw measures against training time (log scale), a panel each and a line for each h.

    Args:
        table: h, time, the measures (theory.free_feature_tables.by_heterogeneity).
        measures: columns to draw, and their titles.
        expected: the same columns as theory predicts them, drawn as dots, or None.
    """
    need(table, ("h", "time", *measures), what="over_time")
    tables = [(table, "-")] + ([(expected, ":")] if expected is not None else [])
    colours = _h_colours(table["h"])
    with theme():
        figure, grid = plate(1, len(measures), height=HEIGHT)
        for axes, (measure, title) in zip(grid[0], measures.items(), strict=True):
            for rows, style in tables:
                for h, part in rows[rows["time"] > 0].groupby("h", sort=True):
                    label = f"h = {h:g}" + (", predicted" if style == ":" else "")
                    shown: dict[str, Any] = {"color": colours[float(str(h))], "label": label}
                    axes.plot(part["time"], part[measure], style, linewidth=2 - 0.3 * (style == ":"), **shown)
            axes.set_xscale("log")
            axes.set(title=title, xlabel="training time (log scale)")
        legend_below(figure, columns=5)
    figure.caption = (
        f"{', '.join(measures.values())} along training, for each share h of marked demonstrations."
    )
    return figure


def over_h(table: pd.DataFrame, *, by: str, measure: str, title: str, label: str) -> Plate:
    """Draw a measure against h at one time, a line for each value of column `by`.

    `label` is the vertical axis. Where the table has columns low and high, a band joins them.
    """
    need(table, ("h", by, measure), what="over_h")
    with theme():
        figure, grid = plate(1, 1, height=HEIGHT)
        axes = grid[0, 0]
        parts = table.groupby(by, sort=False)
        for place, (name, part) in enumerate(parts):
            colour, style = LAWS[place % len(LAWS)]
            axes.plot(part["h"], part[measure], style, color=colour, marker="o", label=str(name))
            if {"low", "high"} <= set(part.columns):
                axes.fill_between(part["h"], part["low"], part["high"], color=colour, alpha=0.12, linewidth=0)
        axes.axhline(0, **RULE)
        axes.set(title=title, xlabel="h, the share of demonstrations with the mark", ylabel=label)
        legend_below(figure)
    figure.caption = f"{title}, against the share h of marked demonstrations."
    figure.data = table
    return figure


def leads(table: pd.DataFrame, *, rival: str = "init_demo") -> Plate:
    """Draw Init-SFT's measured lead in every cell against h, and what each law predicts from h = 0.

    A row of panels for each task, a panel for each a. `table`: evaluation.free_feature.predicted_leads.
    """
    need(table, ("task", "a", "h", *INTERVAL, "law", "predicted"), what="leads")
    tasks, styles = list(dict.fromkeys(table["task"])), sorted(table["a"].unique())
    dot = Look("measured, 95 % interval", "#222222", "-", "o")
    with theme():
        size = (len(tasks), len(styles))
        figure, grid = plate(*size, height=0.9 + 2.0 * len(tasks), sharex=True, sharey="row")
        for panels, task in zip(grid, tasks, strict=True):
            for axes, a in zip(panels, styles, strict=True):
                cell = table[(table["task"] == task) & (table["a"] == a)]
                for place, (name, part) in enumerate(cell.groupby("law", sort=False)):
                    colour, style = LAWS[place % len(LAWS)]
                    axes.plot(part["h"], part["predicted"], style, color=colour, label=f"predicted: {name}")
                once = cell[cell["law"] == cell["law"].iloc[0]]
                axes.vlines(once["h"], once["low"], once["high"], color=dot.colour, linewidth=1.2, alpha=0.6)
                axes.plot(once["h"], once["mean"], dot.marker, color=dot.colour, mec="white", label=dot.label)
                axes.axhline(0, **RULE)
                axes.set_title(f"{task}, a = {a:g}")
            panels[0].set_ylabel("lead (share of the gap)")
        for axes in grid[-1]:
            axes.set_xlabel("h")
        legend_below(figure, columns=2)
    figure.caption = (
        f"Lead of Init-SFT over {look(rival).label} in the frozen worlds, and as predicted from h = 0 alone."
    )
    figure.data = table
    return figure


def weights(table: pd.DataFrame) -> Plate:
    """Draw the weight that a training loss leaves, a panel a task and a line a reward model, in steps.

    `table`: task, method, step, weight (evaluation.free_feature.weights_left).
    """
    need(table, ("task", "method", "step", "weight"), what="weights")
    tasks = list(dict.fromkeys(table["task"]))
    with theme():
        figure, grid = plate(1, len(tasks), height=HEIGHT, sharey=True)
        for axes, task in zip(grid[0], tasks, strict=True):
            rows = table[table["task"] == task]
            for method in in_order(rows["method"]):
                part = rows[rows["method"] == method]
                line(axes, part["step"], part["weight"], look(method))
            axes.set(title=task, xlabel="step", ylim=(-0.03, 1.05))
        grid[0, 0].set_ylabel("weight, at most (share of the first)")
        legend_below(figure)
    figure.caption = "The most weight that a response still has in training, by its reward model's own loss."
    figure.data = table
    return figure
