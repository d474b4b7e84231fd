"""Rows of a contrast: what is refused, the design's coding, variances and means by hand."""

import numpy as np
import pandas as pd
import pytest
from world_tables import contrast

from afd_study.errors import DataError
from afd_study.evaluation.world_rows import (
    STRATA,
    check_rows,
    effect_coding,
    pooled_variances,
    world_means,
)


def rows(values):
    """Return rows from {(world, seed): replicates}."""
    table = [(w, s, k, value) for (w, s), many in values.items() for k, value in enumerate(many)]
    return pd.DataFrame(table, columns=["world", "seed", "replicate", "effect"])


SMALL = {("a", 0): [1, 3], ("a", 1): [5, 7], ("b", 0): [2, 2], ("b", 1): [0, 4]}
# replicates: squares 2 + 2 + 0 + 8 = 12 over 4; seed means 2, 6, 2, 2: squares 8 + 0 = 8 over 2


def test_pooled_variances_by_hand():
    pooled = pooled_variances(rows(SMALL))
    assert pooled == (4 - 3 / 2, 3.0, 2, 4)


def test_pooled_variances_of_unequal_replicates_by_hand():
    # seed means 2 (of 2) and 6 (of 1), replicates' variance 2: it leaves 2 (1/2 + 1) / 2 in the squares, 8
    pooled = pooled_variances(rows({("a", 0): [1, 3], ("a", 1): [6]}))
    assert pooled == (8 - 1.5, 2.0, 1, 1)


def test_a_variance_below_nothing_is_none():
    pooled = pooled_variances(rows({("a", 0): [0, 10], ("a", 1): [0, 10]}))
    assert pooled.seed == 0 and pooled.replicate == 50


def test_what_is_not_repeated_has_no_variance():
    one_seed = pooled_variances(rows({("a", 0): [1, 3], ("b", 0): [1, 3]}))
    assert np.isnan(one_seed.seed) and one_seed.replicate == 2
    one_each = pooled_variances(rows({("a", 0): [1], ("a", 1): [3]}))
    assert one_each.seed == 2 and np.isnan(one_each.replicate)


def test_world_means_by_hand():
    means = world_means(rows(SMALL), strata=()).set_index("world")
    assert means["effect"].tolist() == [4.0, 2.0]
    assert means["variance"].tolist() == [(2.5 + 3 / 2) / 2] * 2
    assert means["n_seeds"].tolist() == means["n_replicates"].tolist() == [2, 2]


def test_a_seed_with_more_replicates_weighs_no_more():
    means = world_means(rows({("a", 0): [0, 0, 0], ("a", 1): [1]}), strata=())
    assert means["effect"].tolist() == [0.5] and means["n_replicates"].tolist() == [1]


def test_world_means_do_not_depend_on_the_order_of_rows():
    table = contrast(8)
    shuffled = world_means(table.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(world_means(table), shuffled)


def test_effect_coding_sums_to_zero_over_a_balanced_design():
    worlds = contrast(8, 1, 1)
    design = effect_coding(worlds)
    assert design.shape == (8, 4) and (design[:, 0] == 1).all()
    np.testing.assert_array_equal(design.T @ design, 8 * np.eye(4))


def test_effect_coding_of_three_values_of_one_and_at_one():
    worlds = pd.DataFrame({"kinds": [1, 2, 3, 3], "likely_good": [True] * 4})
    design = effect_coding(worlds, ("kinds", "likely_good"))
    np.testing.assert_array_equal(design, [[1, 1, 0], [1, 0, 1], [1, -1, -1], [1, -1, -1]])
    np.testing.assert_array_equal(effect_coding(worlds, ("kinds",), at=("kinds", 2)), [1, 0, 1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="web_ends"), "lacks the columns"),
        (lambda t: t[:0], "no rows"),
        (lambda t: pd.concat([t, t[:1]]), "repeats {'world': 'w00', 'seed': 0, 'replicate': 0}"),
        (lambda t: t.assign(effect=np.nan), "undefined at {'world': 'w00'"),
        (lambda t: t.assign(gap=np.inf), "effect or gap is undefined"),
        (lambda t: t.assign(kinds=range(len(t))), "several strata of"),
    ],
)
def test_rows_that_are_refused(change, words):
    with pytest.raises(DataError, match=words):
        check_rows(change(contrast(8, 1, 2)), STRATA, further=("gap",))
