"""Components of variance: planted ones come back, the mixed model and ANOVA agree, and widths follow."""

import numpy as np
import pytest
from scipy import stats
from world_tables import contrast

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.variance_components import (
    Components,
    anova_components,
    component_intervals,
    half_width,
    mixed_components,
    study_sizes,
    variance_components,
)
from afd_study.evaluation.world_effects import effect_over_worlds
from afd_study.evaluation.world_rows import world_means

PLANTED = (0.1, 0.05, 0.1)


@pytest.mark.parametrize("number", [0, 3])
def test_mixed_model_and_anova_agree_in_a_balanced_design(number):
    rows = contrast(24, 3, number=number)
    mixed, anova = mixed_components(rows), anova_components(rows)
    assert mixed[:3] == pytest.approx(anova[:3], rel=2e-3)
    assert (mixed.method, anova.method) == ("mixed model", "analysis of variance")


def test_planted_components_come_back_by_either():
    rows = contrast(160, 4, number=1)
    assert anova_components(rows)[:3] == pytest.approx(PLANTED, rel=0.15)
    uneven = rows.sample(frac=0.75, random_state=0)
    assert variance_components(uneven)[:3] == pytest.approx(PLANTED, rel=0.2)
    assert anova_components(uneven)[:3] == pytest.approx(PLANTED, rel=0.2)


def test_the_unit_and_the_order_of_rows_change_nothing():
    rows = contrast(16, number=2)
    plain = variance_components(rows)
    large = variance_components(rows.assign(effect=1000 * rows["effect"]).sample(frac=1, random_state=0))
    assert large[:3] == pytest.approx([1000 * sd for sd in plain[:3]], rel=1e-3)


def test_where_the_mixed_model_ends_at_zero_it_is_anova():
    rows = contrast(24, tau=0.0, seed=0.0)
    assert mixed_components(rows) is None and variance_components(rows) == anova_components(rows)
    constant = variance_components(rows.assign(effect=1.0))
    assert constant.method == "analysis of variance" and constant[:3] == pytest.approx((0, 0, 0), abs=1e-12)


def test_a_level_without_repeats_counts_with_the_one_above():
    one_seed = variance_components(contrast(160, 1, number=1))
    assert np.isnan(one_seed.seed) and one_seed.world == pytest.approx(np.hypot(0.1, 0.05), rel=0.15)
    one_replicate = variance_components(contrast(160, 4, 1, number=1))
    assert np.isnan(one_replicate.replicate)
    assert one_replicate.seed == pytest.approx(np.hypot(0.05, 0.1), rel=0.15)


def test_worlds_too_few_for_the_strata_are_refused():
    with pytest.raises(DataError, match="4 worlds are too few"):
        variance_components(contrast(8)[lambda t: t["world"].isin(["w00", "w01", "w02", "w04"])])


def test_intervals_hold_what_was_planted():
    hits = np.zeros(3)
    for number in range(10):
        rows = contrast(16, 2, 2, number=number, tau=0.05, seed=0.08)
        table = component_intervals(rows.assign(kinds=1), (), generator=np.random.default_rng(0), draws=2000)
        assert table["component"].tolist() == ["world", "seed", "replicate"]
        low, high = table["low"].to_numpy(), table["high"].to_numpy()
        hits += (low <= [0.05, 0.08, 0.1]) & (high >= [0.05, 0.08, 0.1])
    assert (hits >= 8).all()  # of 10 at 95 %: fewer than 8 has a chance of 1 in 80


def test_the_interval_of_replicates_is_the_chi_squares():
    rows = contrast(24)
    table = component_intervals(rows, generator=np.random.default_rng(0), draws=100_000).set_index(
        "component"
    )
    df = 24 * 2 * 3
    exact = anova_components(rows).replicate * np.sqrt(df / stats.chi2.ppf([0.975, 0.025], df))
    assert table.loc["replicate", ["low", "high"]].tolist() == pytest.approx(exact, rel=2e-3)
    one_seed = component_intervals(contrast(8, 1), generator=np.random.default_rng(0)).set_index("component")
    assert one_seed.loc["seed", ["sd", "low", "high"]].isna().all()


# half-widths

KNOWN = Components(0.09, 0.04, 0.08, "analysis of variance")


def test_half_width_by_hand():
    parts = half_width(KNOWN, worlds=24, seeds=2, replicates=4)
    t, ours = stats.t.ppf(0.975, 20), 0.04**2 / 2 + 0.08**2 / 8
    assert parts.tau == pytest.approx(t * 0.09 / np.sqrt(24))
    assert parts.ours == pytest.approx(t * np.sqrt(ours / 24))
    assert parts.total == pytest.approx(np.hypot(parts.tau, parts.ours))


def test_the_plans_own_figure():
    """At 24 worlds a half-width of .04 needs tau of about .09, and .2 gives .085 (second-ledger plan)."""
    alone = [
        half_width(KNOWN._replace(world=tau, seed=0, replicate=0), worlds=24, seeds=1, replicates=1)
        for tau in (0.09, 0.2)
    ]
    assert [part.total for part in alone] == pytest.approx([0.04, 0.085], abs=0.002)


def test_half_width_is_what_intervals_have_on_average():
    rows = [contrast(24, 2, 4, number=number) for number in range(12)]
    widths = [(lambda e: e.high - e.low)(effect_over_worlds(world_means(table))) / 2 for table in rows]
    expected = half_width(Components(*PLANTED, ""), worlds=24, seeds=2, replicates=4).total
    assert np.sqrt(np.mean(np.square(widths))) == pytest.approx(expected, rel=0.1)


def test_study_sizes_name_the_cheapest_that_is_enough():
    table = study_sizes(KNOWN, worlds=24, limit=0.02)
    first = table[table["enough"]].iloc[0]
    assert (
        first["ours"] <= 0.02
        and not table.loc[table["reward_models"] < first["reward_models"], "enough"].any()
    )
    same = table[table["reward_models"] == 4].sort_values("seeds")
    assert same["ours"].is_monotonic_decreasing  # as many reward models tell more on more seeds
    unknown = half_width(KNOWN._replace(seed=np.nan), worlds=24, seeds=1, replicates=4)
    assert unknown == half_width(KNOWN._replace(seed=0), worlds=24, seeds=1, replicates=4)


def test_sizes_that_give_no_interval_are_refused():
    with pytest.raises(SpecError, match="at least 5 worlds"):
        half_width(KNOWN, worlds=4, seeds=1, replicates=1)
    with pytest.raises(SpecError, match="0 seeds"):
        half_width(KNOWN, worlds=24, seeds=0, replicates=1)
