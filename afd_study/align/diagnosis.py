"""What tells sources of texts apart, as tables, sentences and JSON; see align/differences.py for the numbers.

No sentence says which texts are better: nothing here knows.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from afd_study.align.differences import AUCS
from afd_study.align.law import Prediction
from afd_study.evaluation.when import DIAGNOSTICS, RuleInWords

NO_QUALITY = "These numbers say what differs between sources. They do not say which texts are better."
CERTAIN = RuleInWords().told_apart  # as the rule in words of chapter 8 has it
_WIDTH = 24  # characters of a name in a table


class Diagnosis(NamedTuple):
    """Tables of `describe_sources` and `compare_pairs`, and of sources in roles what the law says."""

    sources: pd.DataFrame
    pairs: pd.DataFrame
    prediction: Prediction | None = None


def measured(sources: pd.DataFrame) -> dict[str, float]:
    """Return what texts alone give of `when.DIAGNOSTICS`: how many of Init's stop, where its file says so."""
    cut = float(sources.set_index("source")["cut"]["Init"])
    return {} if math.isnan(cut) else {"share_that_stops": 1 - cut}


def report(diagnosis: Diagnosis) -> str:
    """Return a diagnosis in plain English: two tables, and some sentences for each pair."""
    parts = [_table(map(_source_cells, _rows(diagnosis.sources)))]
    parts.append(_table(map(_pair_cells, _rows(diagnosis.pairs))))
    parts.append(
        "words, length, words without length: AUCs, the share of pairs, a text of each source, that are told "
        "apart;\n0.5 is guessing. Words are tried on openings of prompts that they were not learned from."
    )
    parts += [" ".join(sentences(row)) for row in _rows(diagnosis.pairs)]
    parts.append(NO_QUALITY)
    if diagnosis.prediction is not None:
        parts.append(_predicted(diagnosis.prediction))
    return "\n\n".join(parts)


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis for machines: `sources`, `pairs` and, in roles, `prediction`; null for undefined."""
    values: dict[str, Any] = {
        "sources": [_plain(row) for row in _rows(diagnosis.sources)],
        "pairs": [_plain(row) for row in _rows(diagnosis.pairs)],
    }
    if diagnosis.prediction is not None:
        values["prediction"] = diagnosis.prediction._asdict()
    return values


def sentences(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the numbers of a pair say, in words; `row` is one of `compare_pairs`."""
    low, high = row["low"], row["high"]
    length, _, _ = told_by_length(row)
    longer = high if row["auc_by_length"] >= 0.5 else low
    yield (
        f"{low} / {high}: words tell a text of one from a text of the other in {_of_100(row['auc'])} of 100 "
        f"pairs, and length alone in {_of_100(length)} (those of {longer} are longer)."
        if length > 0.5
        else f"{low} / {high}: words tell a text of one from a text of the other in {_of_100(row['auc'])} of "
        "100 pairs, and length alone tells nothing."
    )
    yield _verdict(row)
    if not row["common"]:
        yield "They answer different prompts, so that what they were asked counts as a difference too."
    for side, other, share in ((low, high, row["equal_low"]), (high, low, row["equal_high"])):
        if share >= 0.01:
            yield f"{share:.0%} of the texts of {side} stand word for word in {other}, to the same prompt."


def told_by_length(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return how well length alone tells a pair apart, whichever is longer, with its interval."""
    auc, low, high = (row[f"auc_by_length{end}"] for end in ("", "_low", "_high"))
    return (auc, low, high) if auc >= 0.5 else (1 - auc, 1 - high, 1 - low)


def _verdict(row: Mapping[str, Any]) -> str:
    alike, alike_low = row["auc_without_length"], row["auc_without_length_low"]
    if not row["auc_low"] > 0.5:
        return "By their words they are not shown to differ: the interval holds 0.5, which is guessing."
    if math.isnan(alike):
        return "No two of their texts are alike in length, so that words and length can't be told apart."
    among = f"Among pairs alike in length words are right in {_of_100(alike)} of 100"
    if not alike_low > 0.5:
        return f"{among}, which is not shown to be more than guessing: length may be all that differs."
    if row["auc"] > CERTAIN:
        return (
            f"{among}: nearly every text shows where it comes from. A reward model that learns from this "
            "pair can go by such signs alone."
        )
    return f"{among}, so that something beside length differs."


def _predicted(prediction: Prediction) -> str:
    if prediction.choice:
        leads = ", ".join(f"{lead:+.2f} over {rival}" for rival, lead in prediction.leads.items())
        gap = "in shares of the gap from random to oracle"
        return f"Chapter 8's law predicts Init-SFT's leads, {gap}: {leads}. Pick by {prediction.choice}."
    lines = [f"No prediction by chapter 8's law: {'; '.join(prediction.reasons)}."]
    if prediction.lacking:
        lines.append(
            "The law's AUCs are of reward models that were trained on a model's samples, and of their "
            "replicates.\nTexts alone do not give them, and the AUCs above do not stand in for them. Lacking:"
        )
        lines += [f"  {name}: {DIAGNOSTICS[name]}" for name in prediction.lacking]
    return "\n".join(lines)


def _source_cells(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "source": _name(row["source"]),
        "texts": f"{row['texts']:,}",
        "prompts": f"{row['prompts']:,}",
        "median words": f"{row['words']:.0f}",
        "median characters": f"{row['characters']:.0f}",
        "no punctuation at the end": f"{row['unfinished']:.0%}",
        "cut": "unknown" if math.isnan(row["cut"]) else f"{row['cut']:.0%}",
        "repeats": f"{row['repeated']:.0%}",
    }


def _pair_cells(row: Mapping[str, Any]) -> dict[str, str]:
    values = [[row[f"{name}{end}"] for end in ("", "_low", "_high")] for name in AUCS]
    values[1] = list(told_by_length(row))
    names = ("words", "length", "words without length")
    return {
        "pair": f"{_name(row['low'])} / {_name(row['high'])}",
        "openings": f"{row['openings']:,}{'' if row['common'] else ' (different)'}",
        **{name: _interval(*three) for name, three in zip(names, values, strict=True)},
        "equal": f"{row['equal_low']:.0%} / {row['equal_high']:.0%}",
    }


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()
    }


def _table(rows: Iterator[dict[str, str]]) -> str:
    return pd.DataFrame(list(rows)).to_string(index=False)


def _name(name: str) -> str:
    return name if len(name) <= _WIDTH else name[: _WIDTH - 3] + "..."


def _interval(auc: float, low: float, high: float) -> str:
    return "undefined" if math.isnan(auc) else f"{auc:.2f} [{low:.2f}, {high:.2f}]"


def _of_100(auc: float) -> str:
    return f"{100 * auc:.0f}"
