"""Still figures of costs: the judge's score against what was spent, and totals against answered prompts."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from afd_study.figures.panels import INTERVAL, demonstrations_across, line, upright
from afd_study.figures.style import Plate, in_order, legend_below, look, need, plate, theme

POINT = ("task", "method", "metric", "cost", *INTERVAL)
LABELS = ("demonstrations", "preference_labels")
AXES = {
    "flops": "FLOPs (estimated)",
    "tokens": "tokens through models",
    "seconds": "seconds on one machine",
    "demonstrations": "demonstrations",
    "preference_labels": "preference labels",
    "making_flops": "FLOPs to make (estimated)",
    "making_tokens": "tokens through models to make",
    "making_seconds": "seconds to make on one machine",
    "flops_per_answer": "FLOPs an answer (estimated)",
    "tokens_per_answer": "tokens an answer",
    "seconds_per_answer": "seconds an answer on one machine",
}
"""Metric -> the name of its axis."""


def score_against(table: pd.DataFrame, levels: pd.DataFrame, *, metric: str) -> Plate:
    """Draw the judge's mean against one cost (log scale), a panel a task, a point a method.

    `table`: task, method, metric, cost, mean, low, high; `levels`: task, method, mean, of which the
    demonstrations' own score is drawn across.
    """
    need(table, POINT, what="score_against")
    rows = table[table["metric"] == metric]
    need(rows, POINT, what=f"score_against {metric}")
    with theme():
        tasks = sorted(set(rows["task"]))
        figure, grid = plate(1, len(tasks), height=4.4)
        for place, (axes, task) in enumerate(zip(grid[0], tasks, strict=True)):
            part = rows[rows["task"] == task]
            for name in in_order(part["method"]):
                row = part[part["method"] == name]
                upright(axes, row["cost"], row, look(name))
            demonstrations_across(axes, levels, task)
            axes.set(title=task, xlabel=AXES[metric], ylabel="judge points" if place == 0 else "")
            _log(axes)
        legend_below(figure, columns=3)
    figure.caption = f"Judge against {AXES[metric]}. Bars: 95 % t-intervals over seeds."
    figure.data = rows
    return figure


def _log(axes: Axes) -> None:
    """Make the x-axis logarithmic, with plain words at its ticks: 2 G, 5 G, 10 G."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    steps = (1.0, 2.0, 5.0) if high < 100 * low else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())


def score_against_labels(table: pd.DataFrame, levels: pd.DataFrame) -> Plate:
    """Draw the judge's mean over the labels that were used, equal ones side by side, a panel a task.

    `table` and `levels` as for `score_against`, with the metrics of LABELS.
    """
    need(table, POINT, what="score_against_labels")
    rows = table[table["metric"].isin(LABELS)]
    need(rows, POINT, what="score_against_labels")
    used = rows.pivot(index=["task", "method", *INTERVAL], columns="metric", values="cost")
    used = used.reindex(columns=list(LABELS)).reset_index()
    with theme():
        tasks = sorted(set(used["task"]))
        figure, grid = plate(1, len(tasks), height=4.6)
        for place, (axes, task) in enumerate(zip(grid[0], tasks, strict=True)):
            _groups(axes, used[used["task"] == task])
            demonstrations_across(axes, levels, task)
            axes.set(title=task, ylabel="judge points" if place == 0 else "")
        legend_below(figure, columns=3)
    figure.caption = "Judge over the labels that were used. Bars: 95 % t-intervals over seeds."
    figure.data = used
    return figure


def _groups(axes: Axes, used: pd.DataFrame) -> None:
    """Draw methods with equal labels side by side, as a group with these labels below it."""
    start, ticks = 0, dict[float, str]()
    for (demonstrations, preferences), part in used.groupby(list(LABELS), sort=True):
        methods = in_order(part["method"])
        for place, name in enumerate(methods):
            row = part[part["method"] == name]
            upright(axes, pd.Series(start + place, index=row.index), row, look(name))
        middle = start + (len(methods) - 1) / 2
        ticks[middle] = f"{demonstrations:,.0f} demonstrations\n{preferences:,.0f} preferences"
        start += len(methods) + 2
    axes.set_xticks(list(ticks), labels=list(ticks.values()))
    axes.set_xlim(-2, start - 1)
    axes.grid(visible=False, axis="x")
    axes.tick_params(axis="x", length=0)


def totals(table: pd.DataFrame, *, metric: str = "flops") -> Plate:
    """Draw the cost of making and answering together against answered prompts (both log), a panel a task.

    `table`: task, method, prompts, total, of the cost that `metric` names.
    """
    need(table, ("task", "method", "prompts", "total"), what="totals")
    with theme():
        tasks = sorted(set(table["task"]))
        figure, grid = plate(1, len(tasks), height=3.8, sharey=True)
        for place, (axes, task) in enumerate(zip(grid[0], tasks, strict=True)):
            for name in in_order(table["method"]):
                rows = table[(table["task"] == task) & (table["method"] == name)]
                line(axes, rows["prompts"], rows["total"], look(name), markevery=8, markersize=5)
            axes.set(title=task, xlabel="answered prompts", xscale="log", yscale="log")
            axes.set_ylabel(AXES[metric] if place == 0 else "")
        legend_below(figure, columns=3)
    figure.caption = f"{AXES[metric]}: making a method, and answering so many prompts with it."
    figure.data = table
    return figure
