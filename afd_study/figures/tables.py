"""Tables on a page. Whatever a cell holds, a page shows it as text: no markup, no maths, nothing hidden.

Samples and data sets are untrusted. `show_texts` is the only function that shows them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from afd_study.errors import visible
from afd_study.figures.evidence import evidence
from afd_study.figures.html_table import Shown
from afd_study.figures.style import METHODS, in_order, look, need
from afd_study.figures.text import contrast_words, mean_interval, number, share, share_interval

HEADINGS = {name: style.label for name, style in METHODS.items()} | {
    "prompt_id": "prompt",
    "n_prompts": "prompts",
    "n_seeds": "seeds",
    "n_undefined": "undefined",
    "rank_correlation": "rank correlation",
    "spread_within": "spread within prompts",
    "spread_between": "spread between prompts",
    "leans_to": "leans to",
    "share_positive": "share of positives",
    "share_negative": "share of negatives",
    "share_of_peak": "share of peak",
    "held_out_loss": "held-out loss",
    "held_out_loss_sd": "its spread",
    "judge_16": "judge, n = 16",
    "judge_16_sd": "its spread, n = 16",
    "core_seconds": "core seconds",
    "peer_ms": "peer, ms",
    "ms": "ours, ms",
    "flops": "FLOPs",
    "response_tokens": "response tokens",
}
"""Column -> the heading that it is shown with; other columns keep their names."""


def show(
    frame: pd.DataFrame, *, caption: str = "", digits: int = 2, columns: Sequence[str] | None = None
) -> Shown:
    """Show results: methods by their labels, numbers with `digits` decimals, a dash for the undefined."""
    if columns is not None:
        need(frame, columns, what="show")
        frame = frame[list(columns)]
    cells = pd.DataFrame({name: _cells(frame[name], name, digits) for name in frame.columns})
    headings = {name: visible(HEADINGS.get(str(name), str(name))) for name in cells.columns}
    return Shown(cells.rename(columns=headings), caption)


def _cells(column: pd.Series, name: object, digits: int) -> list[str]:
    if pd.api.types.is_float_dtype(column):
        return [number(value, digits) for value in column]
    if name in ("method", "than", "scorer", "source"):
        return [METHODS[value].label if value in METHODS else visible(value) for value in column]
    return [visible(value) for value in column]


def best_of_n(intervals: pd.DataFrame, *, n: Sequence[int] = (1, 4, 16, 50), digits: int = 2) -> Shown:
    """Show mean [low, high] of every method at a few n, a row a setting; policies stand at n = 1."""
    need(intervals, ("method", "n", "mean", "low", "high"), what="best_of_n")
    rows = intervals[intervals["n"].isin(list(n))]
    columns = {size: f"n = {size}" for size in n}
    caption = "Judge's score of the kept response: mean [95 % interval]."
    return _crossed(rows, "n", columns, lambda row: mean_interval(row, digits, brackets=True), caption)


def win_rates(intervals: pd.DataFrame) -> Shown:
    """Show how often each method's pick beats an opponent's draw, setting by setting."""
    need(intervals, ("method", "n", "opponent", "mean", "low", "high"), what="win_rates")
    columns = {name: f"against {look(name).label}" for name in dict.fromkeys(intervals["opponent"])}
    sizes = ", ".join(str(size) for size in sorted(set(intervals["n"])))
    caption = f"Share of comparisons won by the best of {sizes}, ties half: mean [95 % interval]."
    return _crossed(intervals, "opponent", columns, lambda row: share_interval(row, "mean"), caption)


def _crossed(
    rows: pd.DataFrame, across: str, columns: Mapping[Any, str], words: Callable[[Any], str], caption: str
) -> Shown:
    """Show a row for each setting and method, a column for each value of `across`; `words` makes a cell."""
    rows = rows if "setting" in rows.columns else rows.assign(setting="")
    cells = {(row["setting"], row["method"], row[across]): words(row) for row in rows.to_dict("records")}
    lines = [
        {"setting": visible(setting), "method": look(name).label}
        | {heading: cells.get((setting, name, value), "") for value, heading in columns.items()}
        for setting in dict.fromkeys(rows["setting"])
        for name in in_order(rows["method"])
    ]
    table = pd.DataFrame(lines)
    return Shown(table if any(rows["setting"]) else table.drop(columns="setting"), caption)


def verdicts(table: pd.DataFrame) -> Shown:
    """Show the orderings (evaluation.paper_orderings): each statement, its effect and the verdict."""
    columns = ("claim", "method", "than", "kind", "n", "margin", "effect", "low", "high", "verdict")
    need(table, columns, what="verdicts")
    fronts = [name for name in ("task", "setting", "heterogeneity") if name in table.columns]
    settings = [name for name in fronts if table[name].nunique() > 1] or fronts[:1]
    lines = [
        {name: visible(row[name]) for name in (*settings, "claim")}
        | {"statement": contrast_words(row), "n": visible(row["n"])}
        | {"effect, share of the gap": share_interval(row, "effect"), "margin": share(row["margin"])}
        | {"verdict": visible(row["verdict"])}
        for row in table.to_dict("records")
    ]
    caption = "Effects as a share of the gap from random pick to oracle, with 95 % intervals."
    return Shown(pd.DataFrame(lines), caption)


def claims(table: pd.DataFrame) -> Shown:
    """Show the ledger (evaluation.claims): a row a task and setting, the claim in words on its first."""
    columns = ("id", "sentence", "task", "setting", "kind", "effect", "low", "high", "margin", "verdict")
    need(table, (*columns, "unit", "source", "post_hoc", "table", "form"), what="claims")
    rows, links, last = [], {}, ""
    for row in table.to_dict("records"):
        is_first, last = row["id"] != last, row["id"]
        where = ", ".join(part for part in (row["task"], row["setting"]) if isinstance(part, str) and part)
        place = evidence(row)
        rows.append(
            {
                "id": visible(row["id"]) if is_first else "",
                "claim": _claim(row) if is_first else "",
                "where": visible(where),
                "effect": _effect(row),
                "margin": number(row["margin"]) if row["kind"] != "identity" else f"{row['margin']:g}",
                "verdict": visible(row["verdict"]),
                "figure and table": place.name,
            }
        )
        if place.address:
            links[place.name] = place.address
    return Shown(pd.DataFrame(rows), "Effects with 95 % intervals over seeds.", links=links)


def _claim(row: Mapping[Any, Any]) -> str:
    """Return a claim in words, with its source and the unit of its effect."""
    notes = f"{row['source']}, post hoc" if row["post_hoc"] else row["source"]
    unit = "" if row["kind"] == "identity" else f"; effect: {row['unit']}"
    return visible(f"{row['sentence']} ({notes}{unit})")


def _effect(row: Mapping[Any, Any]) -> str:
    """Return an effect with its interval; of an identity, whether its error is within the margin."""
    if row["kind"] == "identity":
        holds = row["effect"] <= row["margin"]
        return f"error within {row['margin']:g}" if holds else f"error {row['effect']:g}"
    if pd.isna(row["effect"]):
        return "–"
    if row["unit"] == "FLOPs":
        low, mean, high = (f"{row[name]:.3g}" for name in ("low", "effect", "high"))
        return f"{mean} [{low}, {high}]"
    return mean_interval(row, brackets=True, value="effect")


def show_texts(
    frame: pd.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    limit: int = 10,
    width: int = 600,
    caption: str = "",
) -> Shown:
    """Show untrusted texts (samples, data, words); the book shows them in no other way.

    The first `limit` rows are shown, and a text longer than `width` characters is cut, which it says. Markup
    is escaped, maths is not rendered, invisible characters are spelled out, and line breaks are kept.
    """
    if columns is not None:
        need(frame, columns, what="show_texts")
        frame = frame[list(columns)]
    cells = pd.DataFrame(
        {visible(name): [_text(value, width) for value in frame[name].head(limit)] for name in frame.columns}
    )
    more = f" The first {limit} of {len(frame)} rows." if len(frame) > limit else ""
    return Shown(cells, (caption + more).strip(), wrap=True)


def _text(value: object, width: int) -> str:
    if isinstance(value, float):
        return number(value)
    text = str(value)
    cut = f" [... {len(text) - width} more characters]" if len(text) > width else ""
    return visible(text[:width]) + cut
