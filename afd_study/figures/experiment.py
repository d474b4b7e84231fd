"""Still figures of the experiment: Best-of-n curves, levels, scorers, orderings, the judge's components.

Tables in, figures out: intervals come with the table (evaluation.statistics.interval,
evaluation.paper_orderings), and nothing is estimated here. Every function returns a Plate, whose `caption` is
plain text. Colours, lines and markers are those of style.METHODS.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, PercentFormatter

from afd_study.errors import DataError
from afd_study.figures.panels import INTERVAL, band, line
from afd_study.figures.style import (
    LEVELS,
    RULE,
    VERDICTS,
    Look,
    Plate,
    error_bars,
    facets,
    in_order,
    legend_below,
    look,
    name_rows,
    need,
    plate,
    seed_phrase,
    theme,
    verdict_legend,
)
from afd_study.figures.text import contrast_words

KEYS = ("setting", "heterogeneity", "task", "method", "n")  # what names a row of a figure's table
N_TICKS = (1, 2, 5, 10, 20, 50, 100, 200)
MARGINS = {"better": (1,), "not_worse": (-1,), "equal": (-1, 1)}
"""A comparison's kind -> on which sides of zero its margin lies."""
ORDERING = ("claim", "method", "than", "kind", "n", "margin", "effect", "low", "high", "verdict")


def best_of_n(
    intervals: pd.DataFrame,
    *,
    control: str = "random",
    facet: str | None = None,
    methods: Sequence[str] | None = None,
    levels: Sequence[str] = ("demonstrations",),
    unit: str = "points",
) -> Plate:
    """Draw the judge's expected value of Best-of-n against n, with bands, a panel for each setting.

    Args:
        intervals: statistics.interval of the outcomes: method, n, mean, low, high, and the facet's column.
        control: a method that must be in the table, and is named in the caption beside what it controls.
        facet: the column that splits panels; None takes the first that varies (style.facets).
        methods: those to draw; None draws all.
        levels: policies and demonstrations whose own score is a horizontal line, if the table has it.
        unit: of the judge.

    Raises DataError for a table without columns, rows or the control, SpecError for a method without a look.
    """
    need(intervals, ("method", "n", *INTERVAL), what="best_of_n")
    names = in_order(set(intervals["method"]) - set(LEVELS)) if methods is None else in_order(methods)
    if control not in set(intervals["method"]):
        raise DataError(
            f"the control '{control}' is not in the table; it holds {in_order(intervals['method'])}"
        )
    parts = facets(intervals, facet)
    with theme():
        figure, grid = plate(1, len(parts), height=4.3, sharey=True)
        for axes, (title, part) in zip(grid[0], parts, strict=True):
            for name in names:
                _curve(axes, part[part["method"] == name].sort_values("n"), look(name))
            for name in in_order(levels):
                _level_line(axes, part[part["method"] == name], look(name))
            _n_axis(axes, int(part["n"].max()))
            axes.set_title(title)
        grid[0, 0].set_ylabel(f"judge's score of the kept response ({unit})")
        legend_below(figure)
    figure.caption = (
        f"Best-of-n from the SFT policy's draws by {len(names)} selection rules, against the control "
        f"'{look(control).label}'. Bands: {seed_phrase(intervals)}."
    )
    figure.data = intervals[[*(name for name in KEYS if name in intervals.columns), *INTERVAL]]
    return figure


def _curve(axes: Axes, rows: pd.DataFrame, style: Look) -> None:
    """Draw a method's curve and band, with markers at N_TICKS; nothing of a method without rows."""
    if rows.empty:
        return
    size, width, order = (3.5, 1.1, 2) if style.control else (5, 2.0, 3)
    marked = [place for place, n in enumerate(rows["n"]) if n in N_TICKS]
    band(axes, rows["n"], rows, style, alpha=0.13)
    extra: dict[str, Any] = {"markevery": marked, "markersize": size, "linewidth": width, "zorder": order}
    line(axes, rows["n"], rows["mean"], style, **extra)


def _level_line(axes: Axes, rows: pd.DataFrame, style: Look) -> None:
    dashes: dict[str, Any] = {"color": style.colour, "linestyle": (0, (6, 3)), "linewidth": 1.3}
    if not rows.empty:
        axes.axhline(rows["mean"].iloc[0], label=style.label, **dashes)


def _n_axis(axes: Axes, largest: int) -> None:
    ticks = [n for n in N_TICKS if n <= largest]
    axes.set_xscale("log")
    axes.set_xticks(ticks, labels=[str(n) for n in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("n, responses drawn a prompt (log scale)")


def levels(intervals: pd.DataFrame, *, facet: str | None = None, unit: str = "points") -> Plate:
    """Draw the judge's mean of the initial policy, the SFT policy and the demonstrations, with intervals.

    `intervals`: method, mean, low, high (statistics.interval of evaluation.best_of_n.levels), and the
    facet's column.
    """
    need(intervals, ("method", *INTERVAL), what="levels")
    rows = intervals[intervals["method"].isin(LEVELS)]
    need(rows, (), what="levels: of pi_init, pi_sft and demonstrations, it")
    names = in_order(rows["method"])
    parts = facets(rows, facet)
    with theme():
        figure, grid = plate(1, len(parts), height=1.9, sharex=True, sharey=True)
        for axes, (title, part) in zip(grid[0], parts, strict=True):
            for place, name in enumerate(reversed(names)):
                row = part[part["method"] == name]
                error_bars(axes, row, [place] * len(row), value="mean", style=look(name))
            name_rows(axes, [look(name).label for name in reversed(names)])
            axes.set(title=title, xlabel=f"judge's score ({unit})")
    figure.caption = (
        f"Mean score of each source's own responses, without selection. Bars: {seed_phrase(rows)}."
    )
    figure.data = rows
    return figure


def scorer_diagnostics(
    table: pd.DataFrame, *, x: str = "accuracy", y: str = "rank_correlation", facet: str | None = None
) -> Plate:
    """Draw each scorer's rank correlation with the judge against its accuracy at its own training task.

    `table`: method, the columns `x` and `y`, and where it has them the bounds {x}_low, {x}_high, {y}_low and
    {y}_high. Rows with NaN are left out. A discriminator far right and low has learned something other than
    quality.
    """
    need(table, ("method", x, y), what="scorer_diagnostics")
    rows = table.dropna(subset=[x, y])
    need(rows, (), what="scorer_diagnostics")
    names, parts = in_order(rows["method"]), facets(rows, facet)
    with theme():
        figure, grid = plate(1, len(parts), height=3.9, sharex=True, sharey=True)
        for axes, (title, part) in zip(grid[0], parts, strict=True):
            axes.axhline(0, **RULE)
            axes.axvline(0.5, **RULE)
            for name in names:
                _cross(axes, part[part["method"] == name], look(name), x, y)
            axes.set(title=title, xlabel="accuracy on validation pairs")
            axes.margins(0.12)
        grid[0, 0].set_ylabel("rank correlation with the judge\n(Spearman, within prompt)")
        legend_below(figure)
    figure.caption = (
        "What a scorer was trained for (telling its two classes apart) against what it is used for (ranking "
        f"one prompt's responses as the judge does). Lines at chance. Bars: {seed_phrase(rows)}."
    )
    figure.data = rows
    return figure


def _cross(axes: Axes, rows: pd.DataFrame, style: Look, x: str, y: str) -> None:
    bars: dict[str, Any] = {"color": style.colour, "linewidth": 1.3, "alpha": 0.7, "zorder": 2}
    dots: dict[str, Any] = {"markersize": 7, "markeredgecolor": "white", "mew": 0.6, "zorder": 3}
    if {f"{x}_low", f"{x}_high"} <= set(rows.columns):
        axes.hlines(rows[y], rows[f"{x}_low"], rows[f"{x}_high"], **bars)
    if {f"{y}_low", f"{y}_high"} <= set(rows.columns):
        axes.vlines(rows[x], rows[f"{y}_low"], rows[f"{y}_high"], **bars)
    axes.plot(rows[x], rows[y], style.marker, color=style.colour, label=style.label, **dots)


def orderings(table: pd.DataFrame, *, facet: str | None = None) -> Plate:
    """Draw each comparison's effect with its interval, the margin it has to pass, and the verdict.

    `table`: claim, method, than, kind, n, margin, effect, low, high, verdict (evaluation.paper_orderings).
    """
    need(table, ORDERING, what="orderings")
    parts = facets(table, facet)
    claims = list(dict.fromkeys(table["claim"]))[::-1]
    first = table.drop_duplicates("claim").set_index("claim")
    labels = [f"{contrast_words(first.loc[claim])}  {claim}" for claim in claims]
    with theme():
        figure, grid = plate(1, len(parts), height=1.3 + 0.34 * len(claims), sharex=True, sharey=True)
        for axes, (title, part) in zip(grid[0], parts, strict=True):
            axes.axvline(0, **RULE)
            _forest(axes, part, claims)
            name_rows(axes, labels)
            axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
            axes.set(title=title, xlabel="share of the gap")
        verdict_legend(figure, axes)
    sizes = ", ".join(str(n) for n in sorted(set(table["n"])))
    figure.caption = (
        f"Paired differences at n = {sizes} as a share of the gap from random pick to oracle, "
        f"{seed_phrase(table)}. The tick on each row is the margin that the whole interval must pass."
    )
    figure.data = table[[*(name for name in KEYS[:3] if name in table.columns), *ORDERING]]
    return figure


def _forest(axes: Axes, part: pd.DataFrame, claims: list[str]) -> None:
    """Draw effects, intervals and margins, coloured by verdict."""
    for row in part.to_dict("records"):
        place = claims.index(row["claim"])
        margins = [side * row["margin"] for side in MARGINS[row["kind"]]]
        axes.vlines(margins, place - 0.3, place + 0.3, color="#999999", linewidth=1.2, linestyle=":")
    for verdict, rows in part.groupby("verdict", sort=True):
        places = [claims.index(claim) for claim in rows["claim"]]
        error_bars(axes, rows, places, value="effect", style=VERDICTS[str(verdict)])


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
