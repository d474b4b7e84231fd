"""The still figure of claims over worlds: effect, interval, where one more world will lie, every world."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from afd_study.figures.style import INK, RULE, Look, Plate, name_rows, need, plate, theme

COLUMNS = (
    *("id", "family", "setting", "label", "kind", "margin", "effect", "low", "high"),
    *("prediction_low", "prediction_high", "n_positive", "n_worlds", "verdict"),
)
SIDES = {"better": (1,), "equal": (-1, 1), "not_worse": (-1,)}
"""A rule's kind -> on which sides of zero its margin lies."""
VERDICTS = {
    "yes": Look("yes", "#0072B2", "-", "o"),
    "reversed": Look("reversed", "#D55E00", "-", "X"),
    "negligible": Look("negligible", "#009E73", "-", "s"),
    "open": Look("open", "#777777", "-", "d"),
    "not applicable": Look("not applicable", "#BBBBBB", "-", "d"),
}


def claims_over_worlds(
    table: pd.DataFrame, worlds: pd.DataFrame | None = None, *, unit: str = "share of the gap"
) -> Plate:
    """Draw effects over worlds, a panel a family and a row a claim and setting, coloured by verdict.

    Args:
        table: COLUMNS; `label` is what a row is called.
        worlds: the effect of each world: id, family, setting, world, effect. Each is a small mark.
        unit: of the effects.

    Raises:
        DataError: a table that lacks columns or rows.
    """
    need(table, COLUMNS, what="claims over worlds")
    families = list(dict.fromkeys(table["family"]))
    names = list(dict.fromkeys(zip(table["id"], table["setting"], strict=True)))[::-1]
    labels = dict(zip(zip(table["id"], table["setting"], strict=True), table["label"], strict=True))
    with theme():
        figure, grid = plate(1, len(families), height=1.2 + 0.34 * len(names), sharey=True, sharex=True)
        for axes, family in zip(grid[0], families, strict=True):
            axes.axvline(0, **RULE)
            _effects(axes, table[table["family"] == family], names)
            if worlds is not None:
                _worlds(axes, worlds[worlds["family"] == family], names)
            name_rows(axes, [str(labels[name]) for name in names])
            axes.set(title=family, xlabel=unit)
        _legend(figure, table)
    figure.caption = (
        "Dots: mean over worlds; thick bars: its 95 % interval; thin bars: where one more world will lie, in "
        "19 of 20 cases. Small marks: each world. Dotted: the margin. Right: worlds above 0."
    )
    figure.data = table[list(COLUMNS)]
    return figure


def _effects(axes: Axes, part: pd.DataFrame, names: Sequence[tuple[str, str]]) -> None:
    for row in part.to_dict("records"):
        place, style = names.index((row["id"], row["setting"])), VERDICTS[str(row["verdict"])]
        margins = [side * row["margin"] for side in SIDES[str(row["kind"])]]
        axes.vlines(margins, place - 0.35, place + 0.35, color="#999999", linewidth=1.1, linestyle=":")
        axes.hlines(place, row["prediction_low"], row["prediction_high"], color=style.colour, linewidth=0.8)
        axes.hlines(place, row["low"], row["high"], color=style.colour, linewidth=3.2, alpha=0.7)
        dot: dict[str, Any] = {"markersize": 6.5, "markeredgecolor": "white", "mew": 0.6, "zorder": 3}
        axes.plot([row["effect"]], [place], style.marker, color=style.colour, **dot)
        if pd.notna(row["n_positive"]) and row["n_worlds"]:
            count = f"{row['n_positive']:.0f}/{row['n_worlds']:.0f}"
            where = axes.get_yaxis_transform()
            axes.text(0.995, place + 0.1, count, transform=where, ha="right", va="bottom", fontsize=6.5)


def _worlds(axes: Axes, effects: pd.DataFrame, names: Sequence[tuple[str, str]]) -> None:
    places = pd.DataFrame(names, columns=["id", "setting"]).rename_axis("place").reset_index()
    marks = effects.merge(places, on=["id", "setting"])
    axes.plot(marks["effect"], marks["place"] - 0.22, "|", color=INK, alpha=0.4, markersize=4, zorder=1)


def _legend(figure: Plate, table: pd.DataFrame) -> None:
    shown = [look for name, look in VERDICTS.items() if name in set(table["verdict"])]
    axes = figure.axes[0]
    marks = [axes.plot([], [], look.marker, color=look.colour, label=look.label)[0] for look in shown]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(shown), frameon=False, fontsize=8)
