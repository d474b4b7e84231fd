"""How much pairs can show that a person decides: the exact sign test, and how many pairs a gain needs.

n decided pairs are n tosses of a coin that falls for the pick with the true win rate. The exact binomial test
(two-sided, of a fair coin) rejects where the exact interval of Clopper and Pearson (1934) leaves out 1/2.
Pairs without a difference are not decided, and count in neither.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from afd_study.errors import SpecError
from afd_study.evaluation.statistics import check_level

LEVEL, POWER = 0.95, 0.8
# of tulu-2-dpo-13b's Best-of-16 by PairRM, in GPT-4's preference (AlpacaEval, Li et al. 2023; our table
# systems/within_policy has .035 [.012, .058])
SMALL_GAIN = 0.035
LEAST_GAIN = 0.001  # some two million pairs; nobody labels more


def least_wins(n: ArrayLike, *, level: float = LEVEL) -> NDArray[np.int64]:
    """Return how many of n decided pairs, (...), must fall one way for the exact test to reject 1/2: (...).

    It is n + 1 where not even n of n are enough. Raises SpecError for a level that is no probability.
    """
    check_level(level)
    return stats.binom.isf((1 - level) / 2, np.asarray(n), 0.5).astype(np.int64) + 1


def least_win_rate(n: int, *, level: float = LEVEL) -> float:
    """Return the least win rate among n decided pairs that the exact test tells from 1/2.

    It is a rate to be observed; `findable_win_rate` is a true one. NaN where no outcome is enough, as of 5
    pairs at level 0.95. Raises SpecError for less than one pair.
    """
    _check_pairs(n)
    wins = int(least_wins(n, level=level))
    return wins / n if wins <= n else math.nan


def findable_win_rate(n: int, *, level: float = LEVEL, power: float = POWER) -> float:
    """Return the true win rate that n decided pairs tell from 1/2 with probability `power`, and no lower.

    The chance of k wins or more is I_p(k, n - k + 1), whose inverse in p is a quantile of the beta
    distribution. NaN where no outcome is enough. Raises SpecError for less than one pair.
    """
    _check_pairs(n)
    _check_power(power)
    wins = int(least_wins(n, level=level))
    return float(stats.beta.ppf(power, wins, n - wins + 1)) if wins <= n else math.nan


def power_of(n: ArrayLike, gain: float, *, level: float = LEVEL) -> NDArray[np.float64]:
    """Return the chance that n decided pairs, (...), show a win rate of 1/2 + gain to be above 1/2: (...)."""
    return stats.binom.sf(least_wins(n, level=level) - 1, np.asarray(n), 0.5 + gain)


def needed_pairs(gain: float, *, level: float = LEVEL, power: float = POWER) -> int:
    """Return from how many decided pairs on a true win rate of 1/2 + gain is told from 1/2.

    `power` is the least probability of that, at this number of pairs and at every larger one. The exact
    test's power is no monotone function of n, but falls by a little wherever one win more becomes necessary.
    Raises SpecError for a gain outside LEAST_GAIN to 1/2, a level or a power that is no probability.
    """
    check_level(level)
    _check_power(power)
    if not LEAST_GAIN <= gain <= 0.5:
        raise SpecError(f"gain must lie between {LEAST_GAIN} and 0.5 in win rate, got {gain}; 0.1 is large")
    quantiles = stats.norm.ppf(0.5 + level / 2), stats.norm.ppf(power)
    about = ((quantiles[0] / 2 + quantiles[1] * math.sqrt(0.25 - gain**2)) / gain) ** 2
    # A win more costs the power of about 2 / gain pairs
    around = 10 / gain + 30
    sizes = np.arange(max(1, int(about - around)), int(about + around))
    too_few = sizes[power_of(sizes, gain, level=level) < power]
    return int(too_few[-1]) + 1 if len(too_few) else int(sizes[0])


def limits(n: int, *, gain: float = SMALL_GAIN, level: float = LEVEL, power: float = POWER) -> list[str]:
    """Return, as sentences, what n pairs can settle and what they can't: to be read before labelling."""
    wins, test = int(least_wins(n, level=level)), f"exact binomial test, two-sided, at {percent(1 - level)}"
    needed = needed_pairs(gain, level=level, power=power)
    if wins > n:
        settled = [f"{count_of(n, 'pair')} can settle nothing, whatever you choose ({test})."]
    else:
        found = findable_win_rate(n, level=level, power=power)
        settled = [
            f"{n} pairs settle only a large difference: the picks must win {wins} of {n} "
            f"({percent(wins / n)}) or more before they are shown to be better ({test}). If their true win "
            f"rate is {percent(found)}, they will do so with a probability of {percent(power)}.",
            "A pair in which you see no difference decides nothing, and the others must then be clearer.",
        ]
    return [
        *settled,
        f"A smaller gain needs more pairs. To show a win rate of {percent(0.5 + gain)}, a gain of the size "
        f"that is published for Best-of-16, takes {needed:,} decided pairs (at a power of {percent(power)}). "
        "So if the result is not settled, this will not mean that both are equally good.",
    ]


def percent(share: float) -> str:
    """Return a share as per cent with one decimal, which .0 is left out of: "66 %", "53.5 %"."""
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def count_of(count: int, noun: str) -> str:
    """Return "1 pair" or "1,200 pairs"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _check_pairs(n: int) -> None:
    if n < 1:
        raise SpecError(f"n must be at least 1 decided pair, got {n}")


def _check_power(power: float) -> None:
    if not 0.5 <= power < 1:
        raise SpecError(f"power must lie between 0.5 and 1, got {power}; 0.8 is usual")
