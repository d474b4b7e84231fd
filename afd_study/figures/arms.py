"""Still figures of policies beyond picking: judge against nats, scores reached, how pairs' sides moved."""

import numpy as np
import pandas as pd

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
