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


def choice(
    results: pd.DataFrame, by: str, *, level: float = 0.95, keep_first: bool = True, cost: str | None = None
) -> pd.DataFrame:
    """Return each kind's recipe by one criterion: kind, recipe, best, n_worlds, lead, low, high.

    `results` has recipe, world, kind and the criterion, a row for each recipe, world, kind and seed. Recipes
    are compared by the mean over worlds of their difference from the recipe that stands first, for worlds
    differ more than recipes. `lead` is by how much the best is better than the first, with its t interval
    over worlds. Where that holds 0 the first is kept, unless `keep_first` is False. With `cost`, a further
    column, `recipe` is else the cheapest of those that lie within one standard error of the best (Breiman,
    Friedman, Olshen and Stone 1984, section 3.4.3), and else the best itself.

    Raises DataError where a recipe lacks a world.
    """
    require_columns(results, ("recipe", "world", "kind", by, *([cost] if cost else [])))
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
        taken = _cheapest(gains, best, part.groupby("recipe")[cost].mean()) if cost else best
        kept = taken if low > 0 or not keep_first else order[0]
        rows.append((kind, kept, best, len(wide), lead, low, high))
    return pd.DataFrame(rows, columns=["kind", "recipe", "best", "n_worlds", "lead", "low", "high"])


def _cheapest(gains: pd.DataFrame, best: str, costs: "pd.Series[float]") -> str:
    """Return the cheapest recipe that is no more than one standard error over worlds worse than the best."""
    behind = gains.rsub(gains[best], axis=0)
    near = behind.columns[behind.mean() <= behind.sem().fillna(0.0)]
    return str(costs[near].idxmin())
