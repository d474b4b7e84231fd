"""Intervals of a share: how often a judge agrees with people."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from afd_study.errors import DataError, unknown_name
from afd_study.evaluation.statistics import Interval, check_level


def _wilson(share: float, count: int, tail: float) -> tuple[float, float]:
    z = stats.norm.isf(tail)
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _clopper_pearson(share: float, count: int, tail: float) -> tuple[float, float]:
    hits = share * count
    low = 0.0 if hits <= 0 else float(stats.beta.ppf(tail, hits, count - hits + 1))
    return low, 1.0 if hits >= count else float(stats.beta.isf(tail, hits + 1, count - hits))


PROPORTION_INTERVALS = {"wilson": _wilson, "clopper_pearson": _clopper_pearson}


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
    return Interval(share, *PROPORTION_INTERVALS[method](share, len(above), (1 - level) / 2))
