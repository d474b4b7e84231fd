"""The primary measure: whether a score ranks systems' answers as the verdicts do, prompt by prompt.

Better systems write longer answers, to every prompt: a rule that knows only the system already agrees with
the verdicts. So the means of prompts and of systems come out of scores and verdicts first. What is left asks:
where an answer is better than its system's answers usually are, does the score say so?
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

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


def rank_agreement(
    scores: NDArray[np.float64],
    verdicts: NDArray[np.float64],
    *,
    prompts: ArrayLike | None = None,
    systems: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Mean over prompts of Spearman's correlation across systems: (K, P, S) and (P, S) to (K,).

    Cells that are NaN in `verdicts` are left out, and so are prompts on which either side is constant.
    `prompts` (P,) and `systems` (S,) say how often each counts, as if it stood there so often; once, if not
    given.
    """
    often = np.ones(verdicts.shape[-1]) if systems is None else np.asarray(systems, dtype=float)
    weights = ~np.isnan(verdicts) * often
    ours, theirs = _centred_ranks(scores, weights), _centred_ranks(verdicts, weights)
    spread = np.sqrt((weights * ours**2).sum(axis=-1) * (weights * theirs**2).sum(axis=-1))
    per_prompt = ratio((weights * ours * theirs).sum(axis=-1), spread)
    rows = np.ones(len(verdicts)) if prompts is None else np.asarray(prompts, dtype=float)
    is_defined = ~np.isnan(per_prompt)
    return ratio(np.where(is_defined, per_prompt, 0) @ rows, is_defined @ rows)


def _centred_ranks(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mid-ranks along the last axis less their mean, where each value stands as often as its weight says.

    What has weight 0 is not there.
    """
    # rounding must not tell apart what is equal
    rounded = np.where(weights > 0, np.round(values, 12), np.inf)
    order = rounded.argsort(axis=-1)
    sorted_values = np.take_along_axis(rounded, order, -1)
    often = np.take_along_axis(np.broadcast_to(weights, values.shape), order, -1)
    up_to = often.cumsum(axis=-1)
    is_new = np.ones(values.shape, dtype=bool)
    is_new[..., 1:] = sorted_values[..., 1:] != sorted_values[..., :-1]
    is_last = np.roll(is_new, -1, axis=-1)  # the first is new, so that the last ends a run
    first = np.maximum.accumulate(np.where(is_new, up_to - often, 0), axis=-1)
    last = np.minimum.accumulate(np.where(is_last, up_to, np.inf)[..., ::-1], axis=-1)[..., ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2, -1)
    mean = (weights * ranks).sum(axis=-1, keepdims=True)
    return ranks - mean / np.maximum(weights.sum(axis=-1, keepdims=True), 1)


def _adjusted(values: Values) -> list[tuple[str, str, NDArray[np.float64]]]:
    """Return each score as it is, then each without length: name, adjustment, score (P, S)."""
    plain = list(zip(values.names, values.scores, strict=True))
    rest = [(name, score) for name, score in plain if name != LONGEST]  # without length that is nothing
    without = [(name, NO_LENGTH, without_length(score, values.lengths)) for name, score in rest]
    return [*((name, NONE, score) for name, score in plain), *without]


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
    kinds = _adjusted(values)
    every = np.stack([score for _, _, score in kinds])

    def statistic(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        # what is drawn twice is ranked once, and counts twice
        (rows, prompts), (columns, systems) = (
            np.unique(each, return_counts=True) for each in (rows, columns)
        )
        often: dict[str, Any] = {"prompts": prompts, "systems": systems}
        scores, verdicts = every[:, rows][:, :, columns], values.verdicts[rows][:, columns]
        apart = two_way_residuals(np.concatenate([verdicts[None], scores]), **often)
        plain = rank_agreement(scores, verdicts, **often)
        return np.concatenate([plain, rank_agreement(apart[1:], apart[0], **often)])

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
