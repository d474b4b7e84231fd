"""Intervals over prompts *and* systems: both are drawn anew, as both are samples of what could have been.

The bootstrap draws prompts and, independently, systems with replacement and takes every cell where a drawn
prompt meets a drawn system (Owen 2007, *The pigeonhole bootstrap*, Annals of Applied Statistics 1(2)). It is
slightly wide: what is peculiar to a cell counts up to three times. Discriminators are not fitted anew.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import SpecError
from afd_study.evaluation.statistics import check_level, percentile_interval

TWO_WAY = "bootstrap over prompts and systems"
Statistic = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]
"""From numbers of prompts (P,) and of systems (S,), which may repeat, to K values."""


def two_way_table(
    statistic: Statistic,
    names: Sequence[tuple[str, ...]],
    columns: Sequence[str],
    *,
    shape: tuple[int, int],
    generator: np.random.Generator,
    resamples: int = 400,
    level: float = 0.95,
    minus: Sequence[tuple[int, int]] = (),
) -> pd.DataFrame:
    """Return each of K values with its interval: `columns` (of `names`), value, low, high, interval.

    Behind them stands a row for each pair of `minus`, (i, j): value i less value j on the same resamples,
    named by i's names and by j's in `columns` with `less_` in front. `shape` is (prompts, systems). Bounds
    are NaN for a single prompt or system. Raises SpecError for a level or a number of resamples out of range.
    """
    check_level(level)
    if resamples < 1:
        raise SpecError(f"resamples must be at least 1, got {resamples}")
    n_prompts, n_systems = shape
    mean = statistic(np.arange(n_prompts), np.arange(n_systems))
    draws = np.full((1, len(mean)), np.nan)
    if min(shape) > 1:
        draws = np.stack(
            [
                statistic(generator.integers(n_prompts, size=n_prompts), _some(n_systems, generator))
                for _ in range(resamples)
            ]
        )
    pairs = list(minus)
    one, other = [i for i, _ in pairs], [j for _, j in pairs]
    estimate = np.concatenate([mean, mean[one] - mean[other]])
    resampled = np.concatenate([draws, draws[:, one] - draws[:, other]], axis=1)
    interval = percentile_interval(estimate, resampled, level)
    against = [*[("",) * len(columns)] * len(mean), *(names[j] for j in other)]
    table = pd.DataFrame([*names, *(names[i] for i in one)], columns=list(columns))
    for place, column in enumerate(columns):
        table[f"less_{column}"] = [each[place] for each in against]
    table = table.assign(value=interval.mean, low=interval.low, high=interval.high, interval=TWO_WAY)
    return table.assign(n_prompts=n_prompts, n_systems=n_systems)


def _some(n_systems: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw systems with replacement, two different ones at least: one alone has no order."""
    while True:
        drawn = generator.integers(n_systems, size=n_systems)
        if len(np.unique(drawn)) > 1:
            return drawn
