from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.evaluation import best_of_n as oc
from afd_study.evaluation.pools import SCORE_COLUMNS
from afd_study.records import TABLES

IDS = {"task": "harmless", "seed": 0, "judge": "world"}


def scores(rows):
    """Rows (prompt_id, source, scorer, rewards of draws 0, 1, ...)."""
    return pd.DataFrame(
        [
            (prompt, source, draw, scorer, reward)
            for prompt, source, scorer, rewards in rows
            for draw, reward in enumerate(rewards)
        ],
        columns=SCORE_COLUMNS,
    )


THREE = scores([("a", "pi_sft", "world", [0.0, 5.0, 2.0]), ("a", "pi_sft", "init_sft", [3.0, 2.0, 1.0])])


def value(table, method, n, prompt="a"):
    row = table[(table["method"] == method) & (table["n"] == n) & (table["prompt_id"] == prompt)]
    return row["value"].item()


def test_three_draws_by_enumeration():
    table = oc.best_of_n_curve(THREE, **IDS, n_max=3)
    # the scorer's order is 3 > 2 > 1: subsets of two {0,1} {0,2} {1,2} keep draws 0, 0, 1
    assert value(table, "init_sft", 1) == pytest.approx(7 / 3)
    assert value(table, "init_sft", 2) == pytest.approx((0 + 0 + 5) / 3)
    assert value(table, "init_sft", 3) == pytest.approx(0)
    # the oracle keeps 5, 2, 5; random keeps the mean
    assert value(table, "oracle", 2) == pytest.approx((5 + 2 + 5) / 3)
    assert [value(table, "random", n) for n in (1, 2, 3)] == pytest.approx([7 / 3] * 3)


def test_the_table_is_outcomes_and_starts_alike():
    table = oc.best_of_n_curve(THREE, **IDS, n_max=3)
    assert tuple(table.columns) == TABLES["outcomes"].columns
    assert set(table["method"]) == {"init_sft", "random", "oracle"}  # the judge itself is no method
    assert table[table["n"] == 1]["value"].to_numpy() == pytest.approx(7 / 3)


def test_ties_are_shared():
    tied = scores([("a", "pi_sft", "world", [0.0, 6.0, 3.0]), ("a", "pi_sft", "longest", [1.0, 1.0, 0.0])])
    table = oc.best_of_n_curve(tied, **IDS, n=[2])
    # {0,1}: 3 on average; {0,2}: 0; {1,2}: 6
    assert value(table, "longest", 2) == pytest.approx(3.0)


def test_joined_on_ids_not_on_position():
    shuffled = THREE.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(
        oc.best_of_n_curve(THREE, **IDS, n_max=3), oc.best_of_n_curve(shuffled, **IDS, n_max=3)
    )


def test_prompts_may_differ_in_their_number_of_draws():
    more = scores([("b", "pi_sft", "world", [1.0, 2.0]), ("b", "pi_sft", "init_sft", [0.0, 1.0])])
    table = oc.best_of_n_curve(pd.concat([more, THREE]), **IDS, n_max=2)
    assert value(table, "init_sft", 2, "b") == 2.0
    assert value(table, "init_sft", 2, "a") == pytest.approx(5 / 3)
    with pytest.raises(DataError, match="more than the 2 usable draws of prompt 'b'"):
        oc.best_of_n_curve(pd.concat([more, THREE]), **IDS, n_max=3)


def test_other_sources_and_unwanted_scorers_stay_out():
    other = scores([("a", "pi_init", "world", [9.0, 9.0]), ("a", "pi_sft", "world.tone", [1.0, 0.0, 0.0])])
    table = oc.best_of_n_curve(pd.concat([THREE, other]), **IDS, scorers=["init_sft"], n=[1])
    assert set(table["method"]) == {"init_sft", "random", "oracle"}
    assert value(table, "init_sft", 1) == pytest.approx(7 / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"judge": "wrld"}, "did you mean 'world'"),
        ({"source": "pi_sfd"}, "did you mean 'pi_sft'"),
        ({"scorers": ["init_stf"]}, "did you mean 'init_sft'"),
        ({"n": [0, 1]}, "from 1"),
        ({"n": []}, "at least one"),
    ],
)
def test_mistaken_names_and_numbers(change, message):
    with pytest.raises(SpecError, match=message):
        oc.best_of_n_curve(THREE, **(IDS | change))


def test_levels_are_means_over_draws_at_one():
    demonstrations = scores([("a", "demonstrations", "world", [4.0, 6.0])])
    table = oc.levels(pd.concat([THREE, demonstrations]), **IDS).set_index("method")
    assert table["value"].to_dict() == pytest.approx({"pi_sft": 7 / 3, "demonstrations": 5.0})
    assert set(table["n"]) == {1}


def test_summary_has_the_command_lines_columns_and_is_seeded():
    pool = scores(
        [
            (prompt, "pi_sft", scorer, np.random.default_rng([prompt, k]).normal(size=4))
            for prompt in range(12)
            for k, scorer in enumerate(["world", "init_sft"])
        ]
    )
    outcomes = oc.best_of_n_curve(pool, **IDS, n_max=4)
    table = oc.summarise(outcomes, np.random.default_rng(1))
    assert tuple(table.columns[:9]) == TABLES["summary"].columns
    assert set(table["interval"]) == {"bootstrap over prompts"} and set(table["n_prompts"]) == {12}
    assert (table["low"] < table["mean"]).all() and (table["mean"] < table["high"]).all()
    pd.testing.assert_frame_equal(table, oc.summarise(outcomes, np.random.default_rng(1)))
    assert not table.equals(oc.summarise(outcomes, np.random.default_rng(2)))


# --- win rates


def brute_force_win_rate(values, rewards, n):
    """Best of every n-subset (no tied rewards) against every draw outside it."""
    won = []
    for subset in combinations(range(len(values)), n):
        best = max(subset, key=lambda draw: rewards[draw])
        won += [(np.sign(values[best] - values[j]) + 1) / 2 for j in range(len(values)) if j not in subset]
    return np.mean(won)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_win_rate_over_the_own_policy_by_enumeration(n):
    generator = np.random.default_rng(0)
    values, rewards = generator.integers(0, 4, 6).astype(float), generator.normal(size=6)
    pool = scores([("a", "pi_sft", "world", values), ("a", "pi_sft", "init_sft", rewards)])
    table = oc.win_rates(pool, **IDS, opponent="pi_sft", n=[n])
    assert value(table, "init_sft", n) == pytest.approx(brute_force_win_rate(values, rewards, n))
    assert value(table, "random", n) == pytest.approx(0.5)


def test_win_rate_over_demonstrations_by_hand():
    rivals = scores([("a", "demonstrations", "world", [2.0, 4.0])])
    table = oc.win_rates(pd.concat([THREE, rivals]), **IDS, opponent="demonstrations", n=[1, 2, 3])
    # draws 0, 5, 2 beat the rivals with chances 0, 1, 1/4; subsets of two keep draws 0, 0, 1
    assert value(table, "init_sft", 1) == pytest.approx(1.25 / 3)
    assert value(table, "init_sft", 2) == pytest.approx(1 / 3)
    assert value(table, "oracle", 3) == 1.0
    assert set(table["opponent"]) == {"demonstrations"}


def test_win_rate_needs_opponents_and_a_spare_draw():
    elsewhere = scores([("b", "demonstrations", "world", [2.0])])
    with pytest.raises(DataError, match="'demonstrations' has no draw for prompt 'a'"):
        oc.win_rates(pd.concat([THREE, elsewhere]), **IDS, opponent="demonstrations", n=[1])
    with pytest.raises(DataError, match="2 usable draws"):
        oc.win_rates(THREE, **IDS, opponent="pi_sft", n=[3])
    with pytest.raises(SpecError, match="unknown opponent"):
        oc.win_rates(THREE, **IDS, opponent="gpt", n=[1])
