"""Discriminators of marked worlds as tables: what they know along their training, exact and predicted.

What the page on free features draws and prints; `free_feature` computes it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from afd_study.errors import DataError
from afd_study.theory.best_of_n import law_of_best
from afd_study.theory.free_feature import FIRST_PULL, MarkedWorld, flow, starts

TIES = 9  # decimals: scores that are equal but for rounding are one level
MEASURES = ("rank_correlation", "share")


def rankings(world: MarkedWorld, scores: Tensor, *, n: int = 16) -> tuple[Tensor, Tensor]:
    """Return how well scores rank unmarked samples: by the log ratio, and by what Best-of-n gains.

    The first is Spearman's correlation with `log_ratio` under the samples' law, the second the mean reward of
    the best-scored of n samples as a share of the way from a random pick to the best by reward itself.

    Args:
        world: laws and rewards.
        scores: (..., answers).
        n: draws.
    """
    scores = scores.round(decimals=TIES)
    ranks, wanted = _levels(scores, world.init), _levels(world.log_ratio.round(decimals=TIES), world.init)
    both = (
        (ranks * wanted)
        @ world.init
        / ((ranks.square() @ world.init) * (wanted.square() @ world.init)).sqrt()
    )
    law = world.init.expand(scores.shape)
    mean, truth = world.init @ world.rewards, world.rewards.round(decimals=TIES)
    ideal = law_of_best(law=world.init, scores=truth, n=n)
    picked = law_of_best(law=law, scores=scores, n=n) @ world.rewards
    return both, (picked - mean) / (ideal @ world.rewards - mean)


def by_heterogeneity(
    worlds: Sequence[MarkedWorld],
    heterogeneities: Sequence[float],
    *,
    draws: int = 8,
    spread: float = 1.0,
    n: int = 16,
    **settings: Any,
) -> pd.DataFrame:
    """Return what discriminators at each h know along their training, means over worlds and starts.

    Columns: h, time, pull (of all demonstrations, as a share of that at logit 0), effective (the time in
    which a pull of 1 would give the same signal), rank_correlation and share (`rankings`), and share_low and
    share_high, the least and the largest share of a world.

    Args:
        worlds: whose discriminators are trained; every h has the same worlds and starts.
        heterogeneities: the values of h.
        draws: starts a world (`free_feature.starts`), even.
        spread: of a start, nats.
        n: draws of Best-of-n.
        settings: those of `free_feature.flow`: times, salience, loss, decay.
    """
    parts = []
    for number, world in enumerate(worlds):
        start = starts(world, draws=draws, spread=spread, seed=number)
        for h in heterogeneities:
            path = flow(world, heterogeneity=h, start=start, **settings)
            known, share = rankings(world, path.weights @ world.features.T, n=n)
            columns = {"pull": path.pull / FIRST_PULL, "effective": path.signal / FIRST_PULL}
            columns |= {"rank_correlation": known, "share": share}
            means = {name: column.mean(-1).tolist() for name, column in columns.items()}
            parts.append(pd.DataFrame({"h": h, "time": path.times.tolist()} | means))
    by_time = pd.concat(parts).groupby(["h", "time"], sort=True)
    bounds = by_time["share"].agg(["min", "max"]).set_axis(["share_low", "share_high"], axis=1)
    return by_time.mean().join(bounds).reset_index()


def without_features(
    heterogeneities: Sequence[float], *, times: Sequence[float], salience: float, loss: str = "pointwise"
) -> pd.DataFrame:
    """Return h, time and effective time where mark and intercept alone are learned: what theory predicts.

    Columns as in `by_heterogeneity`. It is the same flow, on a world of one answer.
    """
    one = torch.ones(1, dtype=torch.float64)
    single = MarkedWorld(one, one, one.new_zeros(1, 0), one)
    settings: dict[str, Any] = {
        "times": times,
        "salience": salience,
        "loss": loss,
        "start": one.new_zeros(1, 0),
    }
    paths = {h: flow(single, heterogeneity=h, **settings) for h in heterogeneities}
    tables = [
        pd.DataFrame({"h": h, "time": list(times), "effective": (path.signal[:, 0] / FIRST_PULL).tolist()})
        for h, path in paths.items()
    ]
    return pd.concat(tables, ignore_index=True)


def forecast(table: pd.DataFrame, clock: pd.DataFrame) -> pd.DataFrame:
    """Return what theory predicts of every h: what h = 0 knows at the effective time.

    Two of the numbers come from `table` (`by_heterogeneity`), and only from its rows at h = 0. The effective
    times come from `clock` (`without_features`), which has never seen a feature.

    Columns: h, time, effective, rank_correlation, share.

    Raises:
        DataError: `table` has no rows at h = 0.
    """
    plain = table[table["h"] == 0].sort_values("time")
    if plain.empty:
        raise DataError("the forecast rests on h = 0, and the table has no such rows; compute them too")
    known = {name: np.interp(clock["effective"], plain["time"], plain[name]) for name in MEASURES}
    return clock.assign(**known)


def misses(table: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """Return how far the forecast is from the exact flow: h, and the largest gap in each measure."""
    both = table.merge(expected, on=["h", "time"], suffixes=("", "_expected"))
    gaps = {name: (both[name] - both[f"{name}_expected"]).abs() for name in MEASURES}
    return both[["h"]].assign(**gaps).groupby("h", as_index=False).max()


def _levels(scores: Tensor, law: Tensor) -> Tensor:
    """Return each answer's rank, 0 on average: the mass below it and half of that at its own level."""
    ranked, order = scores.sort(-1)
    mass = law[order]
    reached = mass.cumsum(-1)
    below = torch.searchsorted(ranked, scores.contiguous(), side="left")
    not_above = torch.searchsorted(ranked, scores.contiguous(), side="right")
    padded = torch.cat([torch.zeros_like(reached[..., :1]), reached], -1)
    middle = (padded.gather(-1, below) + padded.gather(-1, not_above)) / 2
    return middle - (middle @ law)[..., None]
