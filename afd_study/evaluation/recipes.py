"""How good a recipe for a reward model is: without a judge, and beside it with one.

A user has no judge. What a user can measure is the loss on fresh responses, and how far reward models of one
recipe agree (Lakshminarayanan, Pritzel and Blundell 2017, arXiv 1612.01474, read disagreement as
uncertainty). The judge's mean of the picks says whether these two are good guides.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.evaluation.ranking import rank_correlation
from afd_study.evaluation.statistics import require_columns, t_interval
from afd_study.records import TABLES

LOWER = ("held_out_loss", "validation_loss", "objective_end")  # criteria of which the lowest is the best


def held_out_loss(scores: pd.DataFrame, *, scorer: str, high: str, low: str) -> float:
    """Return a discriminator's loss (nats a response) on test responses of its two sources, half of each.

    `scores` is table `scores`; log 2 where nothing is told apart. The test responses are none of those that
    it was trained or stopped by.

    Raises DataError where a source has no scored response.
    """
    require_columns(scores, TABLES["scores"].columns)
    rows = scores[scores["scorer"] == scorer]
    sides = []
    for source, sign in ((high, 1.0), (low, -1.0)):
        rewards = rows.loc[rows["source"] == source, "reward"].to_numpy(float)
        if not len(rewards):
            raise DataError(f"'{scorer}' scored no response of '{source}': score the held-out responses too")
        sides.append(np.logaddexp(0.0, -sign * rewards).mean())
    return float(np.mean(sides))


def agreement(scores: pd.DataFrame, scorers: Sequence[str], *, source: str = "pi_sft") -> float:
    """Return the mean rank correlation within prompts between all pairs of scorers (replicates of a recipe).

    NaN for fewer than two scorers. Prompts that a scorer scores all alike are left out of its pairs.
    """
    rows = scores[(scores["source"] == source) & scores["scorer"].isin(list(scorers))]
    wide = rows.pivot(index=["prompt_id", "draw"], columns="scorer", values="reward").sort_index()
    values = []
    for _, part in wide.groupby(level="prompt_id"):
        table = part.to_numpy(float).T
        values += [rank_correlation(table[i], table[j]) for i in range(len(table)) for j in range(i)]
    known = np.array(values, dtype=float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else np.nan


def choice(results: pd.DataFrame, by: str, *, level: float = 0.95, keep_first: bool = True) -> pd.DataFrame:
    """Return each kind's recipe by one criterion: kind, recipe, best, n_worlds, lead, low, high.

    `results` has recipe, world, kind and the criterion, a row for each recipe, world, kind and seed. Recipes
    are compared by the mean over worlds of their difference from the recipe that stands first, for worlds
    differ more than recipes. `lead` is by how much the best is better than the first, with its t interval
    over worlds. Where that holds 0 the first is kept, unless `keep_first` is False: `recipe` is then not the
    `best`.

    Raises DataError where a recipe lacks a world.
    """
    require_columns(results, ("recipe", "world", "kind", by))
    sign = -1.0 if by in LOWER else 1.0
    rows = []
    for kind, part in results.groupby("kind", sort=False):
        order = list(dict.fromkeys(part["recipe"]))
        wide = part.groupby(["world", "recipe"])[by].mean().unstack("recipe")[order]
        if wide.isna().any(axis=None):
            raise DataError(f"some recipe of {kind} lacks a world, or has no {by}: compute all of them")
        gains = sign * wide.sub(wide.iloc[:, 0], axis=0)
        best = str(gains.mean().idxmax())
        lead, low, high = map(float, t_interval(gains[best].to_numpy(), level))
        kept = best if low > 0 or not keep_first else order[0]
        rows.append((kind, kept, best, len(wide), lead, low, high))
    return pd.DataFrame(rows, columns=["kind", "recipe", "best", "n_worlds", "lead", "low", "high"])
