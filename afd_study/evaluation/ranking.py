"""How one order of texts agrees with another: rank correlation, and AUC with ties and weights.

What is undefined (a correlation with a constant, an AUC without negatives) is NaN, never a silent 0 or 0.5.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, stats

from afd_study.errors import DataError
from afd_study.evaluation.statistics import ratio


def rank_correlation(values: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """Spearman's correlation along the last axis, ties at their mid-rank: (..., N) and (..., N) to (...).

    NaN where either side is constant (or N < 2): a scorer that cannot tell two responses apart has no
    ranking. Raises DataError where the shapes differ.
    """
    a, b = np.asarray(values, dtype=float), np.asarray(scores, dtype=float)
    if a.shape != b.shape or a.ndim < 1:
        raise DataError(f"values and scores must have one shape (..., N), got {a.shape} and {b.shape}")
    if a.shape[-1] < 2:
        return np.full(a.shape[:-1], np.nan)[()]
    ranks_a = stats.rankdata(a, axis=-1) - (a.shape[-1] + 1) / 2
    ranks_b = stats.rankdata(b, axis=-1) - (b.shape[-1] + 1) / 2
    spread = np.sqrt((ranks_a**2).sum(-1) * (ranks_b**2).sum(-1))
    return ratio((ranks_a * ranks_b).sum(-1), spread)


def pooled_rank_correlation(values: ArrayLike, scores: ArrayLike) -> float:
    """Spearman over all responses of all prompts together: (P, N) and (P, N) to a number; NaN where constant.

    Mixes ranking within a prompt with telling easy prompts from hard ones.
    """
    return float(rank_correlation(np.ravel(values), np.ravel(scores)))


def weighted_auc(
    scores: ArrayLike, *, positive: ArrayLike, weights: ArrayLike | None = None
) -> NDArray[np.float64]:
    """AUC = P(score of a positive > of a negative) + P(equal) / 2, for many weightings of one sample.

    `scores` (M,), `positive` (M,) bool, `weights` (..., M) >= 0 (all 1 by default); returns (...).
    NaN where positives or negatives have no weight. Raises DataError for a NaN among the scores.

    scikit-learn's `roc_auc_score` gives the same numbers, one weighting at a call: a bootstrap of 500
    resamples takes it 6 to 85 times as long as one call here.
    """
    return ratio(*mann_whitney(scores, positive=positive, weights=weights))


def stratified_auc(
    scores: ArrayLike, *, positive: ArrayLike, strata: ArrayLike, weights: ArrayLike
) -> NDArray[np.float64]:
    """AUC over the pairs within a stratum, each pair weighing alike; NaN without any.

    Shapes as in `weighted_auc`; `strata` (M,) names each text's stratum.
    """
    s, flags, w = np.asarray(scores), np.asarray(positive, dtype=bool), np.asarray(weights)
    masks = (np.asarray(strata) == stratum for stratum in np.unique(strata))
    parts = [mann_whitney(s[mask], positive=flags[mask], weights=w[..., mask]) for mask in masks]
    wins, pairs = (sum(side) for side in zip(*parts, strict=True))
    return ratio(wins, pairs)


def mann_whitney(
    scores: ArrayLike, *, positive: ArrayLike, weights: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted number of (positive, negative) pairs that the positive wins, ties half, and of all pairs.

    Shapes as in `weighted_auc`, (...) each; one sort, then sums over the levels of the score (Mann & Whitney
    1947).
    """
    s, is_positive = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    w = np.ones_like(s) if weights is None else np.asarray(weights, dtype=float)
    if s.ndim != 1 or is_positive.shape != s.shape or w.shape[-1:] != s.shape:
        raise DataError(
            f"shapes don't fit: scores {s.shape}, positive {is_positive.shape}, weights {w.shape}"
        )
    if np.isnan(s).any():
        raise DataError(
            "scores hold NaN, which has no rank; drop those texts, or find out where the NaN comes from"
        )
    if not len(s):
        return np.zeros(w.shape[:-1]), np.zeros(w.shape[:-1])
    levels, level = np.unique(s, return_inverse=True)
    up, down = (_by_level(w[..., side], level[side], len(levels)) for side in (is_positive, ~is_positive))
    below = np.cumsum(down, axis=-1) - down
    return (up * (below + down / 2)).sum(-1), up.sum(-1) * down.sum(-1)


def _by_level(weights: NDArray[np.float64], level: NDArray, n: int) -> NDArray[np.float64]:
    """Sum weights (..., M) over the entries of each of `n` levels, which `level` (M,) names: (..., n)."""
    membership = sparse.csr_array((np.ones(len(level)), level, np.arange(len(level) + 1)), (len(level), n))
    flat = weights.reshape(math.prod(weights.shape[:-1]), len(level))
    return (flat @ membership).reshape(*weights.shape[:-1], n)
