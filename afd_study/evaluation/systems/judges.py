"""Judges that nobody here made: fitted to people's preferences, or to GPT-4's verdicts, and tried on others.

A judge is a logistic regression, without an intercept, on the difference of two answers' features. So it
gives every answer a score, and the order of a pair does not matter. Its accuracy is of pairs whose group (the
opening of a dialogue, or a prompt) it was not fitted on, in strata of the difference in length, beside the
rules *longer* and *shorter*: what these reach needs no judge.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import DataError
from afd_study.evaluation.statistics import (
    BOOTSTRAP,
    bootstrap_statistic,
    percentile_interval,
    ratio,
    resampling_weights,
)
from afd_study.evaluation.systems.discriminators import folds_of
from afd_study.evaluation.systems.features import Features, Matrix
from afd_study.evaluation.systems.grid import Grid
from afd_study.evaluation.systems.two_way import TWO_WAY
from afd_study.evaluation.text_features import LENGTHS
from afd_study.models.regressions import bradley_terry
from afd_study.worlds.corpus import Corpus
from afd_study.worlds.entries import opening

JUDGE, SHORTER_LENGTH, LONGER, SHORTER = "judge", "judge, length taken out", "longer", "shorter"
STRATA = ("all", "least difference in length", "middle", "most difference in length")
APART = 0.5  # verdicts that differ by less make no pair


class Pairs(NamedTuple):
    """K pairs among M texts: numbers of the preferred and the rejected answer, groups, and log(1 + words).

    `lengths` is of the texts (M,). `systems` names the two answers' systems, (K, 2); None where people's
    pairs have none.
    """

    preferred: NDArray[np.int64]
    rejected: NDArray[np.int64]
    groups: NDArray[np.str_]
    lengths: NDArray[np.float64]
    systems: NDArray[np.str_] | None = None

    def take(self, mask: NDArray[np.bool_]) -> "Pairs":
        """Return some of the pairs, of the same texts."""
        systems = None if self.systems is None else self.systems[mask]
        return self._replace(
            preferred=self.preferred[mask],
            rejected=self.rejected[mask],
            groups=self.groups[mask],
            systems=systems,
        )

    @property
    def difference(self) -> NDArray[np.float64]:
        """The preferred answer's log length less the rejected one's, (K,)."""
        return self.lengths[self.preferred] - self.lengths[self.rejected]


def human_pairs(corpus: Corpus) -> tuple[Pairs, list[str]]:
    """Return people's pairs of a data set (hh_rlhf.load), grouped by how the dialogue opens, and their texts.

    Prompts are not read: both answers of a pair have the same. Raises DataError without pairs.
    """
    rows = corpus.preferences
    if not len(rows):
        raise DataError("the data set holds no pair that people compared")
    texts = [*rows["preferred"], *rows["rejected"]]
    prompts = corpus.prompts.set_index("prompt_id")["text"]
    number = np.arange(len(rows))
    groups = rows["prompt_id"].map(prompts).map(opening).to_numpy(dtype=str)
    lengths = np.array([LENGTHS["words"](text) for text in texts])
    return Pairs(number, number + len(rows), groups, lengths), texts


def verdict_pairs(grid: Grid, *, generator: np.random.Generator, per_prompt: int = 20) -> Pairs:
    """Return pairs of two systems' answers to one prompt whose verdicts differ by half a point or more.

    Of each prompt at most `per_prompt` pairs are drawn. Groups are prompts.
    """
    upper = np.triu_indices(len(grid.systems), 1)
    chosen: list[tuple[int, int, int]] = []
    for prompt, verdicts in enumerate(grid.verdicts):
        gap = np.nan_to_num(verdicts[upper[0]] - verdicts[upper[1]])
        apart = np.flatnonzero(np.abs(gap) >= APART)
        drawn = np.sort(generator.permutation(apart)[:per_prompt])
        for pair in drawn:
            sides = (int(upper[0][pair]), int(upper[1][pair]))
            chosen.append((prompt, *(sides if gap[pair] > 0 else sides[::-1])))
    if not chosen:
        raise DataError("no two systems have verdicts that differ by half a point on one prompt")
    prompt, better, worse = np.array(chosen, dtype=np.int64).T
    return Pairs(
        preferred=grid.rows[prompt, better],
        rejected=grid.rows[prompt, worse],
        groups=grid.prompts[prompt],
        lengths=grid.per_text(grid.lengths),
        systems=np.array(grid.systems)[np.stack([better, worse], axis=1)],
    )


class Judge(NamedTuple):
    """A fitted judge: weights (F,) on features that were fitted to the texts `fit_on`, and slope of length.

    `slope` is what a step in log length adds to its score on the fitted pairs: the judge without length
    gives `features @ weights - slope * log length`.
    """

    weights: NDArray[np.float64]
    fit_on: NDArray[np.int64]
    slope: float


def fit_judge(pairs: Pairs, features: Features, *, l2: float) -> Judge:
    """Fit a judge to pairs: least summed log loss (nats) + l2 / 2 |weights|^2.

    Raises SpecError for an l2 that is not positive, DataError without pairs.
    """
    fit_on = np.unique(np.concatenate([pairs.preferred, pairs.rejected]))
    better, worse = features(fit_on=fit_on, of=[pairs.preferred, pairs.rejected])
    gap: Matrix = better - worse
    weights, difference = bradley_terry(gap, l2=l2), pairs.difference
    slope = float(difference @ (gap @ weights) / max(difference @ difference, 1e-12))
    return Judge(weights, fit_on, slope)


def judge_scores(judge: Judge, features: Features, of: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the judge's scores of the texts `of` (m,)."""
    return features(fit_on=judge.fit_on, of=[of])[0] @ judge.weights


def crossed(
    pairs: Pairs, features: Features, grid: Grid, *, l2: float, folds: int = 5, seed: int = 0
) -> NDArray[np.float64]:
    """Return scores of all answers of a grid (P, S), each prompt's by a judge that saw no pair of it.

    NaN where there is no answer. Raises DataError for fewer prompts than folds.
    """
    fold = folds_of(grid.prompts.tolist(), folds=folds, seed=seed)
    scores = np.full(grid.rows.shape, np.nan)
    for part in range(folds):
        judge = fit_judge(pairs.take(~np.isin(pairs.groups, grid.prompts[fold == part])), features, l2=l2)
        rows = grid.rows[fold == part]
        values = judge_scores(judge, features, np.maximum(rows, 0).ravel()).reshape(rows.shape)
        scores[fold == part] = np.where(rows >= 0, values, np.nan)
    return scores


def held_out_gaps(
    pairs: Pairs, features: Features, *, l2: float, folds: int = 5, seed: int = 0
) -> NDArray[np.float64]:
    """Return the preferred answer's score less the other's (K,), by judges that did not see the pair's group.

    Raises DataError for fewer groups than folds.
    """
    fold, gaps = folds_of(pairs.groups.tolist(), folds=folds, seed=seed), np.empty(len(pairs.preferred))
    for part in range(folds):
        judge, rest = fit_judge(pairs.take(fold != part), features, l2=l2), pairs.take(fold == part)
        better, worse = (judge_scores(judge, features, side) for side in (rest.preferred, rest.rejected))
        gaps[fold == part] = better - worse
    return gaps


def tried(pairs: Pairs, features: Features, *, l2: float, folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Return for each pair whether a judge that did not see its group prefers the preferred answer.

    A row a pair: group, system, other (the preferred answer's system and the rejected one's; "" without),
    difference (in log length), and a column for each of the judge, the judge with length taken out, longer
    and shorter: 1 right, 0 wrong, .5 a tie. Raises DataError for fewer groups than folds.
    """
    fold = folds_of(pairs.groups.tolist(), folds=folds, seed=seed)
    parts = [
        _right(fit_judge(pairs.take(fold != part), features, l2=l2), pairs.take(fold == part), features)
        for part in range(folds)
    ]
    order = np.argsort(np.concatenate([np.flatnonzero(fold == part) for part in range(folds)]))
    return pd.concat(parts, ignore_index=True).iloc[order].reset_index(drop=True)


def _right(judge: Judge, pairs: Pairs, features: Features) -> pd.DataFrame:
    """Return `tried`'s rows of pairs that a judge was not fitted on."""
    gap = judge_scores(judge, features, pairs.preferred) - judge_scores(judge, features, pairs.rejected)
    difference = pairs.difference
    rules = {
        JUDGE: gap,
        SHORTER_LENGTH: gap - judge.slope * difference,
        LONGER: difference,
        SHORTER: -difference,
    }
    systems = np.full((len(gap), 2), "") if pairs.systems is None else pairs.systems
    named = {"group": pairs.groups, "system": systems[:, 0], "other": systems[:, 1], "difference": difference}
    return pd.DataFrame(named | {name: (1 + np.sign(rule)) / 2 for name, rule in rules.items()})


def tried_without(
    pairs: Pairs, features: Features, left_out: Sequence[str], *, l2: float, folds: int = 5, seed: int = 0
) -> pd.DataFrame:
    """Return `tried` for pairs with a system of `left_out`, by judges that saw neither them nor the group.

    Raises DataError where no pair has such a system, or every pair has.
    """
    if pairs.systems is None:
        raise DataError("these pairs name no systems: leave systems out of verdict_pairs")
    has: NDArray[np.bool_] = np.asarray(np.isin(pairs.systems, list(left_out)).any(axis=1))
    if not has.any() or has.all():
        raise DataError(f"{int(has.sum())} of {len(has)} pairs have a system of {list(left_out)}")
    fold = folds_of(pairs.groups.tolist(), folds=folds, seed=seed)
    parts = []
    for part in range(folds):
        test = has & (fold == part)
        if test.any():
            judge = fit_judge(pairs.take(~has & (fold != part)), features, l2=l2)
            parts.append(_right(judge, pairs.take(test), features))
    return pd.concat(parts, ignore_index=True)


def weakest_first(grid: Grid, parts: int) -> list[tuple[str, ...]]:
    """Return the systems with verdicts in `parts` of equal size by the mean verdict, the weakest first."""
    judged = np.flatnonzero(~np.isnan(grid.verdicts).all(axis=0))
    order = judged[np.argsort(np.nanmean(grid.verdicts[:, judged], axis=0), kind="stable")]
    return [tuple(grid.systems[column] for column in part) for part in np.array_split(order, parts)]


def accuracy(
    rows: pd.DataFrame, *, generator: np.random.Generator, level: float = 0.95, resamples: int = 1000
) -> pd.DataFrame:
    """Return the accuracy of judge and rules in strata of length, of `tried`'s rows.

    Columns stratum (all, and thirds of the pairs by their absolute difference in log length), rule, accuracy,
    low, high, n_pairs, n_groups, interval. Groups are drawn anew, and the systems too where pairs have them:
    a pair counts as often as its prompt and both of its systems are drawn.
    """
    size = rows["difference"].abs().rank(method="first") / len(rows)
    third = np.minimum((size.to_numpy() * 3).astype(int), 2) + 1
    table = []
    for number, stratum in enumerate(STRATA):
        part = rows if number == 0 else rows[third == number]
        for rule in (JUDGE, SHORTER_LENGTH, LONGER, SHORTER):
            interval, kind = _interval(part, rule, generator, level, resamples)
            table.append((stratum, rule, *interval, len(part), part["group"].nunique(), kind))
    columns = ["stratum", "rule", "accuracy", "low", "high", "n_pairs", "n_groups", "interval"]
    return pd.DataFrame(table, columns=columns)


def _interval(
    rows: pd.DataFrame, rule: str, generator: np.random.Generator, level: float, resamples: int
) -> tuple[tuple[float, ...], str]:
    right = rows[rule].to_numpy(dtype=float)
    options = {"generator": generator, "level": level, "resamples": resamples}
    if (rows["system"] == "").all():

        def share(weights: NDArray[np.float64]) -> NDArray[np.float64]:
            return ratio(weights @ right, weights.sum(axis=1))

        return tuple(map(float, bootstrap_statistic(share, rows["group"], **options))), BOOTSTRAP  # type: ignore[arg-type]
    group, groups = pd.factorize(rows["group"], sort=True)
    names = np.unique(rows[["system", "other"]].to_numpy(dtype=str))
    one, other = (np.searchsorted(names, rows[side].to_numpy(dtype=str)) for side in ("system", "other"))
    prompts = resampling_weights(len(groups), generator=generator, resamples=resamples)
    systems = resampling_weights(len(names), generator=generator, resamples=resamples)
    weights = prompts[:, group] * systems[:, one] * systems[:, other]
    drawn = ratio(weights @ right, weights.sum(axis=1))
    return tuple(map(float, percentile_interval(right.mean(), drawn, level))), TWO_WAY
