"""Still figures of policies beyond picking: judge against nats, scores reached, how pairs' sides moved."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from afd_study.figures.panels import INTERVAL, band, demonstrations_across, line
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

TICKS = (0, 1, 2, 4, 8, 16, 32)
ALONG = {"judge": "judge points", "off_grammar": "off the grammar (share)"}
SIDES = {"preferred_logprob": ("raised", "-"), "rejected_logprob": ("lowered", "--")}


def ways(table: pd.DataFrame, levels: pd.DataFrame) -> Plate:
    """Draw judge (above) and proxy (below) against KL to pi_SFT (root scale), a column a task, a line a way.

    `table`: task, method, kl, proxy, mean, low, high; `levels`: task, method, mean, of which the
    demonstrations' own score is drawn across.
    """
    need(table, ("task", "method", "kl", "proxy", *INTERVAL), what="ways")
    tasks = sorted(set(table["task"]))
    with theme():
        figure, grid = plate(2, len(tasks), height=5.2, sharex="col")
        for column, task in enumerate(tasks):
            judge, proxy = grid[0, column], grid[1, column]
            for name in in_order(table["method"]):
                rows, style = table[(table["task"] == task) & (table["method"] == name)], look(name)
                band(judge, rows["kl"], rows, style, alpha=0.13)
                line(judge, rows["kl"], rows["mean"], style, markersize=5)
                line(proxy, rows["kl"], rows["proxy"], style, markersize=5)
            demonstrations_across(judge, levels, task)
            judge.set(title=task, ylabel="judge points" if column == 0 else "")
            proxy.set(xlabel="KL to the SFT policy (nats)", ylabel="proxy (nats)" if column == 0 else "")
            proxy.set_xscale("function", functions=(_root, np.square))  # ways differ most near their start
            ticks = [tick for tick in TICKS if tick <= 1.05 * table[table["task"] == task]["kl"].max()]
            proxy.set_xticks(ticks, labels=[str(tick) for tick in ticks])
        legend_below(figure)
    figure.caption = (
        "Judge and proxy (the Init-SFT reward) against KL(policy || pi_SFT). "
        "Bands: 95 % t-intervals over seeds."
    )
    figure.data = table
    return figure


def _root(nats: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(nats, 0))


def reached(table: pd.DataFrame) -> Plate:
    """Draw the judge's mean of every policy, a panel a task: task, method, mean, low, high."""
    need(table, ("task", "method", *INTERVAL), what="reached")
    tasks, methods = sorted(set(table["task"])), in_order(table["method"])[::-1]
    with theme():
        figure, grid = plate(1, len(tasks), height=0.28 * len(methods) + 0.9, sharey=True)
        for axes, task in zip(grid[0], tasks, strict=True):
            part = table[table["task"] == task].set_index("method")
            axes.axvline(part.loc["demonstrations", "mean"], **RULE)
            for place, name in enumerate(methods):
                error_bars(axes, part.loc[[name]], [place], value="mean", style=look(name))
            name_rows(axes, [look(name).label for name in methods])
            axes.set(title=task, xlabel="judge points")
    figure.caption = "Judge's mean of each policy's own samples. Bars: 95 % t-intervals over seeds."
    figure.data = table
    return figure


def sides(table: pd.DataFrame, methods: list[str]) -> Plate:
    """Draw the log-probabilities of both sides of validation pairs against the step, less their start.

    `table`: task, method, step, preferred_logprob, rejected_logprob (nats a response).
    """
    need(table, ("task", "method", "step", *SIDES), what="sides")
    rows = table[table["method"].isin(methods)]
    tasks = sorted(set(rows["task"]))
    with theme():
        figure, grid = plate(1, len(tasks), height=3.2)
        for place, (axes, task) in enumerate(zip(grid[0], tasks, strict=True)):
            axes.axhline(0, **RULE)
            for name in in_order(methods):
                part = rows[(rows["task"] == task) & (rows["method"] == name)].sort_values("step")
                style = look(name)
                for column, (side, dash) in SIDES.items():
                    change, label = part[column] - part[column].iloc[0], f"{style.label}: {side}"
                    axes.plot(part["step"], change, dash, color=style.colour, label=label)
            ylabel = "change of log-probability (nats)" if place == 0 else ""
            axes.set(title=task, xlabel="step", ylabel=ylabel)
        legend_below(figure, columns=2)
    figure.caption = "Log-probability of validation responses that are raised and lowered, means over seeds."
    figure.data = rows
    return figure


def direct_paths(table: pd.DataFrame, stops: pd.DataFrame, levels: pd.DataFrame) -> Plate:
    """Draw the judge (above) and the share off the grammar (below) along direct methods' runs, by task.

    `table`: task, method, step, judge, off_grammar. `stops`: task, method, stop, metric, mean, of which the
    validated stop is a filled and the oracle's a hollow mark. `levels`: task, method, mean, of which the
    demonstrations' score is drawn across.
    """
    need(table, ("task", "method", "step", *ALONG), what="direct_paths")
    need(stops, ("task", "method", "stop", "metric", "mean"), what="direct_paths")
    tasks = sorted(set(table["task"]))
    with theme():
        figure, grid = plate(len(ALONG), len(tasks), height=5.0, sharex=True, sharey="row")
        for column, task in enumerate(tasks):
            for row, (metric, ylabel) in enumerate(ALONG.items()):
                axes = grid[row, column]
                for name in in_order(table["method"]):
                    part = table[(table["task"] == task) & (table["method"] == name)].sort_values("step")
                    line(axes, part["step"], part[metric], look(name), marker="")
                    own = stops[(stops["task"] == task) & (stops["method"] == name)]
                    _stops(axes, own.set_index(["stop", "metric"])["mean"], metric, name)
                axes.set(ylabel=ylabel if column == 0 else "")
            demonstrations_across(grid[0, column], levels, task)
            grid[0, column].set_title(task)
            grid[-1, column].set_xlabel("step")
        legend_below(figure, columns=3)
    figure.caption = (
        "Judge, and share of samples with a sentence that nobody would write, along each run (means over "
        "seeds). Filled: the stop by validation loss. Hollow: an oracle's stop, by the judge."
    )
    figure.data = table
    return figure


def _stops(axes: Axes, means: pd.Series, metric: str, name: str) -> None:
    """Mark both stops of a method at their mean step."""
    for stop, fill in (("validated", look(name).colour), ("oracle", "white")):
        place = means[stop, "stop_step"], means[stop, metric]
        axes.plot(*place, look(name).marker, color=look(name).colour, markerfacecolor=fill, markersize=7)
