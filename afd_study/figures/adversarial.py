"""Still figures of adversarial imitation: covering against seeking, and how policy and discriminator went."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from afd_study.figures.panels import INTERVAL, line
from afd_study.figures.style import (
    RULE,
    Plate,
    error_bars,
    in_order,
    legend_below,
    look,
    name_rows,
    need,
    plate,
    theme,
)

PLANES = {
    "coverage and precision": ("coverage", "precision", "coverage (share)", "precision (share)"),
    "coverage of good demonstrations and good share": (
        *("coverage_of_good", "good_share"),
        *("coverage of good (share)", "good share"),
    ),
    "forward and reverse KL": (
        *("forward_kl", "reverse_kl"),
        *("KL(demo || policy), nats", "KL(policy || demo), nats"),
    ),
}
"""What a row of panels shows -> the metrics across and up, and their labels."""
OWN = {"reverse_kl": "reverse KL", "jensen_shannon": "Jensen-Shannon", "forward_kl": "forward KL"}
COURSES = {
    "accuracy": "accuracy (share)",
    "mean_abs_logit": "mean |logit| (nats)",
    "length": "length (tokens)",
}


def covering(table: pd.DataFrame) -> Plate:
    """Draw a row of panels a plane of PLANES, a column a task and setting, a cross a policy.

    `table`: task, setting, method, metric, mean, low, high; the crosses' arms are the intervals. A plane of
    which the table lacks a metric is left out.
    """
    need(table, ("task", "setting", "method", "metric", *INTERVAL), what="covering")
    cells = list(dict.fromkeys(zip(table["task"], table["setting"], strict=True)))
    planes = {name: plane for name, plane in PLANES.items() if set(plane[:2]) <= set(table["metric"])}
    with theme():
        figure, grid = plate(len(planes), len(cells), height=2.8 * len(planes))
        for column, (task, setting) in enumerate(cells):
            part = table[(table["task"] == task) & (table["setting"] == setting)]
            for row, (across, up, xlabel, ylabel) in enumerate(planes.values()):
                axes = grid[row, column]
                for name in in_order(part["method"]):
                    _cross(axes, part[part["method"] == name].set_index("metric"), across, up, name)
                axes.xaxis.set_major_locator(MaxNLocator(4))
                axes.set(xlabel=xlabel, ylabel=ylabel if column == 0 else "")
            grid[0, column].set_title(f"{task}\n{setting}")
        legend_below(figure, columns=3)
    figure.caption = (
        f"Covering and seeking, from above: {', '.join(planes)}. Bars: 95 % t-intervals over seeds."
    )
    figure.data = table
    return figure


def _cross(axes: Axes, intervals: pd.DataFrame, across: str, up: str, name: str) -> None:
    """Draw a policy at two metrics, which index `intervals`; nothing where it lacks one of them."""
    if not {across, up} <= set(intervals.index):
        return
    x, y, style = intervals.loc[across], intervals.loc[up], look(name)
    bars: dict[str, Any] = {"color": style.colour, "lw": 1.0, "alpha": 0.6, "zorder": 2}
    axes.plot([x["low"], x["high"]], [y["mean"]] * 2, **bars)
    axes.plot([x["mean"]] * 2, [y["low"], y["high"]], **bars)
    dot: dict[str, Any] = {"color": style.colour, "markersize": 7, "label": style.label}
    if style.control:
        dot["markerfacecolor"] = "white"
    axes.plot(x["mean"], y["mean"], style.marker, **dot)


def courses(table: pd.DataFrame, methods: list[str]) -> Plate:
    """Draw the discriminator's accuracy and logits and the samples' length against the policy's step.

    `table`: task, method, step, and the columns of COURSES; a row of panels each, a column a task.
    """
    need(table, ("task", "method", "step", *COURSES), what="courses")
    rows = table[table["method"].isin(methods)]
    tasks = sorted(set(rows["task"]))
    with theme():
        figure, grid = plate(len(COURSES), len(tasks), height=6.0, sharex=True, sharey="row")
        for column, task in enumerate(tasks):
            for row, (metric, label) in enumerate(COURSES.items()):
                axes = grid[row, column]
                for name in in_order(methods):
                    part = rows[(rows["task"] == task) & (rows["method"] == name)].sort_values("step")
                    line(axes, part["step"], part[metric], look(name), markersize=4)
                if metric == "accuracy":
                    axes.axhline(0.5, **RULE)
                axes.set(ylabel=label if column == 0 else "")
            grid[0, column].set_title(task)
            grid[-1, column].set_xlabel("step of the policy")
        legend_below(figure, columns=3)
    figure.caption = (
        "The discriminator's accuracy (the line is a coin's) and logits, and how long samples are. "
        "Means over seeds."
    )
    figure.data = rows
    return figure


def objectives(table: pd.DataFrame) -> Plate:
    """Draw by how much each run changed its own objective, a column a task, a row of panels a divergence.

    `table`: task, method, divergence, mean, low, high (of the change, nats a response). Left of the line a
    run did what its method descends.
    """
    need(table, ("task", "method", "divergence", *INTERVAL), what="objectives")
    tasks, divergences = (
        sorted(set(table["task"])),
        [name for name in OWN if name in set(table["divergence"])],
    )
    methods = {name: in_order(table["method"][table["divergence"] == name])[::-1] for name in divergences}
    height = 0.3 * sum(map(len, methods.values())) + 0.9 * len(divergences)
    with theme():
        figure, grid = plate(len(divergences), len(tasks), height=height, sharey="row")
        for row, (name, arms) in enumerate(methods.items()):
            for column, task in enumerate(tasks):
                axes = grid[row, column]
                part = table[(table["task"] == task) & (table["divergence"] == name)].set_index("method")
                axes.axvline(0, **RULE)
                for place, method in enumerate(arms):
                    error_bars(axes, part.loc[[method]], [place], value="mean", style=look(method))
                name_rows(axes, [look(method).label for method in arms])
                axes.set_title(f"{task}: {OWN[name]}")
        for axes in grid[-1]:
            axes.set_xlabel("end - start (nats)")
    figure.caption = "Change of each run's own objective. Bars: 95 % t-intervals over seeds."
    figure.data = table
    return figure
