"""The law of when, fitted: halves of the worlds, ridge regression, errors by leaving out worlds.

All cells of a world (its levels of h) are one unit: a half, and what is left out, is made of whole worlds.
Worlds are left out in up to three nested loops: to choose the penalty, for the law's errors, and to try it.
So one decomposition solves the ridge for all penalties; a test compares it with scikit-learn's.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.statistics import require_columns
from afd_study.evaluation.when import DIAGNOSTICS, RIVALS, Law, Range
from afd_study.evaluation.world_rows import STRATA

Array = NDArray[np.float64]
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Of which one is chosen, for standardised diagnostics and a mean (not a sum) of squares."""
SHRINKAGE = (
    0.1  # added to the correlation matrix's diagonal, so that near copies are no direction of their own
)


def halves(worlds: pd.DataFrame, *, seed: int, strata: Sequence[str] = STRATA) -> "pd.Series[str]":
    """Split worlds into halves A and B within strata: a Series by world.

    `worlds` has a row a world: world and `strata`. Each stratum is shuffled and dealt out; of an odd number
    one half gets one more, the halves in turn over the strata, in an order that is drawn. The same worlds and
    seed give the same halves in whichever order they come. Raises DataError for missing columns and a world
    that stands twice.
    """
    require_columns(worlds, ("world", *strata))
    if worlds["world"].duplicated().any():
        raise DataError(f"world {worlds.loc[worlds['world'].duplicated(), 'world'].iloc[0]} stands twice")
    generator = np.random.default_rng(seed)
    ordered = worlds.sort_values([*strata, "world"])
    parts = [list(part) for _, part in ordered.groupby(list(strata), sort=True)["world"]]
    side, result = 0, {}
    for i in generator.permutation(len(parts)):
        for j in generator.permutation(len(parts[i])):
            result[parts[i][j]] = "AB"[side]
            side = 1 - side
    return pd.Series(result, name="half", dtype=str).rename_axis("world").sort_index()


def fit_law(
    cells: pd.DataFrame,
    *,
    rivals: Sequence[str] = RIVALS,
    diagnostics: Sequence[str] = tuple(DIAGNOSTICS),
    penalties: Sequence[float] = PENALTIES,
    slack: float = 0.1,
) -> Law:
    """Fit the law on cells: columns world, the diagnostics and lead_over_RIVAL (share of the gap).

    Ridge regression, one penalty for all rivals: the one of least squared error in worlds left out (the
    largest of equals). For the law's errors the penalty is chosen again without the world.

    Raises DataError for missing columns, undefined values and fewer than four worlds, SpecError for penalties
    that are not positive and a negative slack.
    """
    x, y, groups = _arrays(cells, rivals, diagnostics)
    if not len(penalties) or min(penalties) <= 0 or not slack >= 0:
        raise SpecError(f"penalties must be above 0 and slack at least 0, got {list(penalties)} and {slack}")
    errors = np.sqrt(((_leads_without(x, y, groups, penalties) - y) ** 2).mean(axis=0))
    penalty = _best_penalty(x, y, groups, penalties)
    centre, scale, solutions = _ridge(x, y, [penalty])
    coefficients = dict(zip(rivals, solutions[0], strict=True))
    z = (x - centre) / scale
    precision = np.linalg.inv(z.T @ z / len(z) + SHRINKAGE * np.eye(z.shape[1]))
    radius = float(np.sqrt(np.einsum("ni,ij,nj->n", z, precision, z).max()))
    return Law(
        diagnostics=tuple(diagnostics),
        centre=tuple(centre.tolist()),
        scale=tuple(scale.tolist()),
        intercepts=dict(zip(rivals, y.mean(axis=0).tolist(), strict=True)),
        coefficients={rival: tuple(row.tolist()) for rival, row in coefficients.items()},
        penalty=penalty,
        errors=dict(zip(rivals, errors.tolist(), strict=True)),
        ranges={
            name: Range(low=low, high=high)
            for name, low, high in zip(diagnostics, x.min(axis=0), x.max(axis=0), strict=True)
        },
        precision=tuple(map(tuple, precision.tolist())),
        radius=radius,
        slack=slack,
        n_worlds=len(set(groups)),
        n_cells=len(cells),
    )


def leave_worlds_out(
    cells: pd.DataFrame,
    *,
    rivals: Sequence[str] = RIVALS,
    diagnostics: Sequence[str] = tuple(DIAGNOSTICS),
    penalties: Sequence[float] = PENALTIES,
    slack: float = 0.1,
) -> pd.DataFrame:
    """Return `Law.predict` of every cell by the law of the other worlds (index and order as in `cells`).

    Penalty, range and error of each law come from those other worlds too. Raises what `fit_law` raises, and
    DataError for fewer than five worlds.
    """
    groups = _arrays(cells, rivals, diagnostics, fewest=5)[2]
    tables = []
    for world in sorted(set(groups)):
        left_out = groups == world
        law = fit_law(
            cells[~left_out], rivals=rivals, diagnostics=diagnostics, penalties=penalties, slack=slack
        )
        tables.append(law.predict(cells[left_out]))
    return pd.concat(tables).loc[cells.index]


def _arrays(
    cells: pd.DataFrame, rivals: Sequence[str], diagnostics: Sequence[str], fewest: int = 4
) -> tuple[Array, Array, NDArray[np.str_]]:
    leads = [f"lead_over_{rival}" for rival in rivals]
    require_columns(cells, ("world", *diagnostics, *leads))
    values = cells[[*diagnostics, *leads]].to_numpy(dtype=float)
    if not np.isfinite(values).all():
        row = cells[~np.isfinite(values).all(axis=1)].iloc[0]
        raise DataError(
            f"a cell of world {row['world']} lacks a diagnostic or a lead; leave it out of the fit"
        )
    if not cells.index.is_unique:
        raise DataError("the cells' index repeats; give them one without repeats (reset_index)")
    groups = cells["world"].astype(str).to_numpy(dtype=str)
    if len(set(groups)) < fewest:
        raise DataError(
            f"this needs {fewest} worlds or more, and the cells are of {len(set(groups))}: run more"
        )
    return values[:, : len(diagnostics)], values[:, len(diagnostics) :], groups


def _ridge(x: Array, y: Array, penalties: Sequence[float]) -> tuple[Array, Array, Array]:
    """Return centre (D,), scale (D,) and, by penalty, coefficients (P, R, D) of standardised diagnostics."""
    centre, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > 1e-12, spread, 1.0)  # a constant diagnostic says nothing
    z = (x - centre) / scale
    strengths, axes = np.linalg.eigh(z.T @ z / len(z))
    along = axes.T @ z.T @ (y - y.mean(axis=0)) / len(z)
    solutions = along / (strengths + np.asarray(penalties)[:, None])[:, :, None]
    return centre, scale, np.swapaxes(axes @ solutions, 1, 2)


def _leads_at(x: Array, y: Array, penalties: Sequence[float], others: Array) -> Array:
    """Return the leads (P, N, R) of other cells, with each penalty."""
    centre, scale, coefficients = _ridge(x, y, penalties)
    return y.mean(axis=0) + (others - centre) / scale @ np.swapaxes(coefficients, 1, 2)


def _best_penalty(x: Array, y: Array, groups: NDArray[np.str_], penalties: Sequence[float]) -> float:
    ordered, squares = sorted(penalties, reverse=True), np.zeros(len(penalties))
    for world in sorted(set(groups)):
        out = groups == world
        squares += ((_leads_at(x[~out], y[~out], ordered, x[out]) - y[out]) ** 2).sum(axis=(1, 2))
    return float(ordered[int(np.argmin(squares))])


def _leads_without(x: Array, y: Array, groups: NDArray[np.str_], penalties: Sequence[float]) -> Array:
    """Return each cell's leads (N, R) by the other worlds, whose penalty is chosen among themselves."""
    result = np.empty_like(y)
    for world in sorted(set(groups)):
        out = groups == world
        penalty = _best_penalty(x[~out], y[~out], groups[~out], penalties)
        result[out] = _leads_at(x[~out], y[~out], [penalty], x[out])[0]
    return result
