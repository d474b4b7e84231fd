import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.evaluation import statistics as st


def generator(seed=0):
    return np.random.default_rng(seed)


# --- t over seeds: mean 2, sd 1, s.e. 1 / sqrt 3, t(.975, 2) = 4.3027 from any table


def test_t_interval_by_the_table():
    found = st.t_interval([1.0, 2.0, 3.0])
    assert found.mean == pytest.approx(2.0)
    assert found.high - 2.0 == pytest.approx(4.302652729911275 / np.sqrt(3), abs=1e-9)
    assert 2.0 - found.low == pytest.approx(found.high - 2.0)


def test_t_interval_by_the_table_at_another_level_and_for_columns():
    found = st.t_interval([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [4.0, 5.0]], level=0.9)
    # t(.95, 3) = 2.3534, sd of 1 ... 4 is sqrt(5 / 3)
    assert found.high == pytest.approx([2.5 + 2.3533634348 * np.sqrt(5 / 3) / 2, 5.0])
    assert found.low[1] == 5.0


@pytest.mark.parametrize("means", [[1.0], [], [[[1.0]], [[2.0]]]])
def test_t_interval_refuses_one_seed_and_odd_shapes(means):
    with pytest.raises(DataError, match="at least 2 seeds"):
        st.t_interval(means)


def test_t_intervals_of_each_key_are_those_of_its_values():
    rows = pd.DataFrame({"task": ["b", "b", "b", "a", "a"], "value": [1.0, 2.0, 6.0, 4.0, 4.0]})
    found = st.t_intervals(rows, ("task",))
    assert list(found["task"]) == ["a", "b"] and list(found["n_seeds"]) == [2, 3]
    expected = st.t_interval([1.0, 2.0, 6.0])
    assert found.loc[1, ["mean", "low", "high"]].tolist() == [expected.mean, expected.low, expected.high]
    assert found.loc[0, ["low", "high"]].tolist() == [4.0, 4.0]
    with pytest.raises(DataError, match="setting"):
        st.t_intervals(rows, ("setting",))
    with pytest.raises(DataError, match="at least 2 seeds"):
        st.t_intervals(rows[:1], ("task",))


def test_level_must_be_a_probability():
    with pytest.raises(SpecError, match="level"):
        st.t_interval([1.0, 2.0], level=95)


# --- bootstrap over prompts


def test_bootstrap_is_near_the_normal_interval_and_seeded():
    values = generator(1).normal(2.0, 1.0, 400)
    found = st.bootstrap_over_prompts(values, generator=generator(), resamples=4000)
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)
    assert found == st.bootstrap_over_prompts(values, generator=generator(), resamples=4000)
    assert found != st.bootstrap_over_prompts(values, generator=generator(9), resamples=4000)


def test_bootstrap_of_two_prompts_by_hand():
    # means of resamples of (0, 1) are 0, 1/2, 1 with chances 1/4, 1/2, 1/4: 95 % is the whole of it
    found = st.bootstrap_over_prompts([0.0, 1.0], generator=generator())
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)


def test_bootstrap_columns_share_their_prompts():
    values = generator(2).normal(size=50)
    found = st.bootstrap_over_prompts(np.stack([values, values + 1], 1), generator=generator())
    assert found.low[1] - found.low[0] == pytest.approx(1.0)


def test_bootstrap_of_one_prompt_has_no_interval():
    found = st.bootstrap_over_prompts([3.0], generator=generator())
    assert found.mean == 3.0 and np.isnan(found.low) and np.isnan(found.high)


def test_bootstrap_statistic_agrees_with_the_bootstrap_of_a_mean():
    values = generator(3).normal(size=(40, 2))
    plain = st.bootstrap_over_prompts(values.mean(1), generator=generator(), resamples=300)
    ids = np.repeat(np.arange(40), 2)
    found = st.bootstrap_statistic(
        lambda weights: (weights @ values.ravel()) / weights.sum(-1),
        ids,
        generator=generator(),
        resamples=300,
    )
    assert found == pytest.approx(plain)


def test_bootstrap_statistic_in_blocks_is_the_same(monkeypatch):
    values, ids = generator(3).normal(size=30), np.arange(30)
    whole = st.bootstrap_statistic(lambda w: w @ values, ids, generator=generator(), resamples=100)
    monkeypatch.setattr(st, "BLOCK", 70)
    parts = st.bootstrap_statistic(lambda w: w @ values, ids, generator=generator(), resamples=100)
    np.testing.assert_allclose(
        parts, whole, rtol=1e-13
    )  # some processors sum a smaller product in another order


# --- the choice between the two, said in the table


def frame(values, seeds, prompts, **constant):
    rows = {"seed": np.repeat(seeds, len(prompts)), "prompt_id": np.tile(prompts, len(seeds))}
    constant = {"task": "harmless", "method": "init_sft", "n": 16, "judge": "world"} | constant
    return pd.DataFrame({**rows, **constant, "value": np.ravel(values)})


def test_interval_of_many_seeds_is_t_over_per_seed_means():
    table = st.interval(frame([[0, 2], [1, 3], [2, 4]], [0, 1, 2], ["a", "b"]), generator=generator())
    row = table.iloc[0]
    assert (row["interval"], row.n_seeds, row.n_prompts) == ("t over seeds", 3, 2)
    assert (row["mean"], row.low, row.high) == pytest.approx(st.t_interval([1.0, 2.0, 3.0]))


def test_interval_of_one_seed_is_the_bootstrap_over_prompts():
    values = generator(5).normal(size=30)
    row = st.interval(frame([values], [7], np.arange(30)), generator=generator()).iloc[0]
    plain = st.bootstrap_over_prompts(values, generator=generator())
    assert (row["interval"], row.n_seeds, row.n_prompts) == ("bootstrap over prompts", 1, 30)
    assert (row["mean"], row.low, row.high) == pytest.approx(plain)


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
    found = st.interval(pd.concat([odd, rows], ignore_index=True), **options)
    pd.testing.assert_frame_equal(found, st.interval(rows, **options), check_dtype=False)
