"""A judge of people's preferences that reads words alone, and from which length is taken out.

A logistic regression on the difference of two answers' bags of words and of pairs of neighbouring words
(systems.judges, systems.features). What a step in log length adds to its score on the pairs that it was
fitted to is subtracted: people prefer longer answers here and shorter ones there, and a rule that picks by
length should not win by that. Its kind is unlike a head on a language model's states, which makes it a check
of such a judge.

What is left out: the prompt, and the order of words beyond neighbours.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from afd_study.errors import DataError
from afd_study.evaluation.systems.features import Features
from afd_study.evaluation.systems.judges import Judge, Pairs, fit_judge, judge_scores

L2 = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Penalties that are tried: half of it times the squared weights is added to the summed log loss (nats)."""
FEWEST = {"training": 20, "validation": 5}
"""Pairs that a judge is fitted to, and those that its penalty is chosen by: as many at least."""


class FittedWords(NamedTuple):
    """A judge, the penalty that was chosen, and each penalty's loss on held-out pairs (nats a pair)."""

    judge: Judge
    l2: float
    losses: Mapping[float, float]


def fit_words(train: Pairs, validation: Pairs, features: Features) -> FittedWords:
    """Fit a judge at every penalty of L2, and keep the one with the lowest loss on `validation`.

    The loss is of scores without length, as they are used. Both sets are pairs of the same texts. Raises
    DataError for fewer pairs than FEWEST.
    """
    for name, pairs in (("training", train), ("validation", validation)):
        if len(pairs.preferred) < FEWEST[name]:
            raise DataError(
                f"a judge that reads words has {len(pairs.preferred)} {name} pairs of its own part, and "
                f"needs {FEWEST[name]}: give more preferences, or raise judge_share or world.validation"
            )
    judges = {l2: fit_judge(train, features, l2=l2) for l2 in L2}
    losses = {l2: _loss(judge, validation, features) for l2, judge in judges.items()}
    best = min(losses, key=lambda l2: losses[l2])
    return FittedWords(judges[best], best, losses)


def words_scores(
    judge: Judge, features: Features, lengths: NDArray[np.float64], of: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the judge's scores of the texts `of` (m,) without length; `lengths` are log(1 + words), (M,)."""
    return judge_scores(judge, features, of) - judge.slope * lengths[of]


def _loss(judge: Judge, pairs: Pairs, features: Features) -> float:
    better, worse = (words_scores(judge, features, pairs.lengths, side) for side in pairs[:2])
    return float(np.logaddexp(0, worse - better).mean())
