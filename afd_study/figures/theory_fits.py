"""Still figures of fits: which law a small policy reaches under each divergence, and what it covers."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from afd_study.figures.panels import band, line
from afd_study.figures.style import METHODS, Plate, legend_below, need, plate, theme
from afd_study.figures.text import share
from afd_study.figures.theory_plots import DIVERGENCE_LOOKS, known_divergences

BROWN = METHODS["demonstrations"].colour


def fitted_curves(laws: pd.DataFrame, scores: pd.DataFrame, *, columns: int = 4) -> Plate:
    """Draw the demonstrator and the best fit under each divergence, a panel each, from covering to seeking.

    `laws`: x, demo, and a column of probabilities for each divergence. `scores`: divergence, coverage,
    precision, written into the panels.
    """
    need(scores, ("divergence", "coverage", "precision"), what="fitted_curves' scores")
    names = known_divergences(scores["divergence"])
    need(laws, ("x", "demo", *names), what="fitted_curves' laws")
    rows = -(-len(names) // columns)
    by_name = scores.set_index("divergence")
    with theme():
        figure, grid = plate(rows, columns, height=0.4 + 1.75 * rows, sharex=True, sharey=True)
        for axes, name in zip(grid.flat, names, strict=False):
            style = DIVERGENCE_LOOKS[name]
            axes.fill_between(laws["x"], laws["demo"], color=BROWN, alpha=0.28, linewidth=0)
            axes.plot(laws["x"], laws[name], color=style.colour, linewidth=2)
            axes.set_title(style.label)
            coverage, precision = (share(by_name[score][name]) for score in ("coverage", "precision"))
            text = f"covers {coverage}\nprecise {precision}"
            axes.text(0.97, 0.95, text, transform=axes.transAxes, ha="right", va="top", fontsize=7.5)
            axes.set_yticks([])
            axes.grid(visible=False)
        for axes in list(grid.flat)[len(names) :]:
            axes.set_visible(False)
    figure.caption = "The demonstrator (filled) and the best Gaussian under each divergence (line)."
    return figure


def fitted_bars(laws: pd.DataFrame, *, names: Sequence[str], most: int = 14) -> Plate:
    """Draw the laws of responses of the demonstrator and of fits, for the `most` likely responses.

    `laws`: response, demo, and a column for each of `names`; ordered by the demonstrator.
    """
    need(laws, ("response", "demo", *names), what="fitted_bars")
    ranked = laws.assign(top=laws[["demo", *names]].max(axis=1)).nlargest(most, "top")
    rows = ranked.sort_values("demo", ascending=False).reset_index(drop=True)
    with theme():
        figure, grid = plate(1, 1, height=4.0)
        axes = grid[0, 0]
        width = 0.8 / (len(names) + 1)
        bars = [("demo", BROWN, "demonstrator")]
        bars += [(name, DIVERGENCE_LOOKS[name].colour, DIVERGENCE_LOOKS[name].label) for name in names]
        for place, (name, colour, label) in enumerate(bars):
            at = [k + width * (place - len(names) / 2) for k in range(len(rows))]
            axes.bar(at, rows[name], width=width, color=colour, label=label)
        axes.set_xticks(range(len(rows)), labels=rows["response"], rotation=45, ha="right", fontsize=8)
        axes.set(ylabel="probability")
        axes.grid(visible=False, axis="x")
        legend_below(figure)
    figure.caption = "Laws of responses: the demonstrator's and the best fits', likeliest responses first."
    return figure


def measured(
    table: pd.DataFrame,
    *,
    x: str,
    measures: Mapping[str, str],
    label: str,
    rows: str | None = None,
    log: bool = False,
) -> Plate:
    """Draw measures against `x`, a panel each and a line for each divergence, with bands over repeats.

    Args:
        table: divergence, `x`, the measures; several rows a point (such as draws) give their mean, and a band
            from the lowest to the highest tenth.
        x: what varies.
        measures: columns to draw, and their titles.
        label: of the x axis.
        rows: a column that splits rows of panels, or None.
        log: whether x is on a logarithmic scale.
    """
    need(table, ("divergence", x, *measures, *([rows] if rows else [])), what="measured")
    parts = [("", table)]
    if rows is not None:
        parts = [(f", {rows} {value:g}", part) for value, part in table.groupby(rows)]
    size = (len(parts), len(measures))
    with theme():
        figure, grid = plate(*size, height=0.9 + 2.3 * len(parts), sharex=True, sharey=True)
        for panels, (where, part) in zip(grid, parts, strict=True):
            for axes, (measure, title) in zip(panels, measures.items(), strict=True):
                _with_bands(axes, part, x, measure)
                axes.set(title=f"{title}{where}", ylim=(-0.03, 1.05))
        ticks = sorted(table[x].unique())
        for axes in grid[-1]:
            axes.set_xlabel(label)
            if log:
                axes.set_xscale("log")
            axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        legend_below(figure)
    figure.caption = f"{', '.join(measures.values())} of policies fitted by each divergence."
    return figure


def _with_bands(axes: Axes, part: pd.DataFrame, x: str, measure: str) -> None:
    """Draw one measure: a line of means for each divergence, and a band over repeats."""
    for name in known_divergences(part["divergence"]):
        points = part[part["divergence"] == name].groupby(x)[measure]
        mean, style = points.mean(), DIVERGENCE_LOOKS[name]
        spread = pd.DataFrame({"low": points.quantile(0.1), "high": points.quantile(0.9)})
        band(axes, mean.index, spread, style, alpha=0.15)
        line(axes, mean.index, mean, style)
