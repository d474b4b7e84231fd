"""The still figure of training: losses of every model that a study trains."""

import pandas as pd
from matplotlib.axes import Axes

from afd_study.figures.style import METHODS, Look, Plate, need, plate, theme


def training_curves(table: pd.DataFrame, *, unit: str = "nats", columns: int = 3) -> Plate:
    """Draw training and validation loss against optimiser steps, a panel a model, a line a seed.

    `table`: model, step, training_loss, validation_loss, and seed where there are several. A dot marks the
    lowest validation loss, whose weights early stopping keeps. `columns`: panels side by side.
    """
    need(table, ("model", "step", "training_loss", "validation_loss"), what="training_curves")
    models = list(dict.fromkeys(table["model"]))
    across = min(columns, len(models))
    down = -(-len(models) // across)
    with theme():
        figure, grid = plate(down, across, height=0.6 + 2.0 * down)
        for axes, model in zip(grid.flat, models, strict=False):
            style = METHODS.get(model, Look(str(model), "#3B4A6B"))
            rows = table[table["model"] == model]
            runs = [part for _, part in rows.groupby("seed")] if "seed" in rows.columns else [rows]
            for run in runs:
                _losses(axes, run.sort_values("step"), style, labelled=run is runs[0])
            axes.set_title(style.label)
        for axes in list(grid.flat)[len(models) :]:
            axes.set_visible(False)
        figure.supxlabel("optimiser steps", fontsize=9)
        figure.supylabel(f"loss ({unit})", fontsize=9)
        grid[0, 0].legend(fontsize=8)
    figure.caption = "Training (dotted) and validation loss; the dot marks the lowest, which is kept."
    figure.data = table
    return figure


def _losses(axes: Axes, run: pd.DataFrame, style: Look, *, labelled: bool) -> None:
    """Draw one run; matplotlib leaves labels that begin with "_" out of the legend."""
    hidden, steps = "" if labelled else "_", run["step"]
    axes.plot(steps, run["training_loss"], ":", color=style.colour, linewidth=0.9, label=f"{hidden}training")
    axes.plot(steps, run["validation_loss"], color=style.colour, linewidth=1.7, label=f"{hidden}validation")
    best = run.sort_values("validation_loss", kind="stable").iloc[0]
    axes.plot([best["step"]], [best["validation_loss"]], "o", color=style.colour, markeredgecolor="white")
