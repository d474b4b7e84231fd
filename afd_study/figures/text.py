"""Numbers for prose. A cell prints each sentence of the book that holds a number, as plain text."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from afd_study.figures.style import VERDICTS, facets, look, need, seed_phrase

RELATIONS = {"better": "better than", "not_worse": "not worse than", "equal": "equal to"}


def number(value: float, digits: int = 2) -> str:
    """Return `value` with `digits` decimals, or none from a thousand on ("12,825"); a dash where it is NaN.

    Never "-0.00".
    """
    if pd.isna(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    rounded = round(float(value), digits)
    return f"{rounded + 0.0:.{digits}f}"


def share(value: float, digits: int = 0) -> str:
    """Return a share as per cent: 0.25 gives "25 %"; a dash where it is NaN."""
    return "–" if pd.isna(value) else f"{number(100 * value, digits)} %"


def mean_interval(
    row: Mapping[Any, Any], digits: int = 2, *, brackets: bool = False, value: str = "mean"
) -> str:
    """Return "1.44 (95 % interval 1.20 to 1.68)", or "1.44 [1.20, 1.68]", of a row with low and high."""
    mean = number(row[value], digits)
    if pd.isna(row["low"]) or pd.isna(row["high"]):
        return mean
    low, high = number(row["low"], digits), number(row["high"], digits)
    return f"{mean} [{low}, {high}]" if brackets else f"{mean} (95 % interval {low} to {high})"


def share_interval(row: Mapping[Any, Any], value: str) -> str:
    """Return "25 % [18, 32]" of a row whose `value`, low and high are shares."""
    scaled = {name: 100 * row[name] for name in (value, "low", "high")}
    if pd.isna(scaled[value]) or pd.isna(scaled["low"]):
        return share(row[value])
    return f"{number(scaled[value], 0)} % [{number(scaled['low'], 0)}, {number(scaled['high'], 0)}]"


def pluralise(count: int, noun: str, plural: str | None = None) -> str:
    """Return "1 seed", "3 seeds", "1,200 prompts"; `plural` where an s will not do."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return "a", "a and b", "a, b and c"; "none" of nothing."""
    if not words:
        return "none"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def contrast_words(row: Mapping[Any, Any]) -> str:
    """Return the statement of a comparison: "Init-SFT better than Init-Demo"."""
    return f"{look(row['method']).label} {RELATIONS[row['kind']]} {look(row['than']).label}"


def ordering(row: Mapping[Any, Any]) -> str:
    """Return one verdict of evaluation.paper_orderings as a sentence."""
    effect = f"the effect is {share_interval(row, 'effect')} of the gap from random pick to oracle"
    if pd.isna(row["effect"]):
        effect = "there is no gap from random pick to oracle to measure it by"
    return f"{row['claim']}, {contrast_words(row)}: {row['verdict']} at n = {row['n']}; {effect}."


def orderings(table: pd.DataFrame) -> str:
    """Return all verdicts, a sentence a line, setting by setting.

    Each setting opens with a line that counts its own verdicts and says what the intervals are.
    """
    columns = ("claim", "method", "than", "kind", "n", "effect", "low", "high", "verdict")
    need(table, columns, what="orderings")
    lines = []
    for title, part in facets(table, None):
        counts = part["verdict"].value_counts()
        tally = listed([f"{counts.get(name, 0)} {name}" for name in VERDICTS])
        where = f" at {title}" if title else ""
        lines.append(f"Of {pluralise(len(part), 'ordering')}{where}, {tally}; {seed_phrase(part)}.")
        lines += [ordering(row) for row in part.to_dict("records")]
    return "\n".join(lines)


def verdict_counts(table: pd.DataFrame) -> str:
    """Return how many claims got which verdict, a line a task and setting. Settings are never added up."""
    need(table, ("task", "setting", "verdict"), what="verdict_counts")
    lines = []
    for (task, setting), part in table.fillna({"setting": ""}).groupby(["task", "setting"], sort=True):
        counts = part["verdict"].value_counts(sort=False)
        where = f"{task}, {setting}" if setting else str(task)
        lines.append(f"{where}: {listed([f'{count} {name}' for name, count in sorted(counts.items())])}")
    return "\n".join(lines)


def caption(figure: Any) -> str:
    """Return the caption of a still or interactive figure, or of a table, in lines that fit on the page."""
    own = figure.caption if hasattr(figure, "caption") else (figure.layout.meta or {}).get("caption", "")
    return textwrap.fill(str(own), 78)
