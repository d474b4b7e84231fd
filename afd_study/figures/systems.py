"""The still figure of real systems: each score's agreement with verdicts, triple by triple."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

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
    theme,
)
from afd_study.figures.text import listed, number

COLUMNS = ("triple", "method", "value", "low", "high", "explored")


def correlations(table: pd.DataFrame) -> Plate:
    """Draw rank correlations with verdicts (study.chapters.systems.correlations), a row a triple.

    Triples that had been explored stand at the bottom, marked. Raises DataError for a table that lacks
    columns or rows, SpecError for a method without a look.
    """
    need(table, COLUMNS, what="correlations with verdicts")
    ordered = table.sort_values("explored", kind="stable", ascending=False)
    names = list(dict.fromkeys(ordered["triple"]))
    explored = set(table.loc[table["explored"], "triple"])
    methods = in_order(table["method"])
    with theme():
        figure, grid = plate(1, 1, height=1.4 + 0.36 * len(names))
        axes = grid[0][0]
        axes.axvline(0, **RULE)
        for number_of, method in enumerate(methods):
            rows = table[table["method"] == method]
            shift = 0.18 * ((len(methods) - 1) / 2 - number_of)
            places = [names.index(name) + shift for name in rows["triple"]]
            error_bars(
                axes, rows, places, value="value", style=look(method), label=look(method).label, markersize=5
            )
        name_rows(axes, [f"{name}  (explored)" if name in explored else name for name in names])
        axes.set_xlabel("rank correlation with GPT-4's verdicts, within prompts")
        axes.tick_params(axis="y", labelsize=7)
        legend_below(figure)
    figure.caption = (
        "Rank correlation of each score with GPT-4's verdicts over systems' answers to one prompt, without "
        "the means of prompts and systems. A row: base > fine-tuned / demonstrator. Bars: 95 % intervals "
        "over prompts and systems."
    )
    figure.data = table
    return figure


def apart_table(apart: pd.DataFrame) -> pd.DataFrame:
    """Return AUCs (study.chapters.systems.apart) as cells "0.94 (0.88)": a discriminator's, and length's."""
    pairs = [name for name in apart.columns if f"{name}_by_length" in apart.columns]
    cells = {
        look(name).label: [
            f"{number(own)} ({number(length)})"
            for own, length in zip(apart[name], apart[f"{name}_by_length"], strict=True)
        ]
        for name in pairs
    }
    return apart[["triple"]].assign(**cells)


def words(verdicts: pd.DataFrame) -> str:
    """Say each contrast's verdict over lineages (study.chapters.systems.verdict_rows), a line each."""
    return "\n".join(_line(row) for row in verdicts.to_dict("records"))


def _line(row: Mapping[Any, Any]) -> str:
    interval = f"{number(row['effect'], 3)} [{number(row['low'], 3)}, {number(row['high'], 3)}]"
    return (
        f"{row['id']} (read as {row['reader']}): {row['sentence']} {row['verdict']}: {interval}, above 0 in "
        f"{row['n_above']} of {row['n_triples']} triples"
    )


def ways(table: pd.DataFrame) -> str:
    """Say in how many judged triples each score agrees best (study.chapters.systems.correlations)."""
    judged = table[~table["explored"]]
    best = judged.loc[judged.groupby("triple")["value"].idxmax(), "method"].value_counts()
    counts = [f"{look(str(method)).label} in {n}" for method, n in best.items()]
    return f"The best of the four: {listed(counts)} of {judged['triple'].nunique()} triples."
