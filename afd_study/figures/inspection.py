"""Still figures of what went in and what was learned: losses, texts told apart, the judge's components.

Notebooks find them in `plots`, beside the figures of results.
"""

import pandas as pd
from matplotlib.axes import Axes

from afd_study.figures.style import (
    LEVELS,
    METHODS,
    RULE,
    Look,
    Plate,
    error_bars,
    in_order,
    legend_below,
    look,
    name_rows,
    need,
    plate,
    seed_phrase,
    theme,
)


def training_curves(table: pd.DataFrame, *, unit: str = "nats", columns: int = 3) -> Plate:
    """Draw training and validation loss against optimiser steps, a panel a model, a line a seed.

    `table`: model, step, training_loss, validation_loss, and seed where there are several. The lowest
    validation loss, where training stops by it, is marked.
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
    names = ("training", "validation") if labelled else ("_training", "_validation")
    axes.plot(
        run["step"], run["training_loss"], color=style.colour, linewidth=0.9, linestyle=":", label=names[0]
    )
    axes.plot(run["step"], run["validation_loss"], color=style.colour, linewidth=1.7, label=names[1])
    best = run.sort_values("validation_loss", kind="stable").iloc[0]
    axes.plot([best["step"]], [best["validation_loss"]], "o", color=style.colour, markeredgecolor="white")


ADJUSTMENTS = {
    "none": Look("as they are", "#0072B2", "-", "o"),
    "length residualised": Look("length taken out by regression", "#009E73", "-", "s"),
    "length matched": Look("compared at equal length", "#D55E00", "-", "D"),
}


def separability(table: pd.DataFrame) -> Plate:
    """Draw the AUCs with which simple readers tell two sources apart, a panel for each pair of sources.

    `table`: positive, negative, features, adjustment, auc, low, high (evaluation.separability).
    """
    need(table, ("positive", "negative", "features", "adjustment", "auc", "low", "high"), what="separability")
    pairs = list(dict.fromkeys(zip(table["positive"], table["negative"], strict=True)))
    features = list(dict.fromkeys(table["features"]))[::-1]
    used = [name for name in ADJUSTMENTS if name in set(table["adjustment"])]
    with theme():
        figure, grid = plate(1, len(pairs), height=1.2 + 0.3 * len(features), sharex=True, sharey=True)
        for axes, (positive, negative) in zip(grid[0], pairs, strict=True):
            axes.axvline(0.5, **RULE)
            part = table[(table["positive"] == positive) & (table["negative"] == negative)]
            for name in used:
                rows, style = part[part["adjustment"] == name], ADJUSTMENTS[name]
                places = [
                    features.index(feature) + _shift(part, feature, name) for feature in rows["features"]
                ]
                error_bars(axes, rows, places, value="auc", style=style, markersize=5.5, label=style.label)
            name_rows(axes, features)
            axes.set(
                title=f"{_source(positive)} against {_source(negative)}", xlabel="AUC on held-out prompts"
            )
        legend_below(figure)
    figure.caption = (
        "With what AUC simple readers tell two sources apart on held-out prompts (0.5: not at all); "
        f"bars: {seed_phrase(table)}."
    )
    figure.data = table
    return figure


def _shift(part: pd.DataFrame, feature: str, adjustment: str) -> float:
    """Return how far above its row a point lies, so that its feature's adjustments are centred."""
    present = [
        name for name in ADJUSTMENTS if name in set(part.loc[part["features"] == feature, "adjustment"])
    ]
    return 0.22 * ((len(present) - 1) / 2 - present.index(adjustment))


def _source(name: str) -> str:
    return METHODS[name].label if name in METHODS else str(name)


def components(table: pd.DataFrame, *, unit: str = "points") -> Plate:
    """Draw the judge's components (and their sum) for each source or method side by side.

    `table`: method, component, mean, and where known low and high. Components keep the table's order.
    """
    need(table, ("method", "component", "mean"), what="components")
    names = sorted(in_order(table["method"]), key=lambda name: name not in LEVELS)
    parts = list(dict.fromkeys(table["component"]))[::-1]
    with theme():
        figure, grid = plate(1, 1, height=1.2 + (0.16 + 0.12 * len(names)) * len(parts))
        axes = grid[0, 0]
        axes.axvline(0, **RULE)
        for rank, name in enumerate(names):
            rows = table[table["method"] == name]
            offset = 0.72 * ((len(names) - 1) / 2 - rank) / max(1, len(names))
            places = [parts.index(part) + offset for part in rows["component"]]
            error_bars(axes, rows, places, value="mean", style=look(name), label=look(name).label)
        name_rows(axes, parts)
        axes.set_xlabel(f"contribution to the judge's score ({unit})")
        legend_below(figure)
    figure.caption = f"The judge's components, which sum to its score. Bars: {seed_phrase(table)}."
    figure.data = table
    return figure
