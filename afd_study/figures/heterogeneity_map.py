"""Still figures of what was found: covering and seeking, the map of cells, the ledger of claims."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from afd_study.errors import DataError, unknown_name
from afd_study.figures.style import (
    RULE,
    Look,
    Plate,
    in_order,
    legend_below,
    look,
    need,
    plate,
    theme,
)

INTERVAL = ("mean", "low", "high")
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


def map_of(cells: pd.DataFrame, quantity: str, method: str) -> Plate:
    """Draw one quantity of every cell, a panel a task: h downwards, a across, the mean with its interval.

    `cells`: evaluation.atlas. A lead is bold where its interval leaves out zero.
    """
    need(cells, CELL, what="map_of")
    if quantity not in QUANTITIES:
        raise unknown_name("quantity of the map", quantity, QUANTITIES)
    centre = 0.0 if quantity == "lead" else None
    rows = cells[
        (cells["quantity"] == quantity) & (cells["method"] == method) & ~cells["matched"].astype(bool)
    ]
    if rows.empty:
        known = sorted({f"{q} of {m}" for q, m in zip(cells["quantity"], cells["method"], strict=True)})
        raise DataError(f"the map holds no {quantity} of {method}; it holds {', '.join(known)}")
    tasks = list(dict.fromkeys(rows["task"]))
    bound = float(rows["mean"].abs().max()) if centre is not None else None
    colours = {"cmap": PALETTE if centre is not None else "viridis", "center": centre, "vmax": bound}
    with theme():
        figure, grid = plate(1, len(tasks), height=1.1 + 0.55 * rows["h"].nunique(), sharey=True)
        for axes, task in zip(grid[0], tasks, strict=True):
            part = rows[rows["task"] == task]
            labels = [
                f"{mean:.2f}\n[{low:.2f}, {high:.2f}]" for mean, low, high in part[[*INTERVAL]].to_numpy()
            ]
            clear = (part["low"] > centre) | (part["high"] < centre) if centre is not None else False
            part = part.assign(colour=part["mean"], label=labels, bold=clear)
            _panel(axes, part, vmin=-bound if bound is not None else None, **colours)
            axes.set_title(task)
    title, unit = QUANTITIES[quantity]
    figure.caption = (
        f"{title.format(look(method).label)} ({unit}): mean [95 % interval, t over "
        f"{int(rows['n_seeds'].max())} seeds]{', bold where it leaves out zero' if centre == 0 else ''}."
    )
    figure.data = rows[["task", "h", "a", "quantity", "method", *INTERVAL, "n_seeds"]]
    return figure


def winners(table: pd.DataFrame) -> Plate:
    """Draw who picks best in every cell (evaluation.atlas.winners), a panel a task, in the methods' colours.

    Bold where the difference of Init-SFT and its best rival excludes zero; matched cells are left out.
    """
    need(table, ("task", "h", "a", "matched", "winner", "share", "decided"), what="winners")
    rows = table[~table["matched"].astype(bool)]
    tasks, names = list(dict.fromkeys(rows["task"])), in_order(rows["winner"])
    colours = ListedColormap([sns.light_palette(look(name).colour, 5)[2] for name in names])
    labels = [
        f"{look(name).label}\n{share:.2f}" for name, share in zip(rows["winner"], rows["share"], strict=True)
    ]
    told = rows.assign(colour=rows["winner"].map(names.index), label=labels, bold=rows["decided"])
    with theme():
        figure, grid = plate(1, len(tasks), height=1.1 + 0.55 * rows["h"].nunique(), sharey=True)
        for axes, task in zip(grid[0], tasks, strict=True):
            part = told[told["task"] == task]
            _panel(axes, part, cmap=colours, vmin=-0.5, vmax=len(names) - 0.5)
            axes.set_title(task)
    figure.caption = (
        "Who picks best from demonstrations alone at n = 16, and the share of the random-to-oracle gap "
        "reached; bold where the difference of Init-SFT and its best rival excludes zero."
    )
    figure.data = rows
    return figure


def _panel(axes: Axes, part: pd.DataFrame, **colours: Any) -> None:
    """Draw a task's cells, h downwards and a across, by columns colour, label and bold."""
    grid, labels, bold = (
        part.pivot(index="h", columns="a", values=name) for name in ("colour", "label", "bold")
    )
    sns.heatmap(
        grid, ax=axes, annot=labels, fmt="", annot_kws={"fontsize": 7}, cbar=False, linewidths=1.5, **colours
    )
    for text, clear in zip(axes.texts, bold.to_numpy().ravel(), strict=True):
        text.set_fontweight("bold" if clear else "normal")
    axes.set(xlabel="absorbed style a", ylabel="heterogeneity h")
    axes.grid(False)


def against_measured(cells: pd.DataFrame, *, rival: str = "init_demo", metric: str = "auc") -> Plate:
    """Draw, cell by cell, Init-SFT's lead over a rival against what a reader with real data can measure.

    Across: AUC of the rival's discriminator at its own sources minus that of Init-SFT's; up: the lead.
    """
    need(cells, CELL, what="against_measured")
    keys = ["task", "h", "a", "matched"]
    auc = cells[cells["quantity"] == metric].pivot(index=keys, columns="method", values="mean")
    lead = cells[(cells["quantity"] == "lead") & (cells["method"] == rival)].set_index(keys)
    told = (auc[rival] - auc["init_sft"]).rename("measured")
    rows = lead[[*INTERVAL]].join(told).dropna().reset_index()
    with theme():
        figure, grid = plate(1, 1, height=3.6)
        axes = grid[0, 0]
        axes.axhline(0, **RULE)
        for task, style in (
            ("harmless", Look("harmless", "#0072B2")),
            ("helpful", Look("helpful", "#D55E00", "-", "s")),
        ):
            part = rows[rows["task"] == task]
            axes.vlines(
                part["measured"], part["low"], part["high"], color=style.colour, alpha=0.4, linewidth=1.2
            )
            axes.plot(
                part["measured"],
                part["mean"],
                style.marker,
                color=style.colour,
                mec="white",
                label=style.label,
            )
        axes.set(
            xlabel=f"held-out AUC of {look(rival).label} minus that of Init-SFT",
            ylabel=f"lead of Init-SFT over {look(rival).label}\n(share of the gap)",
        )
        legend_below(figure)
    figure.caption = "Each point is a cell of the map; bars: 95 % intervals, t over seeds."
    figure.data = rows
    return figure
