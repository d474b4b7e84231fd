"""Rank correlations and AUCs by hand, by pairs and by repetition."""

import numpy as np
import pytest
from scipy import stats

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
    found = ranking.rank_correlation([[1.0, 2.0], [1.0, 2.0]], [[5.0, 5.0], [1.0, 2.0]])
    assert np.isnan(found[0]) and found[1] == pytest.approx(1.0)
    assert np.isnan(ranking.rank_correlation([1.0], [2.0]))


def test_within_prompt_and_pooled_can_disagree():
    # within each prompt the order is reversed; across prompts the second is higher on both
    values, scores = [[1.0, 2.0], [11.0, 12.0]], [[2.0, 1.0], [12.0, 11.0]]
    assert ranking.within_prompt_rank_correlation(values, scores) == pytest.approx(-1.0)
    assert ranking.pooled_rank_correlation(values, scores) == pytest.approx(0.6)
    assert ranking.within_prompt_rank_correlation([[1, 2], [1, 2]], [[3, 3], [1, 2]]) == pytest.approx(1.0)
    assert np.isnan(ranking.within_prompt_rank_correlation([[1.0, 2.0]], [[3.0, 3.0]]))


# --- AUC


def test_auc_by_hand_with_ties():
    # pairs: (2,1) win, (2,2) tie, (3,1) win, (3,2) win -> 3.5 / 4
    assert ranking.auc(positives=[2.0, 3.0], negatives=[1.0, 2.0]) == pytest.approx(3.5 / 4)
    assert ranking.auc(positives=[1.0, 1.0], negatives=[1.0]) == 0.5
    assert ranking.auc(positives=[0.0], negatives=[1.0]) == 0.0


def test_auc_without_one_class_is_undefined():
    assert np.isnan(ranking.auc(positives=[], negatives=[1.0]))
    assert np.isnan(ranking.auc(positives=[1.0], negatives=[]))


def test_auc_against_all_pairs():
    up, down = (np.random.default_rng(seed).integers(0, 6, n) for seed, n in ((1, 40), (2, 30)))
    pairs = (np.sign(up[:, None] - down) + 1) / 2
    assert ranking.auc(positives=up, negatives=down) == pytest.approx(pairs.mean())


def test_auc_weights_are_repetitions():
    scores, flags = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True])
    repeated = np.repeat(np.arange(4), [1, 2, 3, 1])
    weighted = ranking.weighted_auc(scores, positive=flags, weights=[[1, 2, 3, 1], [0, 1, 0, 1]])
    assert weighted[0] == pytest.approx(ranking.weighted_auc(scores[repeated], positive=flags[repeated]))
    assert np.isnan(weighted[1])


def test_auc_refuses_nan():
    with pytest.raises(DataError, match="NaN"):
        ranking.auc(positives=[np.nan], negatives=[1.0])
