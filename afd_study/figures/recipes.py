"""The still figure of recipes: what free samples and a batch that uses them are worth."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from afd_study.figures.panels import powers_of_two
from afd_study.figures.style import Look, Plate, legend_below, look, need, plate, theme

COLUMNS = ("task", "world", "kind", "batch", "times", "mean", "random_16", "demonstrations")
LINES = ("-", "--", ":")  # of batches, the largest first


def learning_curve(table: pd.DataFrame) -> Plate:
    """Draw how far picks of 16 rise above a random pick over free samples, a panel for each task and kind.

    `table` (study.chapters.recipes.learning_curve): a row a world, kind, batch and number of samples a
    demonstration. Thin lines are worlds, thick ones their mean; the height is the judge's mean less a random
    pick's, of which the demonstrations' lead is the level.

    Raises DataError for a table that lacks columns or rows, SpecError for a kind without a look.
    """
    need(table, COLUMNS, what="the curve over free samples")
    tasks, kinds = list(dict.fromkeys(table["task"])), list(dict.fromkeys(table["kind"]))
    with theme():
        figure, grid = plate(len(kinds), len(tasks), height=2.5 * len(kinds) + 0.6)
        for row, kind in zip(grid, kinds, strict=True):
            for axes, task in zip(row, tasks, strict=True):
                part = table[(table["kind"] == kind) & (table["task"] == task)]
                _panel(axes, part, look(str(kind)))
                axes.set_title(f"{task}: {look(str(kind)).label}")
            row[0].set_ylabel("points above random")
        for axes in grid[-1]:
            axes.set_xlabel("free samples a demonstration")
        legend_below(figure)
    worlds = table.groupby("task")["world"].nunique().max()
    figure.caption = (
        "Judge's mean of the best of 16 by reward models, less that of a random pick, over the free samples "
        f"that they learned from. Thin lines: {worlds} exploration worlds, each the mean of its reward "
        "models; thick lines: their mean. Every model sees as many pairs in training."
    )
    figure.data = table[list(COLUMNS)]
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, style: Look) -> None:
    rows = rows.assign(
        lead=rows["mean"] - rows["random_16"], level=rows["demonstrations"] - rows["random_16"]
    )
    for line, (batch, own) in zip(LINES, sorted(rows.groupby("batch"), reverse=True), strict=False):
        for _, world in own.groupby("world"):
            world = world.sort_values("times")
            axes.plot(world["times"], world["lead"], line, color=style.colour, linewidth=0.7, alpha=0.4)
        means = own.groupby("times")["lead"].mean()
        filled = style.colour if line == LINES[0] else "white"
        mark: dict[str, Any] = {
            "marker": "o",
            "markerfacecolor": filled,
            "linewidth": 2,
            "label": f"batch {batch}",
        }
        axes.plot(means.index, means, line, color=style.colour, **mark)
    level = rows.drop_duplicates("world")["level"].mean()
    demonstrations = look("demonstrations")
    axes.axhline(
        level, color=demonstrations.colour, linestyle=demonstrations.line, label=demonstrations.label
    )
    axes.axhline(0, color="#777777", linewidth=0.8, zorder=0)
    powers_of_two(axes, rows["times"])


def gain_words(gains: pd.DataFrame) -> str:
    """Say what free samples are worth on average over worlds (study.chapters.recipes.gains), kind by kind."""
    return "\n".join(
        f"{look(str(kind)).label}: {own['today'].mean():.2f} points with as many samples as demonstrations, "
        f"{own['most'].mean():.2f} with ten times as many and a batch of 128; more in "
        f"{int((own['gain'] > 0).sum())} of {len(own)} worlds"
        for kind, own in gains.groupby("kind", sort=False)
    )


def choice_words(chosen: pd.DataFrame) -> str:
    """Say which recipe each kind gets, by the held-out loss and by the judge (chapters.recipes.chosen)."""
    table = chosen.pivot(index=["samples", "kind"], columns="criterion", values="recipe").reset_index()
    return "\n".join(
        f"{look(row['kind']).label}, {row['samples']}: '{row['held_out_loss']}' by held-out loss, "
        f"'{row['judge']}' by the judge"
        for row in table.to_dict("records")
    )


def beside_words(beside: pd.DataFrame) -> str:
    """Say what two changes that no rule chose do (study.chapters.recipes.beside)."""
    return "\n".join(
        f"{look(row['kind']).label}, {row['change']}: {row['points']:+.2f} points; a higher held-out loss in "
        f"{row['n_higher_loss']} of {row['n_worlds']} worlds"
        for row in beside.to_dict("records")
    )
