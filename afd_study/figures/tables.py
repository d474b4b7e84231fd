"""Tables on a page. Whatever a cell holds, a page shows it as text: no markup, no maths, nothing hidden.

Samples and data sets are untrusted: `show_texts` is the one way in which they are shown.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from afd_study.figures.html_table import Shown
from afd_study.figures.style import METHODS, in_order, look, need
from afd_study.figures.text import contrast_words, mean_interval, number, share, share_interval

HEADINGS = {name: style.label for name, style in METHODS.items()} | {
    "prompt_id": "prompt", "n_prompts": "prompts", "n_seeds": "seeds", "n_undefined": "undefined",
    "rank_correlation": "rank correlation", "spread_within": "spread within prompts",
    "spread_between": "spread between prompts", "leans_to": "leans to",
    "share_positive": "share of positives", "share_negative": "share of negatives",
    "share_of_peak": "share of peak", "peer_ms": "peer, ms", "ms": "ours, ms", "flops": "FLOPs",
    "response_tokens": "response tokens",
}  # fmt: skip


def visible(value: object) -> str:
    """Return `value` as text in which every control, formatting or private character is spelled out.

    Line breaks and tabs stay. A right-to-left override, say, becomes <U+202E>, and cannot reorder the page.
    """
    return "".join(
        character
        if character in "\n\t" or not unicodedata.category(character).startswith("C")
        else f"<U+{ord(character):04X}>"
        for character in str(value)
    )


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


def _cells(column: pd.Series, name: Any, digits: int) -> list[str]:
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
    told = "Judge's score of the kept response: mean [95 % interval]."
    return _crossed(rows, "n", columns, lambda row: mean_interval(row, digits, brackets=True), told)


def win_rates(intervals: pd.DataFrame) -> Shown:
    """Show how often each method's pick beats an opponent's draw, setting by setting."""
    need(intervals, ("method", "n", "opponent", "mean", "low", "high"), what="win_rates")
    columns = {name: f"against {look(name).label}" for name in dict.fromkeys(intervals["opponent"])}
    sizes = ", ".join(str(size) for size in sorted(set(intervals["n"])))
    told = f"Share of comparisons won by the best of {sizes}, ties half: mean [95 % interval]."
    return _crossed(intervals, "opponent", columns, lambda row: share_interval(row, "mean"), told)


def _crossed(
    rows: pd.DataFrame, across: str, columns: Mapping[Any, str], tell: Callable[[Any], str], caption: str
) -> Shown:
    """Show a row for each setting and method, a column for each value of `across`."""
    rows = rows if "setting" in rows.columns else rows.assign(setting="")
    cells = {(row["setting"], row["method"], row[across]): tell(row) for row in rows.to_dict("records")}
    shown = [
        {"setting": visible(setting), "method": look(name).label}
        | {heading: cells.get((setting, name, value), "") for value, heading in columns.items()}
        for setting in dict.fromkeys(rows["setting"])
        for name in in_order(rows["method"])
    ]
    table = pd.DataFrame(shown)
    return Shown(table if any(rows["setting"]) else table.drop(columns="setting"), caption)


def verdicts(table: pd.DataFrame) -> Shown:
    """Show the orderings (evaluation.orderings): each statement, its effect and what was decided."""
    columns = ("claim", "method", "than", "kind", "n", "margin", "effect", "low", "high", "verdict")
    need(table, columns, what="verdicts")
    named = [name for name in ("task", "setting", "heterogeneity") if name in table.columns]
    settings = [name for name in named if table[name].nunique() > 1] or named[:1]
    rows = table.to_dict("records")
    shown = pd.DataFrame(
        {name: [visible(value) for value in table[name]] for name in settings}
        | {
            "claim": [visible(claim) for claim in table["claim"]],
            "statement": [contrast_words(row) for row in rows],
            "n": [visible(row["n"]) for row in rows],
            "effect, share of the gap": [share_interval(row, "effect") for row in rows],
            "margin": [share(row["margin"]) for row in rows],
            "verdict": [visible(verdict) for verdict in table["verdict"]],
        }
    )
    return Shown(shown, "Effects as a share of the gap from random pick to oracle, with 95 % intervals.")


def _evidence(row: Mapping[Any, Any]) -> tuple[str, str]:
    """Return where a claim's figure and table stand besides the ledger's own: its name and its address.

    Chapters show the settings h = 0 and h = 1, the map those with a style, the ledger alone the rest.
    """
    task, setting = str(row["task"]), str(row["setting"])
    page = {"harmless": "04_harmless.html", "helpful": "05_helpful.html"}.get(task, "")
    section = {"outcomes": "best of n", "win_rates": "best of n", "coverage": "does SFT cover"}
    table = str(row["table"])
    if row["kind"] == "identity":
        return "theory", "01_alignment_from_demonstrations.html"
    if pd.isna(row["effect"]):
        return "–", ""
    if row["form"] == "predicts":
        return "map: can one tell beforehand", "08_when_it_works.html#can-one-tell-beforehand"
    if row.get("run") == "arms":
        return _evidence_of_arms(table, {str(row["method"]), str(row["than"])})
    if table == "probes" and setting in ("h = 0", "h = 1"):
        return "what reward models learn", "06_what_reward_models_learn.html"
    if table in section and setting in ("h = 0", "h = 1"):
        return f"{task}: {section[table]}", f"{page}#{section[table].lower().replace(' ', '-')}"
    if table == "outcomes" and "matched" in setting:
        return "map: matched gain", "08_when_it_works.html#what-does-sft-itself-gain"
    if table == "outcomes" and "a = 0.9" in setting:
        return "map: who wins where", "08_when_it_works.html#who-wins-where"
    return "this chapter", "10_claims.html"


def _evidence_of_arms(table: str, methods: set[str]) -> tuple[str, str]:
    """Return the same for claims on policies beyond picking."""
    page = "07_optimising_the_policy.html"
    if table == "cost":
        return "cost", "11_cost.html"
    if table == "coverage":
        return "imitating: covering or seeking", f"{page}#imitating-covering-or-seeking"
    if methods & {"rl_init_sft", "extrapolation"}:
        return "judge against nats", f"{page}#judge-against-nats"
    return "what training reaches", f"{page}#what-training-reaches"


def claims(table: pd.DataFrame) -> Shown:
    """Show the ledger (evaluation.claims): a row a task and setting, the claim in words on its first."""
    columns = ("id", "sentence", "task", "setting", "kind", "effect", "low", "high", "margin", "verdict")
    need(table, (*columns, "unit", "source", "post_hoc", "table", "form"), what="claims")
    rows = table.to_dict("records")
    first = [place == 0 or row["id"] != rows[place - 1]["id"] for place, row in enumerate(rows)]
    shown = [
        {
            "id": visible(row["id"]) if new else "",
            "claim": _claim(row) if new else "",
            "where": visible(
                ", ".join(part for part in (row["task"], row["setting"]) if isinstance(part, str) and part)
            ),
            "effect": _effect(row),
            "margin": number(row["margin"]) if row["kind"] != "identity" else f"{row['margin']:g}",
            "verdict": visible(row["verdict"]),
            "figure and table": _evidence(row)[0],
        }
        for row, new in zip(rows, first, strict=True)
    ]
    links = {name: to for name, to in map(_evidence, rows) if to}
    return Shown(pd.DataFrame(shown), "Effects with 95 % intervals over seeds.", links=links)


def _claim(row: Mapping[Any, Any]) -> str:
    """Return a claim in words, with its source and the unit of its effect."""
    told = [row["source"], *(["post hoc"] if row["post_hoc"] else [])]
    unit = "" if row["kind"] == "identity" else f"; effect: {row['unit']}"
    return visible(f"{row['sentence']} ({', '.join(told)}{unit})")


def _effect(row: Mapping[Any, Any]) -> str:
    """Return an effect with its interval; of an identity only that its error is rounding."""
    if row["kind"] == "identity":
        return (
            f"error within {row['margin']:g}"
            if row["effect"] <= row["margin"]
            else f"error {row['effect']:g}"
        )
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
    """Show untrusted texts (samples, data, words): the only way in which the book does.

    The first `limit` rows; texts longer than `width` characters are cut, and say so. Markup is escaped,
    maths left alone, invisible characters are spelled out, line breaks kept.
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
    whole = str(value)
    cut = f" [... {len(whole) - width} more characters]" if len(whole) > width else ""
    return visible(whole[:width]) + cut
