"""Agreement with people on made-up pairs: identities that must hold, and what is too little is refused."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.evaluation.judge_tables import JUDGE_TABLES
from afd_study.evaluation.pair_agreement import (
    ABSENT,
    FEWEST_GROUPS,
    HIGHER,
    LOWER,
    OPEN,
    agreement,
    differences,
    side_of,
    strata,
    tried_pairs,
)
from afd_study.evaluation.systems.judges import STRATA
from afd_study.records import TABLES

N = 120


def made_up(n=N, groups=40, seed=0):
    """Pairs with rules: the label, its opposite, a constant, a noisy one, and lengths without ties."""
    rng = np.random.default_rng(seed)
    difference = rng.normal(0.1, 1, n)
    gaps = pd.DataFrame(
        {
            "label": rng.uniform(0.1, 1, n),
            "constant": 0.0,
            "longer": difference,
            "shorter": -difference,
            "noisy": rng.normal(0.5, 1, n),
        }
    )
    gaps["opposite"] = -gaps["label"]
    return tried_pairs(gaps, groups=np.array([f"g{i % groups}" for i in range(n)]), difference=difference)


def table_of(tried, seed=0):
    rows = agreement(tried, generator=np.random.default_rng(seed), resamples=200)
    return rows.set_index(["stratum", "rule"])


def test_identities_hold_in_every_stratum():
    table = table_of(made_up())
    assert set(table.index.get_level_values("stratum")) == set(STRATA)
    for stratum in STRATA:
        accuracy = table.loc[stratum]["accuracy"]
        assert accuracy["label"] == 1 and accuracy["opposite"] == 0 and accuracy["constant"] == 0.5
        assert np.isclose(accuracy["longer"] + accuracy["shorter"], 1)
        bounds = table.loc[stratum].loc[["label", "opposite", "constant"], ["low", "high"]]
        np.testing.assert_array_equal(bounds, [[1, 1], [0, 0], [0.5, 0.5]])
    row = table.loc[(STRATA[0], "noisy")]
    assert row["low"] < row["accuracy"] < row["high"] and row["n_pairs"] == N and row["n_groups"] == 40


def test_a_tie_counts_half():
    gaps = pd.DataFrame({"rule": [1.0, 0.0] * 30})
    tied = tried_pairs(gaps, groups=np.arange(60).astype(str), difference=np.linspace(-1, 1, 60))
    assert table_of(tied).loc[(STRATA[0], "rule"), "accuracy"] == 0.75


def test_thirds_are_by_how_far_lengths_differ_whichever_is_the_longer():
    tried = made_up()
    masks = strata(tried)
    size = np.abs(tried.difference)
    least, middle, most = (size[masks[name]] for name in STRATA[1:])
    assert len(least) == len(middle) == len(most) == N // 3
    assert least.max() <= middle.min() and middle.max() <= most.min()
    assert masks[STRATA[0]].all()


def test_intervals_are_over_groups_and_not_over_pairs():
    """The same answers in fewer openings leave a wider interval."""
    rng = np.random.default_rng(1)
    right = np.repeat(rng.normal(0, 1, 30), 4)
    gaps, difference = pd.DataFrame({"rule": right}), rng.normal(size=120)
    few = tried_pairs(gaps, groups=np.repeat(np.arange(30), 4).astype(str), difference=difference)
    many = tried_pairs(gaps, groups=np.arange(120).astype(str), difference=difference)
    wide, narrow = (table_of(each).loc[(STRATA[0], "rule")] for each in (few, many))
    assert wide["high"] - wide["low"] > 1.5 * (narrow["high"] - narrow["low"])


def test_differences_are_of_the_same_pairs_and_a_row_never_disappears():
    tried = made_up()
    contrasts = [("label", "noisy"), ("noisy", "label"), ("longer", "longer"), ("label", "nowhere")]
    table = differences(tried, contrasts, generator=np.random.default_rng(0), resamples=200)
    assert len(table) == len(STRATA) * len(contrasts)
    whole = table[table["stratum"] == STRATA[0]].set_index(["rule", "less_rule"])
    own = table_of(tried)["accuracy"][STRATA[0]]
    assert np.isclose(whole.loc[("label", "noisy"), "value"], own["label"] - own["noisy"])
    assert whole["verdict"].tolist() == [HIGHER, LOWER, OPEN, ABSENT]
    flipped = whole.loc[("noisy", "label"), ["value", "low", "high"]].to_numpy(dtype=float)
    one = whole.loc[("label", "noisy"), ["value", "high", "low"]].to_numpy(dtype=float)
    np.testing.assert_allclose(one, -flipped)
    assert whole.loc[("label", "nowhere"), ["value", "low", "high"]].isna().all()
    nothing = differences(tried, [("a", "b")], generator=np.random.default_rng(0), resamples=20)
    assert (nothing["verdict"] == ABSENT).all() and len(nothing) == len(STRATA)


def test_equal_seeds_give_equal_bits():
    first, again = (table_of(made_up(), seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


def test_too_few_pairs_and_scores_that_are_no_numbers_are_refused():
    enough = made_up(n=3 * FEWEST_GROUPS, groups=3 * FEWEST_GROUPS)
    assert np.isfinite(table_of(enough)[["accuracy", "low", "high"]].to_numpy()).all()
    for n, groups in ((3 * FEWEST_GROUPS - 1, N), (N, FEWEST_GROUPS - 1)):
        with pytest.raises(DataError, match=r"stratum '.*' of people's held-out pairs has"):
            table_of(made_up(n=n, groups=groups))
    with pytest.raises(DataError, match="has 0 pairs of 0 openings"):
        strata(tried_pairs(pd.DataFrame({"a": []}), groups=np.array([]), difference=np.array([])))
    with pytest.raises(DataError, match="rule 'b' has no finite score"):
        tried_pairs(
            pd.DataFrame({"a": [1.0], "b": [np.nan]}), groups=np.array(["g"]), difference=np.array([0.1])
        )
    with pytest.raises(DataError, match="1 pairs have 2 groups"):
        tried_pairs(pd.DataFrame({"a": [1.0]}), groups=np.array(["g", "h"]), difference=np.array([0.1]))
    with pytest.raises(DataError, match="points nowhere"):
        side_of(np.nan, 1.0)


def test_tables_of_judges_are_among_the_records():
    assert all(TABLES[name] is table for name, table in JUDGE_TABLES.items())
