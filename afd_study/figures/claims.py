"""The still figure of the ledger: each claim with its effect, interval, margin and verdict."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from afd_study.figures.style import (
    INK,
    RULE,
    VERDICTS,
    Plate,
    error_bars,
    name_rows,
    need,
    plate,
    theme,
    verdict_legend,
)
from afd_study.figures.worlds import SIDES

KEYS = ["id", "task", "setting"]


def claims(table: pd.DataFrame, by_seed: pd.DataFrame | None = None) -> Plate:
    """Draw the ledger's effects with intervals and margins, a row a claim and setting, coloured by verdict.

    `table`: evaluation.claims.judge_claims; identities and untested claims have no effect to draw, and one in
    FLOPs shares no axis with the others.
    `by_seed`: evaluation.claims.effects_by_seed; each seed is a small mark, and a column of the table.
    """
    need(table, (*KEYS, "kind", "effect", "low", "high", "margin", "verdict"), what="claims")
    rows = table[(table["kind"] != "identity") & table["effect"].notna()]
    rows = rows[rows["unit"] != "FLOPs"] if "unit" in rows.columns else rows
    need(rows, (), what="claims")
    tasks = list(dict.fromkeys(rows["task"]))
    names = list(dict.fromkeys(zip(rows["id"], rows["setting"], strict=True)))[::-1]
    with theme():
        figure, grid = plate(1, len(tasks), height=1.2 + 0.22 * len(names), sharey=True, sharex=True)
        for axes, task in zip(grid[0], tasks, strict=True):
            axes.axvline(0, **RULE)
            _effects(axes, rows[rows["task"] == task], names)
            if by_seed is not None:
                _seeds(axes, by_seed[by_seed["task"] == task], names)
            name_rows(axes, [f"{name}   {setting}" for name, setting in names])
            axes.tick_params(axis="y", labelsize=7)
            axes.set(title=task, xlabel="effect")
        verdict_legend(figure, axes)
    each = " Small marks: one seed each." if by_seed is not None else ""
    figure.caption = (
        f"Effects of the ledger's claims with 95 % intervals, t over {int(rows['n_seeds'].max())} seeds that "
        f"were used for nothing else. Dotted: the margin that the whole interval must pass.{each}"
    )
    figure.data = _data(rows, by_seed)
    return figure


def _effects(axes: Axes, part: pd.DataFrame, names: Sequence[tuple[str, str]]) -> None:
    """Draw a task's effects and the margins of their rules."""
    for row in part.to_dict("records"):
        place = names.index((row["id"], row["setting"]))
        margins = [side * row["margin"] for side in SIDES[row["kind"]]]
        axes.vlines(margins, place - 0.35, place + 0.35, color="#999999", linewidth=1.1, linestyle=":")
    for verdict, same in part.groupby("verdict", sort=True):
        places = [names.index(key) for key in zip(same["id"], same["setting"], strict=True)]
        error_bars(axes, same, places, value="effect", style=VERDICTS[str(verdict)], markersize=5.5)


def _seeds(axes: Axes, effects: pd.DataFrame, names: Sequence[tuple[str, str]]) -> None:
    """Draw the effect of each seed, in the rows that the figure shows."""
    places = pd.DataFrame(names, columns=["id", "setting"]).rename_axis("place").reset_index()
    marks = effects.merge(places, on=["id", "setting"])
    axes.plot(marks["effect"], marks["place"], "|", color=INK, alpha=0.35, markersize=5, zorder=1)


def _data(rows: pd.DataFrame, by_seed: pd.DataFrame | None) -> pd.DataFrame:
    """Return the rows drawn, with a column a seed where seeds are drawn too."""
    columns = [*KEYS, "kind", "effect", "low", "high", "margin", "unit", "n_seeds", "verdict"]
    table = rows[[name for name in columns if name in rows.columns]]
    if by_seed is None:
        return table
    wide = by_seed.pivot(index=KEYS, columns="seed", values="effect").add_prefix("seed ").reset_index()
    return table.merge(wide, on=KEYS, how="left")
