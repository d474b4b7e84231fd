"""A judge of people's preferences that reads words alone, and from which length is taken out.

A logistic regression on the difference of two answers' bags of words and of pairs of neighbouring words
(systems.judges, systems.features). What a step in log length adds to its score is subtracted: people prefer
longer answers here and shorter ones there, and a rule that picks by length should not win by that. Its kind
is unlike a head on a language model's states, which makes it a check of such a judge.

Both the penalty and the slope of length come from pairs that a judge was not fitted to. On its own pairs a
judge's scores are too far apart, and the slope is too steep: elsewhere it would have the judge prefer the
shorter answer.

What is left out: the prompt, and the order of words beyond neighbours.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from afd_study.errors import DataError
from afd_study.evaluation.systems.features import Features
from afd_study.evaluation.systems.judges import Judge, Pairs, fit_judge, held_out_gaps, judge_scores

L2 = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Penalties that are tried: half of it times the squared weights is added to the summed log loss (nats)."""
FEWEST = 30  # pairs that a judge is fitted to


class FittedWords(NamedTuple):
    """A judge, the penalty that was chosen, and each penalty's loss on held-out pairs (nats a pair).

    `gaps` (K,) are the held-out scores of the pairs by the chosen penalty: preferred less rejected, without
    length.
    """

    judge: Judge
    l2: float
    losses: Mapping[float, float]
    gaps: NDArray[np.float64]


def fit_words(pairs: Pairs, features: Features, *, folds: int = 5, seed: int = 0) -> FittedWords:
    """Fit a judge to pairs, by the penalty of L2 with the lowest loss on folds of groups that are held out.

    The loss is of scores without length, as they are used. Raises DataError for fewer pairs than FEWEST, or
    fewer groups than folds.
    """
    if len(pairs.preferred) < FEWEST:
        raise DataError(
            f"a judge that reads words has {len(pairs.preferred)} pairs of its own part, and needs {FEWEST}: "
            "give more preferences, or raise judge_share"
        )
    difference, gaps, slopes = pairs.difference, dict[float, NDArray[np.float64]](), dict[float, float]()
    for l2 in L2:
        held_out = held_out_gaps(pairs, features, l2=l2, folds=folds, seed=seed)
        slopes[l2] = float(difference @ held_out) / (float(difference @ difference) or 1.0)
        gaps[l2] = held_out - slopes[l2] * difference
    losses = {l2: float(np.logaddexp(0, -gap).mean()) for l2, gap in gaps.items()}
    best = min(losses, key=lambda l2: losses[l2])
    judge = fit_judge(pairs, features, l2=best)._replace(slope=slopes[best])
    return FittedWords(judge, best, losses, gaps[best])


def words_scores(
    judge: Judge, features: Features, lengths: NDArray[np.float64], of: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the judge's scores of the texts `of` (m,) without length; `lengths` are log(1 + words), (M,)."""
    return judge_scores(judge, features, of) - judge.slope * lengths[of]
