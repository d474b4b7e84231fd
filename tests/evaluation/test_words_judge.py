"""A judge that reads words: its penalty is chosen by held-out pairs, and it pays nothing for length."""

import numpy as np
import pytest

from afd_study.errors import DataError
from afd_study.evaluation.systems.features import arrays, bag, gram_counts
from afd_study.evaluation.systems.judges import Pairs
from afd_study.evaluation.text_features import LENGTHS
from afd_study.evaluation.words_judge import FEWEST, L2, fit_words, words_scores

FILLERS = [f"word{number}" for number in range(20)]


def made_up(n=300, longer=0.8, kind=1.0, seed=0):
    """Pairs whose preferred answer holds `kind` more often than the other, and is the longer more often."""
    rng, sides = np.random.default_rng(seed), ([], [])
    for _ in range(n):
        lengths = np.sort(rng.choice(np.arange(3, 16), size=2, replace=False))
        if rng.random() < longer:
            lengths = lengths[::-1]
        for side, (length, marker) in enumerate(zip(lengths, ("kindly", "rudely"), strict=True)):
            words = list(rng.choice(FILLERS, size=length))
            if rng.random() < kind:
                words[0] = marker
            sides[side].append(" ".join(words))
    texts = sides[0] + sides[1]
    number = np.arange(n)
    lengths = np.array([LENGTHS["words"](text) for text in texts])
    return Pairs(number, number + n, number.astype(str), lengths), texts


def right(judge, features, pairs):
    better, worse = (words_scores(judge, features, pairs.lengths, side) for side in pairs[:2])
    return float((better > worse).mean())


def fitted_on(pairs, features, seed=0):
    part = np.random.default_rng(seed).permutation(len(pairs.groups))
    return (
        fit_words(pairs.take(part < 150), pairs.take((part >= 150) & (part < 220)), features),
        pairs.take(part >= 220),
    )


def test_it_learns_words_that_tell_and_the_best_penalty_is_kept():
    pairs, texts = made_up()
    features = bag(gram_counts(texts))
    fitted, rest = fitted_on(pairs, features)
    assert set(fitted.losses) == set(L2) and fitted.l2 == min(fitted.losses, key=fitted.losses.get)
    assert right(fitted.judge, features, rest) > 0.9
    assert fitted.losses[fitted.l2] < np.log(2)


def test_what_length_gives_it_is_taken_out():
    pairs, _ = made_up(longer=1.0, kind=0.0)
    length = arrays(pairs.lengths[:, None])
    fitted, rest = fitted_on(pairs, length)
    assert fitted.judge.slope > 0
    assert np.ptp(words_scores(fitted.judge, length, pairs.lengths, np.arange(len(pairs.lengths)))) < 1e-8
    assert right(fitted.judge, length, rest) < 1


def test_the_penalty_is_chosen_by_the_validation_pairs_alone():
    """Labels that mean nothing to the judge make it shrink; the training pairs alone would not."""
    pairs, texts = made_up(kind=0.6)
    features, half = bag(gram_counts(texts)), np.arange(300) < 150
    flipped = pairs.take(~half)._replace(
        preferred=pairs.take(~half).rejected, rejected=pairs.take(~half).preferred
    )
    fitted = fit_words(pairs.take(half), flipped, features)
    assert fitted.l2 == max(L2)
    assert fit_words(pairs.take(half), pairs.take(~half), features).l2 < max(L2)


@pytest.mark.parametrize("name", FEWEST)
def test_too_few_pairs_of_its_own_part_are_refused(name):
    pairs, texts = made_up(n=100)
    few = pairs.take(np.arange(100) < FEWEST[name] - 1)
    sides = {"training": (few, pairs), "validation": (pairs, few)}[name]
    with pytest.raises(DataError, match=f"{FEWEST[name] - 1} {name} pairs of its own part"):
        fit_words(*sides, bag(gram_counts(texts)))
