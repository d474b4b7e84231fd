"""The still figure of separability: how well simple readers tell two sources of texts apart."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from afd_study.figures.style import (
    METHODS,
    RULE,
    Look,
    Plate,
    error_bars,
    legend_below,
    name_rows,
    need,
    plate,
    seed_phrase,
    theme,
)

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
    used = {name: style for name, style in ADJUSTMENTS.items() if name in set(table["adjustment"])}
    with theme():
        figure, grid = plate(1, len(pairs), height=1.2 + 0.3 * len(features), sharex=True, sharey=True)
        for axes, (positive, negative) in zip(grid[0], pairs, strict=True):
            axes.axvline(0.5, **RULE)
            part = table[(table["positive"] == positive) & (table["negative"] == negative)]
            _pair(axes, part, features, used)
            title = f"{_source(positive)} against {_source(negative)}"
            axes.set(title=title, xlabel="AUC on held-out prompts")
        legend_below(figure)
    figure.caption = (
        "With what AUC simple readers tell two sources apart on held-out prompts (0.5: not at all); "
        f"bars: {seed_phrase(table)}."
    )
    figure.data = table
    return figure


def _pair(axes: Axes, part: pd.DataFrame, features: list[str], looks: Mapping[str, Look]) -> None:
    """Draw one pair's AUCs, a row for each of the features, one adjustment above the other."""
    for name, style in looks.items():
        rows = part[part["adjustment"] == name]
        places = [features.index(feature) + _shift(part, feature, name) for feature in rows["features"]]
        error_bars(axes, rows, places, value="auc", style=style, markersize=5.5, label=style.label)
    name_rows(axes, features)


def _shift(part: pd.DataFrame, feature: str, adjustment: str) -> float:
    """Return how far above its row a point lies, so that its feature's adjustments are centred."""
    own = set(part.loc[part["features"] == feature, "adjustment"])
    present = [name for name in ADJUSTMENTS if name in own]
    return 0.22 * ((len(present) - 1) / 2 - present.index(adjustment))


def _source(name: str) -> str:
    return METHODS[name].label if name in METHODS else str(name)
