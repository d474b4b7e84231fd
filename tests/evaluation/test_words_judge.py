"""A judge that reads words: penalty and slope are those of held-out pairs, and length pays nothing."""

import numpy as np
import pytest

from afd_study.errors import DataError
from afd_study.evaluation.systems.features import bag, gram_counts
from afd_study.evaluation.systems.judges import Pairs, fit_judge
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


def test_it_learns_words_that_tell_and_the_best_penalty_is_kept():
    pairs, texts = made_up()
    features, seen = bag(gram_counts(texts)), np.arange(300) < 200
    fitted = fit_words(pairs.take(seen), features)
    assert set(fitted.losses) == set(L2) and fitted.l2 == min(fitted.losses, key=fitted.losses.get)
    assert fitted.losses[fitted.l2] < np.log(2) and (fitted.gaps > 0).mean() > 0.9
    assert right(fitted.judge, features, pairs.take(~seen)) > 0.9


def test_length_is_taken_out_as_far_as_it_counts_on_unseen_pairs():
    """Where people go by length alone nothing is left: neither the longer nor the shorter is preferred."""
    pairs, texts = made_up(n=800, longer=1.0, kind=0.0)
    features, seen = bag(gram_counts(texts)), np.arange(800) < 200
    fitted, rest = fit_words(pairs.take(seen), features), pairs.take(~seen)
    assert 0.4 < right(fitted.judge, features, rest) < 0.6
    own = fit_judge(pairs.take(seen), features, l2=fitted.l2)
    assert right(own, features, rest) < 0.4, "a slope of the judge's own pairs takes out too much"


def test_pairs_of_one_group_are_held_out_together():
    """Copies of a pair tell nothing of it: where labels mean nothing, they stay at chance."""
    pairs, texts = made_up(n=60, longer=0.5, kind=0.0)
    three = pairs._replace(**{name: np.tile(getattr(pairs, name), 3) for name in pairs._fields[:3]})
    fitted = fit_words(three, bag(gram_counts(texts)))
    assert fitted.l2 > min(L2) and 0.2 < (fitted.gaps > 0).mean() < 0.8
    apart = three._replace(groups=np.arange(180).astype(str))
    assert (fit_words(apart, bag(gram_counts(texts))).gaps > 0).mean() > 0.8, "copies would tell"


def test_equal_pairs_give_an_equal_judge():
    pairs, texts = made_up(n=100)
    one, other = (fit_words(pairs, bag(gram_counts(texts))) for _ in range(2))
    np.testing.assert_array_equal(one.judge.weights, other.judge.weights)
    assert one.l2 == other.l2 and one.judge.slope == other.judge.slope


def test_too_few_pairs_or_groups_are_refused():
    pairs, texts = made_up(n=100)
    with pytest.raises(DataError, match=f"{FEWEST - 1} pairs of its own part"):
        fit_words(pairs.take(np.arange(100) < FEWEST - 1), bag(gram_counts(texts)))
    with pytest.raises(DataError, match="too few for 5 folds"):
        fit_words(pairs._replace(groups=np.array(["one"] * 100)), bag(gram_counts(texts)))
