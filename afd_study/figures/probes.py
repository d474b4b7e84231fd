"""Still figures of what reward models have learned: rankings, prices of edits, calibration, remedies."""

from typing import Any

import pandas as pd
import seaborn as sns

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
    need(rows, (key, "method", *INTERVAL), what="a figure of probes")
    """Draw a row for each method, and in it a dot for each of the looks: values of the column `key`."""
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

    `table`: setting, method, `rows_by` (edit or feature), mean, low, high.
    """
    need(table, ("method", rows_by, *INTERVAL), what="prices")
    rows = table.assign(method=table["method"].replace({"judge": "oracle"})).dropna(subset="mean")
    names, parts = in_order(rows["method"]), facets(rows, None)
    things = [name for name in dict.fromkeys(rows[rows_by]) if name != "R2"]
    rows = rows[rows[rows_by].isin(things)]
    bound = float(rows["mean"].abs().quantile(0.97))
    with theme():
        figure, grid = plate(len(parts), 1, height=(0.9 + 0.27 * len(things)) * len(parts) + 0.8, sharex=True)
        for axes, (title, part) in zip(grid[:, 0], parts, strict=True):
            priced = part[part[rows_by].isin(things)].pivot(index=rows_by, columns="method", values="mean")
            priced = priced.reindex(index=things, columns=names)
            colours: dict[str, Any] = {"cmap": "vlag_r", "center": 0, "vmin": -bound, "vmax": bound}
            texts: dict[str, Any] = {"annot": True, "fmt": ".2f", "annot_kws": {"fontsize": 7}}
            sns.heatmap(priced, ax=axes, cbar=False, linewidths=1, **colours, **texts)
            axes.set(title=title, xlabel="", ylabel="")
            axes.set_xticklabels([look(name).label for name in names], rotation=30, ha="right", fontsize=7.5)
            axes.tick_params(axis="y", labelsize=7.5, rotation=0)
            axes.grid(False)
    figure.caption = (
        f"What each scorer pays, {unit}; blue is a bonus, red a malus. {seed_phrase(rows)} in the table."
    )
    figure.data = rows
    return figure


def calibration(table: pd.DataFrame) -> Plate:
    """Draw mean exact log ratio against mean logit in bins: setting, method, logit, log_ratio."""
    need(table, ("method", "logit", "log_ratio"), what="calibration")
    parts = facets(table, None)
    with theme():
        figure, grid = plate(1, len(parts), height=3.4, sharey=True)
        for axes, (title, part) in zip(grid[0], parts, strict=True):
            for name in in_order(part["method"]):
                bins = part[part["method"] == name].sort_values("logit")
                line(axes, bins["logit"], bins["log_ratio"], look(name), markersize=4)
            ends = [part["log_ratio"].min(), part["log_ratio"].max()]
            axes.plot(ends, ends, **RULE)
            axes.set(title=title, xlabel="learned logit (nats)")
            axes.set_xscale("symlog", linthresh=4)
        grid[0, 0].set_ylabel("exact log ratio (nats)")
        legend_below(figure)
    figure.caption = (
        "Learned logits of the SFT policy's samples against the exact log ratio of the two laws, in bins of "
        "equal size, averaged over seeds; on the diagonal a discriminator would be calibrated."
    )
    figure.data = table
    return figure


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
