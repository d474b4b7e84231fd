"""Rank correlations and AUCs by hand, and beside those of scipy and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from afd_study.errors import DataError
from afd_study.evaluation import ranking


def test_rank_correlation_without_ties_by_hand():
    # rank differences 1, -1, 0 -> 1 - 6 * 2 / (3 * 8) = 1/2
    assert ranking.rank_correlation([1.0, 2.0, 3.0], [20.0, 10.0, 30.0]) == pytest.approx(0.5)


def test_rank_correlation_with_ties_is_pearson_of_mid_ranks():
    values, scores = [1.0, 1.0, 2.0, 5.0], [0.0, 3.0, 3.0, 9.0]
    by_hand = np.corrcoef([1.5, 1.5, 3, 4], [1, 2.5, 2.5, 4])[0, 1]
    assert ranking.rank_correlation(values, scores) == pytest.approx(by_hand)
    assert ranking.rank_correlation(values, scores) == pytest.approx(
        stats.spearmanr(values, scores).statistic
    )


def test_constant_scores_have_no_rank_correlation():
    result = ranking.rank_correlation([[1.0, 2.0], [1.0, 2.0]], [[5.0, 5.0], [1.0, 2.0]])
    assert np.isnan(result[0]) and result[1] == pytest.approx(1.0)
    assert np.isnan(ranking.rank_correlation([1.0], [2.0]))


def test_within_prompt_and_pooled_can_disagree():
    # within each prompt the order is reversed; across prompts the second is higher on both
    values, scores = [[1.0, 2.0], [11.0, 12.0]], [[2.0, 1.0], [12.0, 11.0]]
    assert ranking.rank_correlation(values, scores) == pytest.approx(-1.0)
    assert ranking.pooled_rank_correlation(values, scores) == pytest.approx(0.6)


# AUC


def auc(positives, negatives):
    flags = np.repeat([True, False], [len(positives), len(negatives)])
    return ranking.weighted_auc([*positives, *negatives], positive=flags)


def test_auc_by_hand_with_ties():
    # pairs: (2,1) win, (2,2) tie, (3,1) win, (3,2) win -> 3.5 / 4
    assert auc([2.0, 3.0], [1.0, 2.0]) == pytest.approx(3.5 / 4)
    assert auc([1.0, 1.0], [1.0]) == 0.5 and auc([0.0], [1.0]) == 0.0


def test_auc_without_one_class_is_undefined():
    assert np.isnan(auc([], [1.0])) and np.isnan(auc([1.0], [])) and np.isnan(auc([], []))


def test_auc_of_many_weightings_is_that_of_scikit_learn_one_by_one():
    generator = np.random.default_rng(0)
    scores, flags = generator.integers(0, 9, 70) / 3, generator.random(70) < 0.4
    weights = generator.multinomial(70, np.full(70, 1 / 70), size=20)
    expected = [roc_auc_score(flags, scores, sample_weight=row) for row in weights]
    assert ranking.weighted_auc(scores, positive=flags, weights=weights) == pytest.approx(expected)
    whole = np.stack([weights, weights])
    assert ranking.weighted_auc(scores, positive=flags, weights=whole).shape == (2, 20)


def test_auc_within_strata_counts_pairs_alike():
    scores, flags = [3.0, 1.0, 0.0, 9.0, 5.0], [True, True, False, False, True]
    strata, weights = ["a", "a", "a", "b", "b"], [[1, 1, 1, 1, 1], [1, 0, 2, 1, 1], [0, 0, 0, 1, 0]]
    result = ranking.stratified_auc(scores, positive=flags, strata=strata, weights=weights)
    # a: two pairs won; b: one pair lost
    assert result[:2] == pytest.approx([2 / 3, 2 / 3]) and np.isnan(result[2])


def test_auc_weighs_what_it_is_given_and_refuses_nan():
    result = ranking.weighted_auc([0.1, 0.4], positive=[False, True], weights=[[0, 1], [1, 1]])
    assert np.isnan(result[0]) and result[1] == 1
    with pytest.raises(DataError, match="NaN"):
        auc([np.nan], [1.0])
