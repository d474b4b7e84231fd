"""Whether several judges say the same of two rules: effects under each, where intervals lie, a verdict.

A judge of people's preferences that was fitted to some of them errs in ways of its own. What it says of a
contrast of two rules counts where another judge, of another kind, says it too. Judges have points of their
own, so that effects are compared by their sign and by where their intervals lie. Intervals are over prompts
by groups, which share how their dialogue opens. A contrast is *open* unless the intervals of all judges lie
on one side of 0.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import DataError
from afd_study.evaluation.judge_tables import JUDGE_TABLES
from afd_study.evaluation.pair_agreement import ABSENT, OPEN, side_of
from afd_study.evaluation.statistics import BOOTSTRAP, NO_INTERVAL, bootstrap_statistic
from afd_study.records import checked


def judged_contrasts(
    outcomes: pd.DataFrame,
    contrasts: Sequence[tuple[str, str]],
    *,
    n: int,
    groups: Mapping[str, str],
    spread: Mapping[str, float],
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Return table `judges_agree`: each (method, other method) under each judge of table `outcomes`.

    `groups` are prompt_id -> group, `spread` judge -> standard deviation of its points within prompts. A
    source (demonstrations) has its mean draw, at n = 1. A contrast with a method that the study lacks keeps
    its rows, without numbers. Raises DataError where two methods share no prompt, or have no interval.
    """
    sources = outcomes.groupby("method")["n"].transform("max") == 1
    kept = outcomes[(outcomes["n"] == n) | sources]
    rows = []
    for method, less in contrasts:
        for judge, own in kept.groupby("judge", sort=True):
            points = own.pivot(index="prompt_id", columns="method", values="value")
            if not {method, less} <= set(points.columns):
                rows.append((method, less, n, judge, *[np.nan] * 3, NO_INTERVAL, np.nan, 0, 0, ABSENT))
                continue
            gap = (points[method] - points[less]).dropna()
            value, low, high = _interval(gap, groups, (method, less), generator, level, resamples)
            sizes = (len(gap), len({groups[prompt] for prompt in gap.index}))
            row = (method, less, n, judge, value, low, high, BOOTSTRAP, spread[str(judge)], *sizes)
            rows.append((*row, side_of(low, high)))
    table = pd.DataFrame(rows, columns=list(JUDGE_TABLES["judges_agree"].columns[:-1]))
    return checked("judges_agree", table.assign(verdict=_verdicts(table)))


def _interval(
    gap: "pd.Series[float]",
    groups: Mapping[str, str],
    names: tuple[str, str],
    generator: np.random.Generator,
    level: float,
    resamples: int,
) -> tuple[float, float, float]:
    if not len(gap):
        raise DataError(f"no prompt has both {names[0]} and {names[1]}, so that they can't be compared")
    values = gap.to_numpy(dtype=float)

    def mean(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return weights @ values / weights.sum(axis=1)

    codes = [groups[prompt] for prompt in gap.index]
    estimate = bootstrap_statistic(mean, codes, generator=generator, level=level, resamples=resamples)
    return float(estimate.mean), float(estimate.low), float(estimate.high)


def _verdicts(table: pd.DataFrame) -> "pd.Series[str]":
    """Return the side on which all judges' intervals of a contrast lie, open where there is none."""
    sides = table.groupby(["method", "less_method"], sort=False)["side"]
    return sides.transform("first").where(sides.transform("nunique") == 1, OPEN)


def agreeing_share(table: pd.DataFrame) -> pd.DataFrame:
    """Return table `judges_share`: on what share of contrasts the judges of table `judges_agree` agree.

    Contrasts with a method that the study lacks do not count. An effect of 0 has no sign, and agrees with
    none.
    """
    formed = table[table["verdict"] != ABSENT]
    sign = np.sign(formed["value"])
    contrasts = formed.assign(sign=sign).groupby(["method", "less_method"], sort=False)
    same = (contrasts["sign"].nunique() == 1) & (contrasts["sign"].min() != 0)
    settled = contrasts["verdict"].first() != OPEN
    counts = {"n_contrasts": len(same), "n_same_sign": int(same.sum()), "n_settled": int(settled.sum())}
    shares = {"same_sign": same.mean(), "settled": settled.mean()} if len(same) else {}
    row = {"n": int(table["n"].iloc[0]), **counts, **({"same_sign": np.nan, "settled": np.nan} | shares)}
    return checked("judges_share", pd.DataFrame([row]))
