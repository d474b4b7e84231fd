"""Scored draws as arrays: a prompt's responses, each with the judge's score and every scorer's reward."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import DataError, unknown_name
from afd_study.evaluation.statistics import require_columns
from afd_study.records import TABLES, checked

SCORE_COLUMNS = TABLES["scores"].columns
ROW = TABLES["samples"].key
"""The columns that name a response."""


class Pool(NamedTuple):
    """Prompts with equally many draws: `prompt_ids` (P,), `judge` (P, N), and (P, N) rewards a scorer."""

    prompt_ids: NDArray
    judge: NDArray[np.float64]
    rewards: dict[str, NDArray[np.float64]]


def finite(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores as they are, or raise DataError with scorer, prompt and draw of a NaN or infinity."""
    require_columns(scores, SCORE_COLUMNS)
    bad = scores[~np.isfinite(scores["reward"].to_numpy(dtype=float))]
    if len(bad):
        row = bad.iloc[0]
        raise DataError(
            f"scorer '{row.scorer}' gave {row.reward} to draw {row.draw} of prompt '{row.prompt_id}' "
            f"({row.source}), and {len(bad) - 1} more like it; a reward must be finite: mend the scorer"
        )
    return checked("scores", scores)


def pools(
    scores: pd.DataFrame, *, source: str, judge: str, scorers: Iterable[str] | None = None
) -> Iterator[Pool]:
    """Yield the draws of `source` as arrays, one Pool for each number of draws that prompts have, sorted.

    `scorers` None takes all but the judge. Two scorers need no rows in the table and are always there:
    "random" (all draws tie) and "oracle" (the judge itself). Raises DataError where a scorer lacks a draw
    that the judge has (or the reverse), SpecError for an unknown judge, source or scorer.
    """
    table = finite(scores)
    if source not in set(table["source"].unique()):
        raise unknown_name("source", source, set(table["source"].unique()))
    wide = table[table["source"] == source].pivot(
        index=["prompt_id", "draw"], columns="scorer", values="reward"
    )
    if judge not in wide.columns:
        raise unknown_name("judge", judge, wide.columns)
    others = sorted(set(map(str, wide.columns)) - {judge}) if scorers is None else scorers
    names = [name for name in others if name not in ("random", "oracle")]
    for name in names:
        if name not in wide.columns:
            raise unknown_name("scorer", name, wide.columns)
    wide = wide.sort_index()[[judge, *(name for name in names if name != judge)]]
    _refuse_holes(wide, source)
    sizes = wide.groupby(level="prompt_id", sort=True).size()
    for size in sorted(set(sizes)):
        part = wide[wide.index.get_level_values("prompt_id").isin(sizes.index[sizes == size])]
        yield _pool(part, int(size), judge)


def _refuse_holes(wide: pd.DataFrame, source: str) -> None:
    for name in wide.columns:
        holes = wide.index[wide[name].isna()]
        if len(holes):
            prompt, draw = holes[0]
            raise DataError(
                f"scorer '{name}' has no score for draw {draw} of prompt '{prompt}' ({source}), "
                f"which others have, and {len(holes) - 1} more like it; score all with all"
            )


def _pool(part: pd.DataFrame, size: int, judge: str) -> Pool:
    arrays = {
        str(name): part[name].to_numpy(dtype=float, copy=True).reshape(-1, size) for name in part.columns
    }
    values = arrays.pop(judge)
    arrays |= {"random": np.zeros_like(values), "oracle": values}
    return Pool(part.index.get_level_values("prompt_id").to_numpy()[::size], values, arrays)
