"""How often rules agree with people on pairs that nobody learned from: no judge has a part in it.

A rule is anything that gives an answer a number: a reward model, a log ratio, a length. It is right on a pair
if it gives the answer that a person preferred the higher number, and half right if it gives both the same.
Shares are of all pairs, and of thirds of them by how far the lengths of their two answers differ: on the
first third length alone says least. Intervals are over groups of pairs, which share how their dialogue opens.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import DataError
from afd_study.evaluation.judge_tables import JUDGE_TABLES
from afd_study.evaluation.statistics import BOOTSTRAP, NO_INTERVAL, Interval, bootstrap_statistic
from afd_study.evaluation.systems.judges import STRATA
from afd_study.records import checked

FEWEST_GROUPS = 5  # openings in a stratum; of fewer an interval says nothing
HIGHER, LOWER, OPEN, ABSENT = "higher", "lower", "open", "not in this study"


class TriedPairs(NamedTuple):
    """K pairs that rules were tried on.

    `right` (K, rules) is 1 where a rule, a column, is right, 0 where it is wrong and .5 where it ties;
    `groups` (K,); `difference` (K,), the preferred answer's log length less the rejected one's.
    """

    right: pd.DataFrame
    groups: NDArray[np.str_]
    difference: NDArray[np.float64]


def tried_pairs(
    gaps: pd.DataFrame, *, groups: NDArray[np.str_], difference: NDArray[np.float64]
) -> TriedPairs:
    """Return where rules are right.

    `gaps` (K, rules) are the preferred answer's score less the other's.

    Raises DataError for a gap that is no finite number, or where groups and lengths are not of K pairs.
    """
    values = gaps.to_numpy(dtype=float)
    if not len(groups) == len(difference) == len(values):
        raise DataError(f"{len(values)} pairs have {len(groups)} groups and {len(difference)} lengths")
    bad = ~np.isfinite(values).all(axis=0)
    if bad.any():
        raise DataError(
            f"rule '{gaps.columns[bad][0]}' has no finite score for some pairs: score all of them"
        )
    right = pd.DataFrame((1 + np.sign(values)) / 2, columns=gaps.columns)
    return TriedPairs(right, groups, np.asarray(difference, dtype=float))


def strata(tried: TriedPairs) -> dict[str, NDArray[np.bool_]]:
    """Return which pairs are in each of STRATA: all, and thirds by the absolute difference in log length.

    Raises DataError for a stratum of fewer than FEWEST_GROUPS groups.
    """
    n = len(tried.groups)
    order = np.argsort(np.abs(tried.difference), kind="stable")
    third = np.empty(n, dtype=np.int64)
    third[order] = np.arange(n) * 3 // max(n, 1)
    parts = {name: third == number for number, name in enumerate(STRATA[1:])}
    masks = {STRATA[0]: np.ones(n, dtype=bool), **parts}
    for name, mask in masks.items():
        n_pairs, n_groups = _sizes(mask, tried)
        if n_groups < FEWEST_GROUPS:
            raise DataError(
                f"stratum '{name}' of people's held-out pairs has {n_pairs} pairs of {n_groups} "
                f"openings, and an interval needs {FEWEST_GROUPS}: give more pairs, raise world.test, or "
                "lower judge_share"
            )
    return masks


def agreement(
    tried: TriedPairs, *, generator: np.random.Generator, level: float = 0.95, resamples: int = 2000
) -> pd.DataFrame:
    """Return table `pair_agreement`: the share of pairs on which each rule is right, in each of STRATA.

    Rules of one stratum share their resamples. Raises DataError for a stratum that is too small.
    """
    rows = []
    for name, mask in strata(tried).items():
        share = _shares(tried.right[mask], tried.groups[mask], generator, level, resamples)
        bounds = zip(*map(np.atleast_1d, share), strict=True)
        sizes = _sizes(mask, tried)
        rows += [(name, rule, *own, BOOTSTRAP, *sizes) for rule, own in zip(tried.right, bounds, strict=True)]
    table = pd.DataFrame(rows, columns=list(JUDGE_TABLES["pair_agreement"].columns))
    return checked("pair_agreement", table)


def differences(
    tried: TriedPairs,
    contrasts: Sequence[tuple[str, str]],
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Return table `pair_differences`: for each (rule, other rule) the difference of their shares of pairs.

    A contrast with a rule that was not tried keeps its row, without numbers. Raises DataError for a stratum
    that is too small.
    """
    there = [pair for pair in contrasts if set(pair) <= set(tried.right)]
    gaps = pd.DataFrame({place: tried.right[a] - tried.right[b] for place, (a, b) in enumerate(there)})
    rows = []
    for name, mask in strata(tried).items():
        known = dict[tuple[str, str], tuple[float, ...]]()
        if there:
            share = _shares(gaps[mask], tried.groups[mask], generator, level, resamples)
            known = dict(zip(there, zip(*map(np.atleast_1d, share), strict=True), strict=True))
        for pair in contrasts:
            value, low, high = known.get(pair, (np.nan,) * 3)
            verdict = side_of(low, high) if pair in known else ABSENT
            kind = BOOTSTRAP if pair in known else NO_INTERVAL
            rows.append((name, *pair, value, low, high, kind, *_sizes(mask, tried), verdict))
    table = pd.DataFrame(rows, columns=list(JUDGE_TABLES["pair_differences"].columns))
    return checked("pair_differences", table)


def side_of(low: float, high: float) -> str:
    """Return on which side of 0 an interval lies: higher, lower, or open where it holds 0.

    Raises DataError for bounds that are no numbers.
    """
    if np.isnan(low) or np.isnan(high):
        raise DataError("an interval without bounds points nowhere: give prompts of more than one opening")
    return HIGHER if low > 0 else LOWER if high < 0 else OPEN


def _shares(
    values: pd.DataFrame,
    groups: NDArray[np.str_],
    generator: np.random.Generator,
    level: float,
    resamples: int,
) -> Interval:
    """Return the means of columns (K, R) with intervals, groups drawn anew: fields of shape (R,)."""
    matrix = values.to_numpy(dtype=float)

    def means(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return weights @ matrix / weights.sum(axis=1, keepdims=True)

    return bootstrap_statistic(means, groups, generator=generator, level=level, resamples=resamples)


def _sizes(mask: NDArray[np.bool_], tried: TriedPairs) -> tuple[int, int]:
    """Return how many pairs a stratum has, and of how many groups."""
    return int(mask.sum()), len(set(tried.groups[mask].tolist()))
