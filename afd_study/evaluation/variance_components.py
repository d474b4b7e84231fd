"""What a contrast varies by: world, seed within a world, replicate within a seed, and what each costs.

Estimated by a mixed model (REML, statsmodels) with strata as fixed effects. Where that does not converge, or
ends with a component of 0, they are those of the analysis of variance (unweighted means), which in a balanced
design are the same as long as none is below 0. From the components follows the half-width that W worlds, S
seeds and K replicates give.
"""

import warnings
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.statistics import check_level
from afd_study.evaluation.world_rows import STRATA, check_rows, effect_coding, pooled_variances, world_means

MIXED_MODEL, ANOVA = "mixed model", "analysis of variance"
LEVELS = ("world", "seed", "replicate")


class Components(NamedTuple):
    """Standard deviations in the contrast's unit; NaN where a level is not repeated.

    What is not repeated counts with the level above: with one seed a world, `world` holds the seeds' part.
    """

    world: float
    seed: float
    replicate: float
    method: str


def variance_components(rows: pd.DataFrame, strata: Sequence[str] = STRATA) -> Components:
    """Return the components of one contrast by the mixed model, or by ANOVA where that does not converge.

    Raises DataError for rows that `check_rows` refuses, and for worlds too few for the strata.
    """
    by_anova = anova_components(rows, strata)
    if np.isnan(by_anova.seed) or np.isnan(by_anova.replicate):
        return by_anova  # a level without repeats is none of the model's
    return mixed_components(rows, strata) or by_anova


def anova_components(rows: pd.DataFrame, strata: Sequence[str] = STRATA) -> Components:
    """Return the components by the analysis of variance of unweighted means, each 0 at least."""
    check_rows(rows, strata)
    pooled = pooled_variances(rows)
    square, df, within = _world_square(rows, strata)
    world = np.sqrt(max(0.0, square - within / df))
    return Components(float(world), float(np.sqrt(pooled.seed)), float(np.sqrt(pooled.replicate)), ANOVA)


def _world_square(rows: pd.DataFrame, strata: Sequence[str]) -> tuple[float, int, float]:
    """Return the residual mean square of world means, its degrees of freedom, and df times what is within."""
    means = world_means(rows, strata)
    effects, variances = (means[name].to_numpy(dtype=float) for name in ("effect", "variance"))
    design = effect_coding(means, strata)
    residual = np.eye(len(means)) - design @ np.linalg.pinv(design)
    df = round(float(np.trace(residual)))
    if df < 1:
        raise DataError(f"{len(means)} worlds are too few for the strata {list(strata)}: run more")
    return float(effects @ residual @ effects / df), df, float(np.diag(residual) @ variances)


def mixed_components(rows: pd.DataFrame, strata: Sequence[str] = STRATA) -> Components | None:
    """Return the components by REML, random effects of world and of seed in it; None without convergence.

    None too where a component is 0: statsmodels then can't say whether it has converged.
    """
    check_rows(rows, strata)
    table = rows.sort_values(["world", "seed"], kind="stable").reset_index(drop=True)
    effects = table["effect"].to_numpy(dtype=float)
    scale = float(effects.std())
    if scale == 0:
        return None
    names, blocks = [], []
    for _, part in table.groupby("world", sort=True):
        blocks.append(pd.get_dummies(part["seed"]).to_numpy(dtype=float))
        names.append([f"seed {i}" for i in range(blocks[-1].shape[1])])
    model = MixedLM(
        effects / scale,
        effect_coding(table, strata),
        groups=table["world"].to_numpy(),
        exog_re=np.ones((len(table), 1)),
        exog_vc=VCSpec(["seed"], [names], [blocks]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the way to a solution the covariance may be singular
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            result = model.fit(reml=True, method=["lbfgs", "powell"])
        except (ConvergenceWarning, np.linalg.LinAlgError):
            return None
    variances = (result.cov_re[0, 0], result.vcomp[0], result.scale)
    if not result.converged or not np.isfinite(variances).all():
        return None
    world, seed, replicate = (float(scale * np.sqrt(max(variance, 0.0))) for variance in variances)
    return Components(world, seed, replicate, MIXED_MODEL)


def component_intervals(
    rows: pd.DataFrame,
    strata: Sequence[str] = STRATA,
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    draws: int = 10_000,
) -> pd.DataFrame:
    """Return the components with intervals: columns component, sd, low, high, method.

    Generalised intervals (Weerahandi 1993): each mean square stands for its expectation times a chi-square
    over its degrees of freedom, and a component is a difference of two of them, 0 at least. Exact for
    replicates; near for the others in a balanced design, and rough in an unbalanced one. NaN for a level that
    is not repeated.
    """
    check_level(level)
    components = variance_components(rows, strata)
    pooled = pooled_variances(rows)
    square, df, _ = _world_square(rows, strata)
    seeds = rows.groupby(["world", "seed"]).size()
    per_seed, per_world = float(1 / np.mean(1 / seeds)), float(1 / np.mean(1 / seeds.groupby("world").size()))

    def draw(mean_square: float, freedom: int) -> np.ndarray:
        return mean_square * freedom / generator.chisquare(freedom, draws) if freedom else np.zeros(draws)

    replicate = draw(np.nan_to_num(pooled.replicate), pooled.df_replicate)
    in_seed = np.nan_to_num(pooled.replicate) / per_seed
    seed_square = draw(np.nan_to_num(pooled.seed) + in_seed, pooled.df_seed)
    world = draw(square, df) - (seed_square / per_world if pooled.df_seed else replicate / per_seed)
    variances = {"world": world, "seed": seed_square - replicate / per_seed, "replicate": replicate}
    tails = [0.5 - level / 2, 0.5 + level / 2]
    table = []
    for name in LEVELS:
        sd = getattr(components, name)
        bounds = np.sqrt(np.quantile(np.maximum(variances[name], 0), tails)) + 0 * sd  # NaN stays NaN
        table.append((name, sd, *bounds, components.method))
    return pd.DataFrame(table, columns=["component", "sd", "low", "high", "method"])


class HalfWidth(NamedTuple):
    """Half of the interval's expected width, in the components' unit, and its two parts.

    `ours` is what seeds and replicates alone give, `tau` what differences between worlds alone give; their
    squares add up to that of `total`.
    """

    total: float
    ours: float
    tau: float


def half_width(
    components: Components, *, worlds: int, seeds: int, replicates: int, n_fixed: int = 4, level: float = 0.95
) -> HalfWidth:
    """Return the half-width that W worlds x S seeds x K replicates give, in a balanced design.

    t sqrt((tau^2 + seed^2 / S + replicate^2 / (S K)) / W) with W - n_fixed degrees of freedom; `n_fixed` are
    the fixed effects: mean and three properties. A component that is NaN counts as 0, since the level above
    holds it. Raises SpecError for sizes below 1 and worlds that leave no degree of freedom.
    """
    check_level(level)
    if min(seeds, replicates) < 1 or worlds <= n_fixed:
        raise SpecError(
            f"{worlds} worlds x {seeds} seeds x {replicates} replicates give no interval: take at least "
            f"{n_fixed + 1} worlds, one seed and one replicate"
        )
    tau, seed, replicate = np.nan_to_num(components[:3]) ** 2
    ours = seed / seeds + replicate / (seeds * replicates)
    times = stats.t.ppf(0.5 + level / 2, worlds - n_fixed) / np.sqrt(worlds)
    return HalfWidth(*(float(times * np.sqrt(part)) for part in (tau + ours, ours, tau)))


def study_sizes(
    components: Components,
    *,
    worlds: int,
    seeds: Iterable[int] = (1, 2, 3),
    replicates: Iterable[int] = (1, 2, 4, 8),
    limit: float = 0.02,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return what each number of seeds and replicates would give, the fewest reward models a world first.

    Columns seeds, replicates, reward_models (seeds x replicates), total, ours, tau (`half_width`), enough:
    whether our part is within `limit` (the components' unit). The first row with `enough` is the choice.
    """
    rows = []
    for n_seeds in seeds:
        for k in replicates:
            parts = half_width(components, worlds=worlds, seeds=n_seeds, replicates=k, level=level)
            rows.append((n_seeds, k, n_seeds * k, *parts, parts.ours <= limit))
    columns = ["seeds", "replicates", "reward_models", *HalfWidth._fields, "enough"]
    return pd.DataFrame(rows, columns=columns).sort_values(["reward_models", "seeds"], ignore_index=True)
