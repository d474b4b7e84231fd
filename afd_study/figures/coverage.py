"""Still figures of covering and seeking: both divergences, and distinct good answers."""

import pandas as pd

from afd_study.figures.panels import INTERVAL, band, line, powers_of_two
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
    seed_phrase,
    theme,
)

DIVERGENCES = {
    "forward_kl": "forward KL(demo || policy)",
    "reverse_kl": "reverse KL(policy || demo)",
    "reverse_kl_stray": "of it: samples with a stray word",
}


def divergences(table: pd.DataFrame) -> Plate:
    """Draw forward and reverse KL to the demonstrators, and the reverse KL's part from stray words.

    `table`: policy, metric, mean, low, high, and `facet` where several studies stand side by side.
    """
    need(table, ("policy", "metric", *INTERVAL), what="divergences")
    rows = table[table["metric"].isin(list(DIVERGENCES))]
    policies, metrics = in_order(rows["policy"]), list(DIVERGENCES)[::-1]
    with theme():
        figure, grid = plate(1, 1, height=2.4)
        axes = grid[0, 0]
        axes.axvline(0, **RULE)
        for rank, name in enumerate(policies):
            part = rows[rows["policy"] == name]
            places = [metrics.index(metric) + 0.16 * (0.5 - rank) for metric in part["metric"]]
            error_bars(axes, part, places, value="mean", style=look(name), label=look(name).label)
        name_rows(axes, [DIVERGENCES[metric] for metric in metrics])
        axes.set_xlabel("nats a response")
        legend_below(figure)
    figure.caption = f"Divergences from the demonstrators' exact law. Bars: {seed_phrase(rows)}."
    figure.data = rows
    return figure


def distinct(table: pd.DataFrame) -> Plate:
    """Draw the number of distinct good answers against the number of draws: source, k, mean, low, high."""
    need(table, ("source", "k", *INTERVAL), what="distinct")
    with theme():
        figure, grid = plate(1, 1, height=3.4)
        axes = grid[0, 0]
        for name in in_order(table["source"]):
            rows, style = table[table["source"] == name].sort_values("k"), look(name)
            band(axes, rows["k"], rows, style, alpha=0.15)
            line(axes, rows["k"], rows["mean"], style)
        powers_of_two(axes, table["k"])
        axes.set(xlabel="draws a prompt (log scale)", ylabel="distinct good answers")
        legend_below(figure)
    figure.caption = (
        f"Distinct good answers among k draws, exact over all subsets. Bands: {seed_phrase(table)}."
    )
    figure.data = table
    return figure
