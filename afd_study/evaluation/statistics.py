"""Means with intervals, over seeds or over prompts.

What is undefined (such as an interval from one seed and one prompt) is NaN; each docstring says when.
Resampling draws from the NumPy generator that it is given.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from afd_study.errors import DataError, SpecError, unknown_name

T_OVER_SEEDS = "t over seeds"
BOOTSTRAP = "bootstrap over prompts"
NO_INTERVAL = "none"
BLOCK = 1_000_000  # weights held at once while resampling: 8 MB
CELL = ("task", "method", "n", "judge")


class Interval(NamedTuple):
    """A mean with its interval; each field is a scalar, or an array of shape (K,) for K columns."""

    mean: NDArray[np.float64] | float
    low: NDArray[np.float64] | float
    high: NDArray[np.float64] | float


def check_level(level: float) -> None:
    """Raise SpecError unless the level is a probability."""
    if not 0 < level < 1:
        raise SpecError(f"level must lie between 0 and 1, got {level}; 0.95 is usual")


def t_interval(per_seed_means: ArrayLike, level: float = 0.95) -> Interval:
    """Student's interval of the mean over seeds.

    `per_seed_means`: (S,) or (S, K), S >= 2; pass differences for a paired comparison. Returns fields of
    shape () or (K,). Raises DataError for fewer than two seeds: a single seed says nothing of the spread
    between seeds.
    """
    check_level(level)
    means = np.asarray(per_seed_means, dtype=float)
    if means.ndim not in (1, 2) or len(means) < 2:
        raise DataError(
            f"a t-interval needs at least 2 seeds along the first axis, got shape {means.shape}; "
            "run more seeds, or give the values of each prompt to `interval`, which bootstraps over prompts"
        )
    mean = means.mean(axis=0)
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    half = stats.t.ppf(0.5 + level / 2, df=len(means) - 1) * error
    return Interval(mean, mean - half, mean + half)


def seed_interval(per_seed_means: ArrayLike, level: float = 0.95) -> Interval:
    """Return `t_interval` of the means (S,) that are defined; bounds are NaN for one seed, all for none."""
    means = np.asarray(per_seed_means, dtype=float)
    means = means[~np.isnan(means)]
    if len(means) > 1:
        return t_interval(means, level)
    return Interval(means.mean() if len(means) else np.nan, np.nan, np.nan)


def t_intervals(
    rows: pd.DataFrame, by: Sequence[str], *, value: str = "value", level: float = 0.95, sort: bool = True
) -> pd.DataFrame:
    """Return mean, low, high (`t_interval`) and n_seeds of a column, for each key of `by`.

    Keys come sorted, or without `sort` as they first occur. Raises DataError for missing columns or a key
    with fewer than two seeds.
    """
    require_columns(rows, (*by, value))
    intervals = [
        (*key, *t_interval(part.to_numpy(), level), len(part))
        for key, part in rows.groupby(list(by), sort=sort)[value]
    ]
    return pd.DataFrame(intervals, columns=[*by, *Interval._fields, "n_seeds"])


def resampling_weights(
    n_prompts: int, *, generator: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """Draw each prompt's share of each bootstrap sample: (resamples, n_prompts), rows sum to 1."""
    if n_prompts < 1 or resamples < 1:
        raise SpecError(f"n_prompts and resamples must be at least 1, got {n_prompts} and {resamples}")
    shares = np.full(n_prompts, 1 / n_prompts)
    return generator.multinomial(n_prompts, shares, size=resamples) / n_prompts


def percentile_interval(mean: ArrayLike, resampled: ArrayLike, level: float = 0.95) -> Interval:
    """Interval from the bootstrap distribution, NaNs left out.

    `mean` is () or (K,), `resampled` (R,) or (R, K). Low and high are NaN where no resample is defined.
    """
    check_level(level)
    draws = np.asarray(resampled, dtype=float)
    undefined = np.isnan(draws).all(axis=0)
    filled = np.where(undefined, 0.0, draws)
    tail = (1 - level) / 2
    low, high = np.nanquantile(filled, [tail, 1 - tail], axis=0)
    return Interval(
        np.asarray(mean, dtype=float)[()], _nan_where(undefined, low), _nan_where(undefined, high)
    )


def _nan_where(undefined: ArrayLike, value: ArrayLike) -> NDArray[np.float64]:
    return np.where(undefined, np.nan, value)[()]


def bootstrap_statistic(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    prompt_ids: ArrayLike,
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 1000,
) -> Interval:
    """Percentile interval of any weighted statistic of M rows, whole prompts resampled, for one seed.

    `statistic` takes weights (R, M) to values (R,), as `ranking.weighted_auc` does; `prompt_ids` (M,). The
    mean field is the statistic at weight 1. Low and high are NaN for a single prompt.
    """
    code, ids = pd.factorize(np.asarray(prompt_ids), sort=True)
    if not len(ids):
        raise DataError("there are no rows to resample")
    mean = statistic(np.ones((1, len(code))))[0]
    if len(ids) < 2:
        return Interval(mean, np.nan, np.nan)
    weights = resampling_weights(len(ids), generator=generator, resamples=resamples)
    blocks = np.array_split(weights, max(1, resamples * len(code) // BLOCK))
    resampled = np.concatenate([statistic(block[:, code]) for block in blocks])
    return percentile_interval(mean, resampled, level)


def interval(
    frame: pd.DataFrame,
    *,
    generator: np.random.Generator,
    by: tuple[str, ...] = CELL,
    value: str = "value",
    level: float = 0.95,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Mean and interval of `value` in every cell of `by`; the column `interval` says which kind it is.

    Two seeds or more: "t over seeds", Student's over the per-seed means (of prompts, where there are any).
    One seed: "bootstrap over prompts"; "none" with NaN bounds where there is only one prompt, or no column
    `prompt_id`. Cells with equally many prompts share their resamples; the order of rows doesn't matter.
    Rows whose value is NaN (undefined for that prompt) are left out and not counted; a cell of nothing else
    has a NaN mean. Returns `by`, mean, low, high, interval, n_seeds, n_prompts (distinct ids). Raises
    DataError for missing columns.
    """
    require_columns(frame, (*by, "seed", value))
    weights: dict[int, NDArray[np.float64]] = {}
    grouped = frame.groupby(list(by), sort=True)
    number, cells = grouped.ngroup(), grouped.size().index.to_frame()
    seeds, prompts = (_means_by(frame, number, column, value) for column in ("seed", "prompt_id"))
    rows = []
    for cell, per_seed, per_prompt in zip(cells.itertuples(index=False), seeds, prompts, strict=True):
        size, kind = len(per_prompt), T_OVER_SEEDS if len(per_seed) > 1 else NO_INTERVAL
        estimate = seed_interval(per_seed, level)
        if kind == NO_INTERVAL and size > 1:
            if size not in weights:
                weights[size] = resampling_weights(size, generator=generator, resamples=resamples)
            kind, resampled = BOOTSTRAP, weights[size] @ per_prompt
            estimate = percentile_interval(per_prompt.mean(), resampled, level)
        rows.append((*cell, *estimate, kind, len(per_seed), size))
    columns = [*by, "mean", "low", "high", "interval", "n_seeds", "n_prompts"]
    return pd.DataFrame(rows, columns=columns)


def _means_by(frame: pd.DataFrame, number: pd.Series, column: str, value: str) -> list[NDArray[np.float64]]:
    """Mean of `value` for each id in `column`, NaN left out, cell by cell.

    `number` (rows,) is each row's cell. Empty where there is no such column.
    """
    n_cells = int(number.max()) + 1 if len(number) else 0
    if column not in frame.columns:
        return [np.empty(0)] * n_cells
    is_defined = frame[value].notna() & (number >= 0)  # as groupby has it, a row without a key is in no cell
    means = frame[value][is_defined].groupby([number[is_defined], frame[column][is_defined]]).mean()
    ends = np.searchsorted(means.index.get_level_values(0), np.arange(1, n_cells))
    return np.split(means.to_numpy(dtype=float), ends)


def ratio(top: ArrayLike, bottom: ArrayLike) -> NDArray[np.float64]:
    """Return top / bottom, (...) and (...) to (...), NaN where the bottom is not positive."""
    above, below = np.asarray(top, dtype=float), np.asarray(bottom, dtype=float)
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)[()]


def require_columns(frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    """Raise DataError, naming what is missing, unless `frame` has all `columns`."""
    lacking = [column for column in columns if column not in frame.columns]
    if lacking:
        raise DataError(f"the table lacks the columns {lacking}; it has {list(frame.columns)}")


PROPORTION_INTERVALS = {"wilson": "wilson", "clopper_pearson": "beta"}
"""Interval of a share -> its name in statsmodels."""


def preference_accuracy(
    *, preferred: ArrayLike, rejected: ArrayLike, level: float = 0.95, method: str = "wilson"
) -> Interval:
    """Share of pairs, (P,) and (P,), in which the preferred response scores higher; a tie counts half.

    `method`: "wilson" (Wilson 1927) or "clopper_pearson" (exact, wider). The pairs count as independent, so
    give one pair a prompt. All NaN without pairs.
    """
    check_level(level)
    if method not in PROPORTION_INTERVALS:
        raise unknown_name("interval method", method, PROPORTION_INTERVALS)
    above, below = np.asarray(preferred, dtype=float), np.asarray(rejected, dtype=float)
    if above.shape != below.shape or above.ndim != 1:
        raise DataError(f"preferred and rejected must both be (P,), got {above.shape} and {below.shape}")
    if np.isnan(above).any() or np.isnan(below).any():
        raise DataError(
            "preferred or rejected holds NaN; a pair without two scores is neither right nor wrong"
        )
    if not len(above):
        return Interval(np.nan, np.nan, np.nan)
    share = float(((above > below) + (above == below) / 2).mean())
    low, high = proportion_confint(
        share * len(above), len(above), alpha=1 - level, method=PROPORTION_INTERVALS[method]
    )
    return Interval(share, float(low), float(high))
