"""The primary measure: whether a score ranks systems' answers as the verdicts do, prompt by prompt.

Better systems write longer answers, to every prompt: a rule that knows only the system already agrees with
the verdicts. So the means of prompts and of systems come out of scores and verdicts first. What is left asks:
where an answer is better than its system's answers usually are, does the score say so?
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from afd_study.errors import DataError
from afd_study.evaluation.statistics import ratio
from afd_study.evaluation.systems.discriminators import LONGEST
from afd_study.evaluation.systems.grid import two_way_residuals, without_length
from afd_study.evaluation.systems.two_way import two_way_table

NONE, NO_LENGTH = "none", "length taken out"
RAW, RESIDUAL = "as they are", "without the means of prompts and systems"
MINUS = tuple(
    ("init_sft", other) for other in ("init_demo", "sft_demo", "preferences", "likelihood_per_token")
)
"""Pairs of scores whose difference is wanted, where both are there."""
MOST_MISSING = 0.5  # share of verdicts that a system may lack


class Values(NamedTuple):
    """What is to be compared, cell by cell: scores (K, P, S) by name, verdicts (P, S), log lengths (P, S)."""

    names: tuple[str, ...]
    scores: NDArray[np.float64]
    verdicts: NDArray[np.float64]
    lengths: NDArray[np.float64]


def values_of(
    scores: Mapping[str, NDArray[np.float64]],
    verdicts: NDArray[np.float64],
    lengths: NDArray[np.float64],
    *,
    names: tuple[str, ...] = (),
) -> Values:
    """Return scores (P, S) with their verdicts; NaN in one of them leaves the answer out of all.

    Raises DataError where a system lacks more than half of the verdicts (`names` are the systems', for the
    error), or where shapes differ.
    """
    stacked = np.stack([np.asarray(each, dtype=float) for each in scores.values()])
    if stacked.shape[1:] != verdicts.shape or lengths.shape != verdicts.shape:
        raise DataError(f"scores {stacked.shape[1:]}, verdicts {verdicts.shape}, lengths {lengths.shape}")
    missing = np.isnan(verdicts).mean(axis=0)
    if len(missing) and missing.max() > MOST_MISSING:
        worst = int(missing.argmax())
        who = names[worst] if names else f"system {worst}"
        raise DataError(f"{who} lacks {missing[worst]:.0%} of its verdicts: leave it out (triples.pool does)")
    is_missing = np.isnan(stacked).any(axis=0) | np.isnan(verdicts) | np.isnan(lengths)
    return Values(
        tuple(scores),
        np.where(is_missing, np.nan, stacked),
        np.where(is_missing, np.nan, verdicts),
        np.where(is_missing, np.nan, lengths),
    )


def rank_agreement(scores: NDArray[np.float64], verdicts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over prompts of Spearman's correlation across systems: (K, P, S) and (P, S) to (K,).

    Cells that are NaN in `verdicts` are left out, and so are prompts on which either side is constant.
    """
    is_there = ~np.isnan(verdicts)
    ours, theirs = _centred_ranks(scores, is_there), _centred_ranks(verdicts, is_there)
    spread = np.sqrt((ours**2).sum(axis=-1) * (theirs**2).sum(axis=-1))
    per_prompt = ratio((ours * theirs).sum(axis=-1), spread)
    is_defined = ~np.isnan(per_prompt)
    return ratio(np.where(is_defined, per_prompt, 0).sum(axis=-1), is_defined.sum(axis=-1))


def _centred_ranks(values: NDArray[np.float64], is_there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mid-ranks along the last axis less their mean; 0 for what is not there, which has no say."""
    # what is not there ranks behind all the rest, and rounding must not tell apart what is equal
    ranks = stats.rankdata(np.where(is_there, np.round(values, 12), np.inf), axis=-1)
    count = np.maximum(is_there.sum(axis=-1, keepdims=True), 1)
    mean = np.where(is_there, ranks, 0).sum(axis=-1, keepdims=True) / count
    return np.where(is_there, ranks - mean, 0)


def agreement(
    values: Values,
    *,
    generator: np.random.Generator,
    resamples: int = 400,
    level: float = 0.95,
    minus: tuple[tuple[str, str], ...] = MINUS,
) -> pd.DataFrame:
    """Return each score's rank correlation with the verdicts, by what is taken out, and differences.

    Columns method, means (as they are, or without those of prompts and systems: the primary measure),
    adjustment (none, or length taken out), `less_` and each of them, value, low, high, interval, n_prompts,
    n_systems. `minus` names pairs of scores whose difference is wanted, with the same means and adjustment;
    pairs that are not there are left out. Each score is compared with "longest" too, where that is there.
    """
    plain = list(zip(values.names, values.scores, strict=True))
    kinds = [(name, NONE, score) for name, score in plain]
    # without length a score of length is nothing
    kinds += [
        (name, NO_LENGTH, without_length(score, values.lengths)) for name, score in plain if name != LONGEST
    ]
    every = np.stack([score for _, _, score in kinds])

    def statistic(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        scores, verdicts = every[:, rows][:, :, columns], values.verdicts[rows][:, columns]
        apart = two_way_residuals(np.concatenate([verdicts[None], scores]))
        return np.concatenate([rank_agreement(scores, verdicts), rank_agreement(apart[1:], apart[0])])

    names = [(name, means, kind) for means in (RAW, RESIDUAL) for name, kind, _ in kinds]
    wanted = {*minus, *((name, LONGEST) for name in values.names if name != LONGEST)}
    pairs = [
        (i, j)
        for i, one in enumerate(names)
        for j, other in enumerate(names)
        if (one[0], other[0]) in wanted and one[1:] == other[1:]
    ]
    return two_way_table(
        statistic,
        names,
        ["method", "means", "adjustment"],
        shape=(values.verdicts.shape[0], values.verdicts.shape[1]),
        generator=generator,
        resamples=resamples,
        level=level,
        minus=pairs,
    )
