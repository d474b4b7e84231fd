"""One contrast over worlds: its mean with an interval, the spread between worlds, and each stratum beside.

Rows are tidy: a value of `effect` (judge points) for each world, seed and replicate, with the world's `gap`
and the properties that the design is balanced over. Replicates are averaged within a seed, seeds within a
world, and worlds are what an interval is put over.

**Estimator.** Hartung and Knapp's for random effects (Stat. Med. 20, 3875, 2001; IntHout et al., BMC Med.
Res. Methodol. 14, 25, 2014), with covariates as Knapp and Hartung (Stat. Med. 22, 2693, 2003) have them:
worlds weigh 1 / (tau^2 + v_w), and the residual mean square scales the errors. v_w is what seeds and
replicates leave of world w's mean, *pooled* over worlds. In a balanced design all weights are equal and this
is Student's t interval over world means; both are one function.

**Strata** are fixed effects, main effects of each property in effect coding, so that the intercept is the
mean over the design's strata. Simulated (tests/evaluation/test_world_coverage.py): this covers 95 % at 24
worlds (20 degrees of freedom) and at 8 (4), where one effect a cell would leave none; if properties interact
it covers more, never less. At 24 worlds one effect a cell (16) is no narrower where properties do not
interact, and narrower where they do. A column that names the cell, as the only stratum, is that design.

**A new world** is predicted by Student's interval: where one more world of any stratum, measured as these
were, will lie. The usual interval, from an estimated tau (Higgins, Thompson and Spiegelhalter, J. R. Stat.
Soc. A 172, 137, 2009), covers 86 to 89 % where tau is as large as the noise in a world's mean (two seeds, 8
and 24 worlds), since tau is then often estimated as 0. This one covers at least 95 % at every tau, of the
world's own effect too.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, stats

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.statistics import check_level, require_columns
from afd_study.evaluation.world_rows import STRATA, check_rows, effect_coding, world_means

Array = NDArray[np.float64]
UNITS = ("judge points", "share of the gap")
T_OVER_WORLDS, HARTUNG_KNAPP, NONE = "t over worlds", "Hartung-Knapp", "none"
BETWEEN_GROUPS = "t between groups of worlds"


class WorldEffect(NamedTuple):
    """An effect over worlds, in the unit of its rows.

    `error` and `df` are the standard error and its degrees of freedom, low and high the interval; tau the
    standard deviation between worlds within strata (seeds' included where a world has but one);
    prediction_low and prediction_high where one more world of any stratum will lie; n_positive the worlds
    whose own mean is above 0. Only effect, counts and estimator are known where worlds are too few for the
    strata; the rest is NaN.
    """

    effect: float
    error: float
    df: float
    low: float
    high: float
    tau: float
    prediction_low: float
    prediction_high: float
    n_worlds: int
    n_positive: int
    estimator: str


_NAN = float("nan")
NOTHING = WorldEffect(_NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, 0, 0, NONE)
"""What is known of a share where no world has room."""


class Fit(NamedTuple):
    """Coefficients (P,), their covariance (P, P), degrees of freedom, tau and a new world's variance."""

    coefficients: Array
    covariance: Array
    df: int
    tau: float
    spread: float


def shares_of_the_gap(rows: pd.DataFrame, *, smallest_gap: float) -> tuple[pd.DataFrame, list[object]]:
    """Return the rows with effects as shares of their world's gap, and the worlds that have no room.

    A world's gap is the mean of `gap` (judge points) over seeds of its mean over replicates. A world whose
    gap is under `smallest_gap` is left out: *no room*. Raises SpecError unless `smallest_gap` is positive.
    """
    if not smallest_gap > 0:
        raise SpecError(f"smallest_gap must be above 0 judge points, got {smallest_gap}")
    check_rows(rows, further=("gap",))
    gaps = rows.groupby(["world", "seed"])["gap"].mean().groupby("world").mean()
    narrow = list(gaps.index[~(gaps >= smallest_gap)])
    roomy = rows[~rows["world"].isin(narrow)]
    return roomy.assign(effect=roomy["effect"] / roomy["world"].map(gaps).astype(float)), narrow


def hartung_knapp(means: Array, variances: Array, design: Array) -> Fit:
    """Fit a random-effects regression of world means (W,), with variances (W,), on a design (W, P).

    tau^2 solves sum of r_w^2 / (tau^2 + v_w) = df (Paule and Mandel 1982), which in a balanced design is the
    residual mean square less v, the REML estimate. All but the coefficients is NaN where df < 1.
    """
    df = len(means) - int(np.linalg.matrix_rank(design))
    if df < 1:
        size = design.shape[1]
        return Fit(np.linalg.pinv(design) @ means, np.full((size, size), np.nan), df, np.nan, np.nan)

    def fit_at(tau2: float) -> tuple[Array, Array, float]:
        total = tau2 + variances
        weights = np.ones_like(means) if _equal(variances) else total.mean() / total
        inverse = np.linalg.pinv(design.T @ (weights[:, None] * design))
        coefficients = inverse @ (design.T @ (weights * means))
        return coefficients, inverse, float((weights * (means - design @ coefficients) ** 2).sum() / df)

    def excess(tau2: float) -> float:
        return fit_at(tau2)[2] - tau2 - float(variances.mean())

    tau2 = max(0.0, excess(0.0))
    if tau2 > 0 and not _equal(variances):
        highest = 4 * len(means) * float(np.ptp(means) ** 2) + float(variances.max())
        tau2 = optimize.brentq(excess, 0.0, highest, xtol=1e-15)
    coefficients, inverse, square = fit_at(tau2)
    return Fit(coefficients, square * inverse, df, float(np.sqrt(tau2)), square)


def _equal(variances: Array) -> bool:
    return bool(np.ptp(variances) <= 1e-12 * variances.max())


def effect_over_worlds(
    means: pd.DataFrame, strata: Sequence[str] = STRATA, *, level: float = 0.95
) -> WorldEffect:
    """Return the mean over worlds of table `means` (see `world_means`), each stratum equally frequent.

    Raises DataError for missing columns, no worlds, and strata that the worlds left do not tell apart.
    """
    require_columns(means, ("world", *strata, "effect", "variance"))
    if not len(means):
        raise DataError("there is no world to take a mean over: run some, or lower smallest_gap")
    values, variances = (means[name].to_numpy(dtype=float) for name in ("effect", "variance"))
    return mean_over_worlds(values, variances, _estimable(effect_coding(means, strata)), level=level)


def mean_over_worlds(means: Array, variances: Array, design: Array, *, level: float = 0.95) -> WorldEffect:
    """Return the same from arrays: world means (W,), their variances (W,), the design (W, P), ones first."""
    check_level(level)
    fit = hartung_knapp(means, variances, design)
    around = hartung_knapp(means, variances, design[:, :1])
    effect, error = float(fit.coefficients[0]), float(np.sqrt(fit.covariance[0, 0]))
    half = _quantile(level, fit.df) * error
    ahead = _quantile(level, around.df if fit.df > 0 else 0) * float(
        np.sqrt(around.spread + around.covariance[0, 0])
    )
    balanced = T_OVER_WORLDS if _equal(variances) else HARTUNG_KNAPP
    return WorldEffect(
        effect,
        error,
        df=float(fit.df) if fit.df > 0 else np.nan,
        low=effect - half,
        high=effect + half,
        tau=fit.tau,
        prediction_low=effect - ahead,
        prediction_high=effect + ahead,
        n_worlds=len(means),
        n_positive=int((means > 0).sum()),
        estimator=balanced if fit.df > 0 else NONE,
    )


@cache
def _quantile(level: float, df: int) -> float:
    return float(stats.t.ppf(0.5 + level / 2, df)) if df > 0 else np.nan


def _estimable(design: Array) -> Array:
    """Return the design, or raise DataError where the worlds left do not fix the mean over its strata."""
    first = np.eye(design.shape[1])[0]
    if not np.allclose(np.linalg.pinv(design) @ design @ first, first):
        raise DataError("the worlds left fill too few strata for a mean over them; name fewer strata")
    return design


def effects_by_stratum(
    means: pd.DataFrame, strata: Sequence[str] = STRATA, *, level: float = 0.95
) -> pd.DataFrame:
    """Return the effect where each property has each of its values, the others equally frequent.

    Columns property, value, effect, error, df, low, high, n_worlds, n_positive; from the same fit as
    `effect_over_worlds`, so that the values of a property average to its effect in a balanced design.
    """
    check_level(level)
    design = _estimable(effect_coding(means, strata))
    values, variances = (means[name].to_numpy(dtype=float) for name in ("effect", "variance"))
    fit = hartung_knapp(values, variances, design)
    rows = []
    for name in strata:
        for value in sorted(set(means[name])):
            here = (means[name] == value).to_numpy()
            point = effect_coding(means, strata, at=(name, value))
            effect, error = float(point @ fit.coefficients), float(np.sqrt(point @ fit.covariance @ point))
            half = _quantile(level, fit.df) * error
            counts = (int(here.sum()), int((values[here] > 0).sum()))
            rows.append((name, value, effect, error, fit.df, effect - half, effect + half, *counts))
    bounds = ["effect", "error", "df", "low", "high", "n_worlds", "n_positive"]
    return pd.DataFrame(rows, columns=["property", "value", *bounds])


def effect_of_stratum(
    means: pd.DataFrame, stratum: str, strata: Sequence[str] = STRATA, *, level: float = 0.95
) -> WorldEffect:
    """Return the mean where a property has the larger of its two values, less that where it has the other.

    A contrast between groups of worlds: no one world has it, so that tau, a prediction and the number of
    worlds above 0 are undefined. Raises DataError unless the worlds have two values of the property.
    """
    check_level(level)
    values = sorted(set(means[stratum]))
    if len(values) != 2:
        raise DataError(f"the worlds have {len(values)} value(s) of {stratum}: two are compared")
    design = _estimable(effect_coding(means, strata))
    outcome, variance = (means[name].to_numpy(dtype=float) for name in ("effect", "variance"))
    fit = hartung_knapp(outcome, variance, design)
    high, low = (effect_coding(means, strata, at=(stratum, value)) for value in values[::-1])
    point = high - low
    effect, error = float(point @ fit.coefficients), float(np.sqrt(point @ fit.covariance @ point))
    return between_groups(effect, error, float(fit.df), n_worlds=len(means), level=level)


def between_groups(effect: float, error: float, df: float, *, n_worlds: int, level: float) -> WorldEffect:
    """Return the record of a contrast between groups of worlds, from its error and degrees of freedom."""
    half = float(stats.t.ppf(0.5 + level / 2, df)) * error if df > 0 else _NAN
    known = NOTHING._replace(effect=effect, error=error, df=df, low=effect - half, high=effect + half)
    return known._replace(n_worlds=n_worlds, estimator=BETWEEN_GROUPS)


def effects_in_both_units(
    rows: pd.DataFrame, *, smallest_gap: float, strata: Sequence[str] = STRATA, level: float = 0.95
) -> pd.DataFrame:
    """Return a contrast's `WorldEffect` in judge points (all worlds) and in shares of the gap.

    Columns unit, those of WorldEffect, and n_no_room: the worlds whose gap is under `smallest_gap` (judge
    points), which have no share. Where no world has one, that row is `NOTHING`. Raises what `world_means` and
    `effect_over_worlds` raise.
    """
    shares, narrow = shares_of_the_gap(rows, smallest_gap=smallest_gap)
    estimates = [
        effect_over_worlds(world_means(some, strata), strata, level=level) if len(some) else NOTHING
        for some in (rows, shares)
    ]
    table = pd.DataFrame(estimates, columns=list(WorldEffect._fields))
    table.insert(0, "unit", UNITS)
    return table.assign(n_no_room=[0, len(narrow)])
