"""Still figures of the map: a quantity of every cell, who picks best in it, and what foretells it."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from afd_study.errors import DataError, unknown_name
from afd_study.figures.panels import INTERVAL
from afd_study.figures.style import RULE, Look, Plate, in_order, legend_below, look, need, plate, theme

CELL = ("task", "h", "a", "matched", "quantity", "method", *INTERVAL)
PALETTE = "vlag_r"  # diverging, safe for colour-blind readers; blue: in favour
QUANTITIES = {
    "lead": ("Lead of Init-SFT over {}", "share of the gap"),
    "score": ("Score of the {}", "judge points"),
    "gain": ("Gain of the {} over the initial policy", "judge points"),
    "auc": ("{}: held-out AUC of the discriminator at its own sources", "AUC"),
    "share": ("{}: share of the way from a random pick to the oracle", "share of the gap"),
}
"""What the map shows of a method, and in which unit."""
TASK_LOOKS = {"harmless": Look("harmless", "#0072B2"), "helpful": Look("helpful", "#D55E00", "-", "s")}
FURTHER = (("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"), ("#000000", "X"))
"""Colours and markers of tasks without a look of their own."""


def task_looks(tasks: Iterable[str]) -> dict[str, Look]:
    """Return a look for each task, first those of TASK_LOOKS; further tasks take FURTHER by name, in turn."""
    own = set(tasks)
    further = sorted(own - set(TASK_LOOKS))
    turns = [FURTHER[place % len(FURTHER)] for place in range(len(further))]
    derived = {
        name: Look(name, colour, "-", marker) for name, (colour, marker) in zip(further, turns, strict=True)
    }
    return {name: style for name, style in (TASK_LOOKS | derived).items() if name in own}


def map_of(cells: pd.DataFrame, quantity: str, method: str) -> Plate:
    """Draw one quantity of every cell, a panel a task: h downwards, a across, the mean with its interval.

    `cells`: evaluation.heterogeneity_map.map_intervals. A lead is bold where its interval leaves out zero.

    Raises SpecError for an unknown quantity, DataError where the table holds no such quantity of the method.
    """
    need(cells, CELL, what="map_of")
    if quantity not in QUANTITIES:
        raise unknown_name("quantity of the map", quantity, QUANTITIES)
    rows = cells[(cells["quantity"] == quantity) & (cells["method"] == method)]
    rows = rows[~rows["matched"].astype(bool)]
    if rows.empty:
        held = sorted({f"{q} of {m}" for q, m in zip(cells["quantity"], cells["method"], strict=True)})
        raise DataError(f"the map holds no {quantity} of {method}; it holds {', '.join(held)}")
    bold: pd.Series | bool = False
    colours: dict[str, Any] = {"cmap": "viridis"}
    if quantity == "lead":
        bold, bound = (rows["low"] > 0) | (rows["high"] < 0), float(rows["mean"].abs().max())
        colours = {"cmap": PALETTE, "center": 0.0, "vmin": -bound, "vmax": bound}
    labels = [f"{mean:.2f}\n[{low:.2f}, {high:.2f}]" for mean, low, high in rows[[*INTERVAL]].to_numpy()]
    figure = _panels(rows.assign(colour=rows["mean"], label=labels, bold=bold), colours)
    (title, unit), emphasis = QUANTITIES[quantity], ", bold where it leaves out zero"
    figure.caption = (
        f"{title.format(look(method).label)} ({unit}): mean [95 % interval, t over "
        f"{int(rows['n_seeds'].max())} seeds]{emphasis if quantity == 'lead' else ''}."
    )
    figure.data = rows[["task", "h", "a", "quantity", "method", *INTERVAL, "n_seeds"]]
    return figure


def winners(table: pd.DataFrame) -> Plate:
    """Draw who picks best in every cell (evaluation.heterogeneity_map.winners), a panel a task.

    Cells have their winners' colours. They are bold where the difference of Init-SFT and its best rival
    excludes zero; matched cells are left out.
    """
    need(table, ("task", "h", "a", "matched", "winner", "share", "decided"), what="winners")
    rows = table[~table["matched"].astype(bool)]
    names = in_order(rows["winner"])
    palette = ListedColormap([sns.light_palette(look(name).colour, 5)[2] for name in names])
    both = zip(rows["winner"], rows["share"], strict=True)
    labels = [f"{look(name).label}\n{share:.2f}" for name, share in both]
    cells = rows.assign(colour=rows["winner"].map(names.index), label=labels, bold=rows["decided"])
    figure = _panels(cells, {"cmap": palette, "vmin": -0.5, "vmax": len(names) - 0.5})
    figure.caption = (
        "Who picks best from demonstrations alone at n = 16, and the share of the random-to-oracle gap "
        "reached; bold where the difference of Init-SFT and its best rival excludes zero."
    )
    figure.data = rows
    return figure


def _panels(rows: pd.DataFrame, colours: dict[str, Any]) -> Plate:
    """Draw a panel a task: h downwards and a across, by the columns colour, label and bold."""
    tasks = list(dict.fromkeys(rows["task"]))
    with theme():
        figure, grid = plate(1, len(tasks), height=1.1 + 0.55 * rows["h"].nunique(), sharey=True)
        for axes, task in zip(grid[0], tasks, strict=True):
            _panel(axes, rows[rows["task"] == task], colours)
            axes.set_title(task)
        grid[0, 0].set_ylabel("heterogeneity h")
    return figure


def _panel(axes: Axes, part: pd.DataFrame, colours: dict[str, Any]) -> None:
    names = ("colour", "label", "bold")
    grid, labels, bold = (part.pivot(index="h", columns="a", values=name) for name in names)
    texts: dict[str, Any] = {"annot": labels, "fmt": "", "annot_kws": {"fontsize": 7}}
    sns.heatmap(grid, ax=axes, cbar=False, linewidths=1.5, **texts, **colours)
    for text, clear in zip(axes.texts, bold.to_numpy().ravel(), strict=True):
        text.set_fontweight("bold" if clear else "normal")
    axes.set(xlabel="absorbed style a", ylabel="")
    axes.tick_params(axis="y", rotation=0)
    axes.grid(False)


def against_measured(cells: pd.DataFrame, *, rival: str = "init_demo", metric: str = "auc") -> Plate:
    """Draw, cell by cell, Init-SFT's lead over a rival against what a reader with real data can measure.

    Across: AUC of the rival's discriminator at its own sources minus that of Init-SFT's; up: the lead. Each
    task has a look of its own (`task_looks`).
    """
    need(cells, CELL, what="against_measured")
    keys = ["task", "h", "a", "matched"]
    auc = cells[cells["quantity"] == metric].pivot(index=keys, columns="method", values="mean")
    lead = cells[(cells["quantity"] == "lead") & (cells["method"] == rival)].set_index(keys)
    ahead = (auc[rival] - auc["init_sft"]).rename("measured")
    rows = lead[[*INTERVAL]].join(ahead).dropna().reset_index()
    with theme():
        figure, grid = plate(1, 1, height=3.6)
        axes = grid[0, 0]
        axes.axhline(0, **RULE)
        for task, style in task_looks(rows["task"]).items():
            part = rows[rows["task"] == task]
            bars: dict[str, Any] = {"color": style.colour, "alpha": 0.4, "linewidth": 1.2}
            axes.vlines(part["measured"], part["low"], part["high"], **bars)
            dots: dict[str, Any] = {"color": style.colour, "mec": "white", "label": style.label}
            axes.plot(part["measured"], part["mean"], style.marker, **dots)
        name = look(rival).label
        axes.set_xlabel(f"held-out AUC of {name} minus that of Init-SFT")
        axes.set_ylabel(f"lead of Init-SFT over {name}\n(share of the gap)")
        legend_below(figure)
    figure.caption = "Each point is a cell of the map; bars: 95 % intervals, t over seeds."
    figure.data = rows
    return figure
