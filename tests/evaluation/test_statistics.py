import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.evaluation import statistics as st


def generator(seed=0):
    return np.random.default_rng(seed)


# t over seeds: mean 2, sd 1, s.e. 1 / sqrt 3, t(.975, 2) = 4.3027 from any table


def test_t_interval_by_the_table():
    result = st.t_interval([1.0, 2.0, 3.0])
    assert result.mean == pytest.approx(2.0)
    assert result.high - 2.0 == pytest.approx(4.302652729911275 / np.sqrt(3), abs=1e-9)
    assert 2.0 - result.low == pytest.approx(result.high - 2.0)


def test_t_interval_by_the_table_at_another_level_and_for_columns():
    result = st.t_interval([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [4.0, 5.0]], level=0.9)
    # t(.95, 3) = 2.3534, sd of 1 ... 4 is sqrt(5 / 3)
    assert result.high == pytest.approx([2.5 + 2.3533634348 * np.sqrt(5 / 3) / 2, 5.0])
    assert result.low[1] == 5.0


@pytest.mark.parametrize("means", [[1.0], [], [[[1.0]], [[2.0]]]])
def test_t_interval_refuses_one_seed_and_odd_shapes(means):
    with pytest.raises(DataError, match="at least 2 seeds"):
        st.t_interval(means)


def test_t_intervals_of_each_key_are_those_of_its_values():
    rows = pd.DataFrame({"task": ["b", "b", "b", "a", "a"], "value": [1.0, 2.0, 6.0, 4.0, 4.0]})
    result = st.t_intervals(rows, ("task",))
    assert list(result["task"]) == ["a", "b"] and list(result["n_seeds"]) == [2, 3]
    expected = st.t_interval([1.0, 2.0, 6.0])
    assert result.loc[1, ["mean", "low", "high"]].tolist() == [expected.mean, expected.low, expected.high]
    assert result.loc[0, ["low", "high"]].tolist() == [4.0, 4.0]
    with pytest.raises(DataError, match="setting"):
        st.t_intervals(rows, ("setting",))
    with pytest.raises(DataError, match="at least 2 seeds"):
        st.t_intervals(rows[:1], ("task",))


def test_the_interval_of_few_seeds_leaves_out_what_is_undefined():
    assert st.seed_interval([1.0, np.nan, 3.0]) == pytest.approx(st.t_interval([1.0, 3.0]))
    one, none = st.seed_interval([2.0, np.nan]), st.seed_interval([np.nan])
    assert one.mean == 2 and np.isnan([*one[1:], *none]).all()


def test_a_ratio_is_undefined_where_the_bottom_is_not_positive():
    np.testing.assert_array_equal(st.ratio([1.0, 1.0, 1.0], [2.0, 0.0, -1.0]), [0.5, np.nan, np.nan])


def test_level_must_be_a_probability():
    with pytest.raises(SpecError, match="level"):
        st.t_interval([1.0, 2.0], level=95)


# bootstrap over prompts


def frame(values, seeds, prompts, **constant):
    rows = {"seed": np.repeat(seeds, len(prompts)), "prompt_id": np.tile(prompts, len(seeds))}
    constant = {"task": "harmless", "method": "init_sft", "n": 16, "judge": "world"} | constant
    return pd.DataFrame({**rows, **constant, "value": np.ravel(values)})


def bootstrapped(values, seed=0):
    """Mean, low and high of one seed's values, a value a prompt."""
    table = frame([values], [7], np.arange(len(values)))
    row = st.interval(table, generator=generator(seed), resamples=4000).iloc[0]
    assert row["interval"] == st.BOOTSTRAP and (row.n_seeds, row.n_prompts) == (1, len(values))
    return tuple(row[["mean", "low", "high"]])


def test_bootstrap_is_near_the_normal_interval_and_seeded():
    values = generator(1).normal(2.0, 1.0, 400)
    mean, low, high = bootstrapped(values)
    assert mean == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(400), rel=0.06)
    assert (mean, low, high) == bootstrapped(values) != bootstrapped(values, seed=9)


def test_bootstrap_of_two_prompts_by_hand():
    # means of resamples of (0, 1) are 0, 1/2, 1 with chances 1/4, 1/2, 1/4: 95 % is the whole of it
    assert bootstrapped([0.0, 1.0]) == (0.5, 0.0, 1.0)


def test_cells_with_equally_many_prompts_share_their_resamples():
    values = generator(2).normal(size=50)
    cells = [frame([values + shift], [0], np.arange(50), method=f"m{shift}") for shift in (0, 1)]
    table = st.interval(pd.concat(cells), generator=generator())
    assert table["low"].diff()[1] == pytest.approx(1.0)


def test_bootstrap_statistic_agrees_with_the_bootstrap_of_a_mean():
    values = generator(3).normal(size=(40, 2))
    estimate = st.bootstrap_statistic(
        lambda weights: (weights @ values.ravel()) / weights.sum(-1),
        np.repeat(np.arange(40), 2),
        generator=generator(),
        resamples=4000,
    )
    assert estimate == pytest.approx(bootstrapped(values.mean(1)))


def test_bootstrap_statistic_in_blocks_is_the_same(monkeypatch):
    values, ids = generator(3).normal(size=30), np.arange(30)
    whole = st.bootstrap_statistic(lambda w: w @ values, ids, generator=generator(), resamples=100)
    monkeypatch.setattr(st, "BLOCK", 70)
    parts = st.bootstrap_statistic(lambda w: w @ values, ids, generator=generator(), resamples=100)
    np.testing.assert_allclose(
        parts, whole, rtol=1e-13
    )  # some processors sum a smaller product in another order


# the choice between the two is a column of the table


def test_interval_of_many_seeds_is_t_over_per_seed_means():
    table = st.interval(frame([[0, 2], [1, 3], [2, 4]], [0, 1, 2], ["a", "b"]), generator=generator())
    row = table.iloc[0]
    assert (row["interval"], row.n_seeds, row.n_prompts) == ("t over seeds", 3, 2)
    assert (row["mean"], row.low, row.high) == pytest.approx(st.t_interval([1.0, 2.0, 3.0]))


def test_interval_does_not_depend_on_the_order_of_rows():
    table = frame(generator(5).normal(size=(1, 30)), [0], np.arange(30))
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        st.interval(table, generator=generator()), st.interval(shuffled, generator=generator())
    )


def test_interval_of_one_seed_and_prompt_is_none():
    row = st.interval(frame([[1.0]], [0], ["a"]), generator=generator()).iloc[0]
    assert row["mean"] == 1.0 and np.isnan(row.low) and row["interval"] == "none"


def test_interval_leaves_out_undefined_prompts_and_shows_undefined_cells():
    part = frame([[1.0, 3.0, np.nan]], [0], ["a", "b", "c"])
    whole = frame([[np.nan, np.nan]], [0], ["a", "b"], method="random")
    table = st.interval(pd.concat([part, whole]), generator=generator()).set_index("method")
    assert table.loc["init_sft", "mean"] == 2.0 and table.loc["init_sft", "n_prompts"] == 2
    assert np.isnan(table.loc["random", "mean"]) and table.loc["random", "n_prompts"] == 0


def test_interval_names_missing_columns():
    with pytest.raises(DataError, match=r"lacks the columns \['seed'\]"):
        st.interval(frame([[1.0]], [0], ["a"]).drop(columns="seed"), generator=generator())


def test_interval_leaves_out_rows_without_a_key():
    rows = frame([[1.0, 3.0], [2.0, 4.0]], [0, 1], ["a", "b"]).assign(method="m")
    odd = rows.assign(method=None, value=100.0)
    options = {"by": ("method",), "generator": generator()}
    result = st.interval(pd.concat([odd, rows], ignore_index=True), **options)
    pd.testing.assert_frame_equal(result, st.interval(rows, **options), check_dtype=False)
