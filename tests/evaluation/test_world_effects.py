"""Effects over worlds: by hand, against statsmodels, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects
from world_tables import contrast

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.statistics import t_interval
from afd_study.evaluation.variance_components import mixed_components
from afd_study.evaluation.world_effects import (
    effect_over_worlds,
    effects_by_stratum,
    effects_in_both_units,
    hartung_knapp,
    mean_over_worlds,
    shares_of_the_gap,
)
from afd_study.evaluation.world_rows import world_means


def means(values, variances=0.0, **strata):
    worlds = [f"w{i}" for i in range(len(values))]
    return pd.DataFrame({"world": worlds, "effect": values, "variance": variances, **strata})


def test_without_strata_it_is_students_interval_over_world_means():
    result = effect_over_worlds(means([1.0, 2.0, 3.0, 6.0], 0.5), ())
    assert (result.effect, result.low, result.high) == pytest.approx(t_interval([1.0, 2.0, 3.0, 6.0]))
    # the variance of 1, 2, 3, 6 is 14 / 3
    assert result.tau == pytest.approx(np.sqrt(14 / 3 - 0.5)) and result.df == 3
    assert result.error == pytest.approx(np.sqrt(14 / 12))
    expected = stats.t.ppf(0.975, 3) * np.sqrt(14 / 3 * (1 + 1 / 4))
    assert result.prediction_high - 3 == pytest.approx(expected) == pytest.approx(3 - result.prediction_low)
    assert (result.n_worlds, result.n_positive, result.estimator) == (4, 4, "t over worlds")


def test_strata_take_their_part_of_the_spread_by_hand():
    # means 1, 3 | 11, 13: overall 7; residuals -1, 1, -1, 1; 4 / (4 - 2) = 2
    result = effect_over_worlds(means([1.0, 3.0, 11.0, 13.0], kinds=[1, 1, 2, 2]), ("kinds",))
    assert (result.effect, result.df) == (pytest.approx(7), 2)
    assert result.error == pytest.approx(np.sqrt(2 / 4)) and result.tau == pytest.approx(np.sqrt(2))
    unknown = stats.t.ppf(0.975, 3) * np.sqrt(np.var([1, 3, 11, 13], ddof=1) * (1 + 1 / 4))
    assert result.prediction_high == pytest.approx(7 + unknown)  # a new world may be of either stratum


def test_a_stratum_with_more_worlds_weighs_no_more():
    result = effect_over_worlds(means([0.0, 0.0, 0.0, 0.3, 1.0, 1.1], kinds=[1, 1, 1, 1, 2, 2]), ("kinds",))
    assert result.effect == pytest.approx((0.075 + 1.05) / 2)


def test_a_column_of_cells_is_the_design_of_cells():
    table = world_means(contrast(24))
    table["cell"] = [f"{a}{b}{c}" for a, b, c in table[["kinds", "likely_good", "web_ends"]].to_numpy()]
    by_cell, by_property = effect_over_worlds(table, ("cell",)), effect_over_worlds(table)
    assert (by_cell.df, by_property.df) == (16, 20)
    assert by_cell.effect == pytest.approx(by_property.effect) == pytest.approx(table["effect"].mean())


def test_intervals_shrink_with_worlds():
    widths = [
        np.mean([effect_over_worlds(world_means(contrast(n, 1, 2, number=i))).error for i in range(5)])
        for n in (8, 24, 72)
    ]
    assert widths[0] > 1.4 * widths[1] > 2 * widths[2]


def test_tau_is_that_of_the_mixed_model_in_a_balanced_design():
    rows = contrast(24, number=3)
    assert effect_over_worlds(world_means(rows)).tau == pytest.approx(mixed_components(rows).world, rel=1e-3)


# Hartung and Knapp, where worlds are not measured equally well

VALUES, VARIANCES = np.array([0.1, 0.5, -0.2, 0.9, 0.3]), np.array([0.01, 0.05, 0.02, 0.3, 0.01])


def test_hartung_knapp_is_that_of_statsmodels():
    fit = hartung_knapp(VALUES, VARIANCES, np.ones((5, 1)))
    theirs = combine_effects(VALUES, VARIANCES, method_re="iterated", use_t=True, atol=1e-12)
    assert fit.tau**2 == pytest.approx(theirs.tau2, rel=1e-6)
    assert fit.coefficients[0] == pytest.approx(theirs.mean_effect_re, rel=1e-6)
    assert np.sqrt(fit.covariance[0, 0]) == pytest.approx(theirs.sd_eff_w_re_hksj, rel=1e-5)


def test_hartung_knapp_without_heterogeneity_weighs_by_precision():
    values = np.array([0.1, 0.11, 0.12, 0.1])
    variances = np.array([0.1, 0.2, 0.4, 0.4])
    result = mean_over_worlds(values, variances, np.ones((4, 1)))
    assert result.tau == 0 and result.estimator == "Hartung-Knapp"
    assert result.effect == pytest.approx(np.average(values, weights=1 / variances))


def test_a_world_that_is_measured_badly_weighs_less():
    design = np.ones((5, 1))
    even = mean_over_worlds(VALUES, np.full(5, VARIANCES.mean()), design)
    uneven = mean_over_worlds(VALUES, VARIANCES, design)  # the highest world is the worst measured
    assert uneven.effect < even.effect == pytest.approx(VALUES.mean())


# too few worlds


def test_without_a_degree_of_freedom_there_is_an_effect_and_nothing_else():
    result = effect_over_worlds(means([1.0, 2.0], kinds=[1, 2]), ("kinds",))
    assert result.effect == pytest.approx(1.5) and result.estimator == "none"
    assert np.isnan(result[1:8]).all() and (result.n_worlds, result.n_positive) == (2, 2)


def test_worlds_that_do_not_fix_the_mean_over_strata_are_refused():
    strata = {"kinds": [1, 1, 2, 2] * 2, "likely_good": [1, 2, 1, 1] * 2, "web_ends": [1, 2, 2, 2] * 2}
    strata = {name: [values[i] for i in (0, 1, 2, 4, 5, 6)] for name, values in strata.items()}
    with pytest.raises(DataError, match="too few strata"):
        effect_over_worlds(means(np.arange(6.0), **strata), tuple(strata))
    with pytest.raises(DataError, match="no world"):
        effect_over_worlds(means([]), ())
    with pytest.raises(SpecError, match="level"):
        effect_over_worlds(means([1.0, 2.0]), (), level=95)


# strata and units


def test_strata_lie_around_the_effect():
    table = world_means(contrast(24, web_ends=0.3, tau=0.02))
    effect, strata = effect_over_worlds(table), effects_by_stratum(table).set_index(["property", "value"])
    pairs = strata["effect"].groupby(level="property").mean()
    assert pairs.tolist() == pytest.approx([effect.effect] * 3)
    for value in (True, False):
        plain = table.loc[table["web_ends"] == value, "effect"].mean()
        assert strata.loc[("web_ends", value), "effect"] == pytest.approx(plain)
    ends = strata.loc[("web_ends", True)]
    assert ends["low"] > 0.3 and ends["n_worlds"] == 12 and ends["n_positive"] == 12
    # half of the worlds: the error is sqrt 2 times the whole's
    assert ends["error"] == pytest.approx(np.sqrt(2) * effect.error)


def test_shares_divide_by_the_gap_of_the_world():
    rows = pd.DataFrame(
        {
            "world": ["a", "a", "b", "b"],
            "seed": [0, 1, 0, 1],
            "replicate": 0,
            "effect": [1.0, 2.0, 3.0, 4.0],
            "gap": [1.0, 3.0, 0.1, 0.3],
        }
    )
    shares, narrow = shares_of_the_gap(rows, smallest_gap=0.25)
    assert shares["effect"].tolist() == [0.5, 1.0] and narrow == ["b"]
    assert shares_of_the_gap(rows, smallest_gap=0.2)[1] == []
    with pytest.raises(SpecError, match="smallest_gap"):
        shares_of_the_gap(rows, smallest_gap=0.0)


def test_both_units_and_worlds_without_room():
    rows = contrast(24)
    rows.loc[rows["world"] == "w03", "gap"] = 0.01
    both = effects_in_both_units(rows, smallest_gap=0.1).set_index("unit")
    assert both["n_worlds"].tolist() == [24, 23] and both["n_no_room"].tolist() == [0, 1]
    assert both.loc["judge points", "effect"] == pytest.approx(rows.groupby("world")["effect"].mean().mean())
    without = effect_over_worlds(world_means(rows[rows["world"] != "w03"]))
    assert both.loc["share of the gap", "effect"] == pytest.approx(without.effect / 2)


def test_where_no_world_has_room_there_is_no_share():
    both = effects_in_both_units(contrast(8), smallest_gap=10.0)
    assert both.loc[0, "n_worlds"] == both.loc[1, "n_no_room"] == 8
    assert both.loc[1, "n_worlds"] == 0 and np.isnan(both.loc[1, "effect"])
