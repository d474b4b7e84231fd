"""Still figures of what reward models have learned: rankings, prices of edits, calibration, remedies."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from afd_study.figures.panels import INTERVAL, line, powers_of_two
from afd_study.figures.style import (
    RULE,
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
)

TAKEN_OUT = {
    "rank_correlation": Look("as it is", "#0072B2", "-", "o"),
    "rank_correlation_without_length": Look("length taken out", "#009E73", "-", "s"),
    "rank_correlation_without_length_and_style": Look("length and style taken out", "#D55E00", "-", "D"),
}
MOST_COLUMNS = 14  # of heat maps side by side: more would leave no room for a number in a cell
WITHIN = {
    "none": Look("all pairs", "#0072B2", "-", "o"),
    "length": Look("of equal length", "#009E73", "-", "s"),
    "style": Look("of equal style", "#CC79A7", "-", "^"),
    "length and style": Look("of equal length and style", "#D55E00", "-", "D"),
}


def rank_correlations(table: pd.DataFrame) -> Plate:
    """Draw each scorer's rank correlation with the judge, as it is and with length and style taken out.

    `table`: setting, metric, method, mean, low, high.
    """
    rows = table[table["metric"].isin(list(TAKEN_OUT))]
    figure = _dots(rows, key="metric", looks=TAKEN_OUT, xlabel="rank correlation with the judge", zero=0.0)
    figure.caption = (
        "How each scorer ranks the SFT policy's answers to one prompt, beside the judge (Spearman's, partial "
        f"where something is taken out). Bars: {seed_phrase(rows)}."
    )
    return figure


def conditional_auc(table: pd.DataFrame) -> Plate:
    """Draw the AUCs with which discriminators tell their sources apart: within, method, mean, low, high."""
    figure = _dots(table, key="within", looks=WITHIN, xlabel="AUC at its own two sources, held out", zero=0.5)
    figure.caption = (
        "How well each discriminator tells its own two sources apart on test prompts, over all pairs and "
        f"over pairs that are alike. Bars: {seed_phrase(table)}."
    )
    return figure


def _dots(rows: pd.DataFrame, *, key: str, looks: dict[str, Look], xlabel: str, zero: float) -> Plate:
    """Draw a row for each method, and in it a dot for each of the looks: values of the column `key`."""
    need(rows, (key, "method", *INTERVAL), what="a figure of probes")
    names, parts = in_order(rows["method"])[::-1], facets(rows, None)
    used = [name for name in looks if name in set(rows[key])]
    with theme():
        figure, grid = plate(1, len(parts), height=1.3 + 0.36 * len(names), sharex=True, sharey=True)
        for axes, (title, part) in zip(grid[0], parts, strict=True):
            axes.axvline(zero, **RULE)
            for rank, name in enumerate(used):
                dots, style = part[part[key] == name], looks[name]
                shift = 0.2 * ((len(used) - 1) / 2 - rank)
                places = [names.index(method) + shift for method in dots["method"]]
                error_bars(axes, dots, places, value="mean", style=style, markersize=5, label=style.label)
            name_rows(axes, [look(name).label for name in names])
            axes.set(title=title, xlabel=xlabel)
        legend_below(figure)
    figure.data = rows
    return figure


def prices(table: pd.DataFrame, *, rows_by: str, unit: str) -> Plate:
    """Draw a heat map of what each scorer pays: for an edit, or for a feature, a panel a setting.

    Panels stand side by side where their columns have room. `table`: setting, method, `rows_by` (edit or
    feature), mean, low, high.
    """
    need(table, ("method", rows_by, *INTERVAL), what="prices")
    rows = table.assign(method=table["method"].replace({"judge": "oracle"})).dropna(subset="mean")
    names, parts = in_order(rows["method"]), facets(rows, None)
    things = [name for name in dict.fromkeys(rows[rows_by]) if name != "R2"]
    rows = rows[rows[rows_by].isin(things)]
    bound = float(rows["mean"].abs().quantile(0.97))
    stacked = len(parts) * len(names) > MOST_COLUMNS
    shape = (len(parts), 1) if stacked else (1, len(parts))
    height = (1.4 if stacked else 1.6) + 0.27 * len(things)
    with theme():
        figure, grid = plate(*shape, height=height * shape[0], sharey=True)
        for axes, (title, part) in zip(grid.ravel(), parts, strict=True):
            priced = part[part[rows_by].isin(things)].pivot(index=rows_by, columns="method", values="mean")
            _priced(axes, priced.reindex(index=things, columns=names), bound)
            axes.set_title(title)
    figure.caption = (
        f"What each scorer pays, {unit}; blue is a bonus, red a malus. {seed_phrase(rows)} in the table."
    )
    figure.data = rows
    return figure


def _priced(axes: Axes, cells: pd.DataFrame, bound: float) -> None:
    """Draw one panel: things down, scorers across, whose names stand above, where reading begins."""
    colours: dict[str, Any] = {"cmap": "vlag_r", "center": 0, "vmin": -bound, "vmax": bound}
    texts: dict[str, Any] = {"annot": True, "fmt": ".2f", "annot_kws": {"fontsize": 7}}
    sns.heatmap(cells, ax=axes, cbar=False, linewidths=1, **colours, **texts)
    axes.set(xlabel="", ylabel="")
    axes.xaxis.tick_top()
    axes.set_xticklabels([look(name).label for name in cells.columns], rotation=40, ha="left", fontsize=7.5)
    axes.tick_params(axis="y", labelsize=7.5, rotation=0)
    axes.tick_params(axis="x", length=0, pad=1)
    axes.grid(False)


def calibration(table: pd.DataFrame) -> Plate:
    """Draw mean exact log ratio against mean logit in bins: setting, method, logit, log_ratio.

    Each scorer and setting has a panel with a range of its own, since logits may lie far from the log ratio.
    """
    need(table, ("method", "logit", "log_ratio"), what="calibration")
    parts, names = facets(table, None), in_order(table["method"])
    with theme():
        figure, grid = plate(len(parts), len(names), height=0.5 + 1.75 * len(parts))
        for line_of_panels, (title, part) in zip(grid, parts, strict=True):
            for axes, name in zip(line_of_panels, names, strict=True):
                _calibrated(axes, part[part["method"] == name].sort_values("logit"), look(name))
            line_of_panels[0].set_ylabel(f"{title}\nexact log ratio (nats)".lstrip(), fontsize=8)
        for axes, name in zip(grid[0], names, strict=True):
            axes.set_title(look(name).label, fontsize=8)
        for axes in grid[-1]:
            axes.set_xlabel("learned logit (nats)", fontsize=8)
    figure.caption = (
        "Learned logits of the SFT policy's samples against the exact log ratio of the two laws, in bins of "
        "equal size, averaged over seeds; on the diagonal (grey) a discriminator would be calibrated. Each "
        "panel has its own range, the same on both axes."
    )
    figure.data = table
    return figure


def _calibrated(axes: Axes, bins: pd.DataFrame, style: Look) -> None:
    """Draw one scorer's bins and the diagonal, in a square range that holds both."""
    line(axes, bins["logit"], bins["log_ratio"], style, markersize=4)
    if not bins.empty:
        low, high = (pick(bins[["logit", "log_ratio"]].to_numpy()) for pick in (np.min, np.max))
        margin = 0.06 * (high - low) or 1.0
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    axes.axline((0, 0), slope=1, **RULE)
    axes.tick_params(labelsize=7)
    axes.locator_params(nbins=5)


def remedies(table: pd.DataFrame, *, suffix: str = "_without_length") -> Plate:
    """Draw the best of n by rewards as they are (line) and without what length explains (dashed).

    `table`: setting, method, n, mean, low, high.
    """
    need(table, ("method", "n", *INTERVAL), what="remedies")
    parts = facets(table, None)
    cured = {name for name in table["method"] if str(name).endswith(suffix)}
    names = in_order({str(name).removesuffix(suffix) for name in cured})
    with theme():
        figure, grid = plate(1, len(parts), height=3.8, sharey=True)
        for axes, (title, part) in zip(grid[0], parts, strict=True):
            for name in names:
                for ending, dash in (("", "-"), (suffix, ":")):
                    curve, style = part[part["method"] == f"{name}{ending}"].sort_values("n"), look(name)
                    label = style.label if not ending else f"{style.label}, length taken out"
                    axes.plot(curve["n"], curve["mean"], dash, color=style.colour, label=label, linewidth=1.8)
            flat = part[part["method"] == "random"]
            axes.plot(flat["n"], flat["mean"], **RULE)
            powers_of_two(axes, part["n"])
            axes.minorticks_off()
            axes.set(title=title, xlabel="n (log scale)")
        grid[0, 0].set_ylabel("judge's score (points)")
        legend_below(figure)
    figure.caption = (
        f"Best of n by each reward, as it is and with length taken out. {seed_phrase(table)} in the table."
    )
    figure.data = table
    return figure
