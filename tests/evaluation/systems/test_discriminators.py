"""Discriminators between systems learn from some prompts and score others, by whatever features there are."""

import numpy as np
import pytest
from alpaca_folders import made_up

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.systems.discriminators import (
    Fitting,
    Triple,
    folds_of,
    scores_of,
    told_apart,
)
from afd_study.evaluation.systems.features import arrays, bag, gram_counts
from afd_study.evaluation.systems.grid import grid_of

TRIPLE = Triple(base="s00", tuned="s05", demonstrator="s09")


@pytest.fixture(scope="module")
def texts():
    return made_up(n_prompts=40, n_systems=10)[0]["text"].tolist()


@pytest.fixture(scope="module")
def grid():
    return grid_of(*made_up(n_prompts=40, n_systems=10))


def words(texts, **settings):
    return bag(gram_counts(texts), **settings)


def test_folds_do_not_depend_on_order_and_are_equal():
    names = [f"p{n}" for n in range(23)]
    fold = folds_of(names, folds=5, seed=0)
    assert sorted(np.bincount(fold)) == [4, 4, 5, 5, 5]
    assert np.array_equal(folds_of(names[::-1], folds=5, seed=0)[::-1], fold)
    assert (folds_of(names, folds=5, seed=1) != fold).any()
    with pytest.raises(DataError, match="too few"):
        folds_of(["a", "b"], folds=3, seed=0)
    with pytest.raises(SpecError, match="at least 2"):
        folds_of(names, folds=1, seed=0)


def test_bags_take_their_words_from_the_texts_that_they_are_fitted_on():
    features = words(["sun moon", "sun moon", "sun sun rain", "rain rain"])
    fitted, other = features(fit_on=np.array([0, 1]), of=[np.array([0, 2]), np.array([3])])
    assert fitted.shape == (2, 3)  # sun, moon, and both as neighbours; rain is in no fitted text
    assert np.allclose(fitted.toarray()[0], 1 / np.sqrt(3))
    assert other.nnz == 0
    few = words(["sun moon", "sun moon", "sun sun rain", "rain rain"], max_grams=1)
    assert few(fit_on=np.arange(4), of=[np.arange(4)])[0].shape == (4, 1)
    with pytest.raises(DataError, match="no word"):
        gram_counts(["sun", "moon"])


def test_arrays_are_standardised_by_the_texts_that_they_are_fitted_on():
    values = np.array([[0.0, 1.0], [2.0, 1.0], [9.0, 1.0]])
    (described,) = arrays(values)(fit_on=np.array([0, 1]), of=[np.arange(3)])
    assert np.array_equal(described, [[-1.0, 0.0], [1.0, 0.0], [8.0, 0.0]])
    for wrong in (np.ones(3), np.array([[np.nan]])):
        with pytest.raises(DataError, match="finite numbers"):
            arrays(wrong)


def test_no_prompt_is_scored_by_what_learned_from_it(grid, texts):
    """Of a prompt, labels can be read off its own texts alone: held out, nothing is told apart."""
    own = np.random.default_rng(0).normal(size=(len(texts), 400))
    table = told_apart(grid, TRIPLE, scores_of(grid, TRIPLE, arrays(own), Fitting(folds=4)))
    assert ((table["auc"] > 0.3) & (table["auc"] < 0.7)).all()


@pytest.mark.parametrize("kind", ["bag", "arrays"])
def test_scores_go_up_with_what_tells_the_two_systems_apart(grid, texts, kind):
    counts = np.array([[text.split().count("moon")] for text in texts], dtype=float)
    marked = [text + " moon" * 5 if row in set(grid.rows[:, grid.column("s05")]) else text
              for row, text in enumerate(texts)]  # fmt: skip
    features = words(marked) if kind == "bag" else arrays([[text.split().count("moon")] for text in marked])
    scores = scores_of(grid, TRIPLE, features, Fitting(folds=4))
    assert scores["init_sft"].shape == (40, 10)
    more = counts[grid.rows][..., 0] > 1
    assert scores["init_sft"][more].mean() > scores["init_sft"][~more].mean()
    table = told_apart(grid, TRIPLE, scores).set_index("discriminator")
    assert table.loc["init_sft", "auc"] > 0.95
    assert table.loc["sft_demo", ["high", "low"]].tolist() == ["s09", "s05"]


def test_splits_are_averaged_and_equal_seeds_give_equal_bits(grid, texts):
    features = words(texts)
    one, other, both = (
        scores_of(grid, TRIPLE, features, Fitting(folds=4, splits=splits, seed=seed))["init_demo"]
        for splits, seed in ((1, 0), (1, 1), (2, 0))
    )
    assert np.allclose((one + other) / 2, both)
    again = scores_of(grid, TRIPLE, features, Fitting(folds=4))["init_demo"]
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_unknown_systems_penalties_and_missing_answers(grid, texts):
    features = words(texts)
    with pytest.raises(SpecError, match="unknown system 's5'"):
        scores_of(grid, Triple("s00", "s5", "s09"), features)
    with pytest.raises(SpecError, match="l2 must be positive"):
        scores_of(grid, TRIPLE, features, Fitting(l2=0))
    answers, verdicts = made_up(n_prompts=40, n_systems=10)
    answers = answers[(answers["system"] != "s01") | (answers["prompt_id"] != "p003")]
    holed = grid_of(answers, verdicts)
    scores = scores_of(holed, TRIPLE, words(answers["text"]), Fitting(folds=4))
    assert np.isnan(scores["init_sft"]).sum() == 1 and np.isnan(scores["init_sft"][3, 1])
    without = grid_of(answers[answers["system"] != "s05"], verdicts)
    with pytest.raises(SpecError, match="unknown system 's05'"):
        scores_of(without, TRIPLE, features)
