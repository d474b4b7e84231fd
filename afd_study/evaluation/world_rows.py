"""The rows of one contrast over worlds, and the design that they are balanced over.

A row is one world, seed and replicate: columns world, seed, replicate, `effect` and the world's properties
(STRATA). A world's name holds its family where there are several: worlds are told apart by this column alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import DataError
from afd_study.evaluation.statistics import require_columns

STRATA = ("kinds", "likely_good", "web_ends")
"""Properties in a balanced design: kinds of good answer, likely answers good, the web ends its answers."""
ROW = ("world", "seed", "replicate")


def varying(rows: pd.DataFrame) -> list[str]:
    """Return the STRATA that the rows' worlds differ in: a property with one value has no effect."""
    return [name for name in STRATA if rows[name].nunique() > 1]


class Pooled(NamedTuple):
    """Variances within worlds, pooled over worlds, and their degrees of freedom; NaN where df is 0."""

    seed: float
    replicate: float
    df_seed: int
    df_replicate: int


def check_rows(rows: pd.DataFrame, strata: Sequence[str] = (), *, further: Sequence[str] = ()) -> None:
    """Raise DataError for missing columns, no rows, repeated or undefined ones, a world in two strata."""
    require_columns(rows, (*ROW, "effect", *strata, *further))
    if not len(rows):
        raise DataError("there are no rows of this contrast: run some worlds")
    if rows.duplicated(list(ROW)).any():
        row = rows.loc[rows.duplicated(list(ROW)), list(ROW)].iloc[0].to_dict()
        raise DataError(f"a contrast repeats {row}: give one task, setting and contrast at a time")
    numbers = ["effect", *further]
    undefined = ~np.isfinite(rows[numbers].to_numpy(dtype=float)).all(axis=1)
    if undefined.any():
        row = rows.loc[undefined, list(ROW)].iloc[0].to_dict()
        raise DataError(f"{' or '.join(numbers)} is undefined at {row}: compute it, or leave the row out")
    places = rows[["world", *strata]].drop_duplicates()
    if places["world"].duplicated().any():
        world = places.loc[places["world"].duplicated(), "world"].iloc[0]
        raise DataError(f"world {world} is in several strata of {list(strata)}: two worlds share its name")


def effect_coding(
    worlds: pd.DataFrame, strata: Sequence[str] = STRATA, *, at: tuple[str, object] | None = None
) -> NDArray[np.float64]:
    """Return the design (W, P): ones, and each property's main effect in effect (sum to zero) coding.

    The intercept is then the mean over the strata's values, each equally frequent. A property with one value
    has no column. `at`, a property and one of its values, returns the row (P,) of the mean there.
    """
    parts, point = [np.ones((len(worlds), 1))], [np.ones(1)]
    for name in strata:
        values = sorted(set(worlds[name]))
        codes = np.vstack([np.eye(len(values) - 1), -np.ones(len(values) - 1)])
        parts.append(codes[[values.index(value) for value in worlds[name]]])
        here = at is not None and at[0] == name
        point.append(codes[values.index(at[1])] if at and here else np.zeros(len(values) - 1))
    return np.concatenate(point) if at else np.hstack(parts)


def pooled_variances(rows: pd.DataFrame) -> Pooled:
    """Return the variance between replicates of a seed, and between seeds of a world beyond that.

    By unweighted means: the squares of seed means around their world's mean less what replicates leave in
    them, 0 at least. In a balanced design these are the analysis of variance's estimators. With one replicate
    everywhere the seeds' variance holds the replicates'.
    """
    return _pooled(_seeds(rows))


def _seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean, size and variance of the replicates of each seed, by world and seed."""
    return rows.groupby(["world", "seed"])["effect"].agg(["mean", "size", "var"])


def _pooled(seeds: pd.DataFrame) -> Pooled:
    df_replicate = int((seeds["size"] - 1).sum())
    replicate = np.nan
    if df_replicate:
        replicate = float((seeds["var"] * (seeds["size"] - 1)).sum() / df_replicate)
    worlds = seeds.groupby("world")
    n_seeds = worlds["mean"].transform("size")
    df_seed = len(seeds) - worlds.ngroups
    seed = np.nan
    if df_seed:
        squares = float(((seeds["mean"] - worlds["mean"].transform("mean")) ** 2).sum())
        left = float(((1 - 1 / n_seeds) / seeds["size"]).sum()) * np.nan_to_num(replicate)
        seed = max(0.0, (squares - left) / df_seed)
    return Pooled(seed, replicate, df_seed, df_replicate)


def world_means(rows: pd.DataFrame, strata: Sequence[str] = STRATA) -> pd.DataFrame:
    """Return each world's mean: columns world, `strata`, effect, variance, n_seeds, n_replicates (fewest).

    `variance` is what seeds and replicates leave of the mean, from their variances pooled over worlds; with
    one seed a world it holds the replicates' part alone. Raises DataError for missing columns, repeated or
    undefined rows, and a world in two strata.
    """
    check_rows(rows, strata)
    seeds = _seeds(rows)
    pooled = _pooled(seeds)
    seeds["variance"] = np.nan_to_num(pooled.seed) + np.nan_to_num(pooled.replicate) / seeds["size"]
    worlds = seeds.groupby("world")
    n_seeds = worlds.size()
    means = pd.DataFrame(
        {
            "effect": worlds["mean"].mean(),
            "variance": worlds["variance"].sum() / n_seeds**2,
            "n_seeds": n_seeds,
            "n_replicates": worlds["size"].min(),
        }
    )
    return (
        rows[["world", *strata]]
        .drop_duplicates("world")
        .merge(means, on="world")
        .sort_values("world", ignore_index=True)
    )
