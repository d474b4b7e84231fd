"""Recipes are compared within worlds, by what a user can measure and beside it by the judge."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.evaluation.recipes import agreement, choice, held_out_loss


def scores(**by_scorer):
    """Rewards (source -> prompts x draws) of some scorers as table `scores`."""
    rows = [
        (f"p{prompt}", source, draw, scorer, reward)
        for scorer, sources in by_scorer.items()
        for source, values in sources.items()
        for prompt, draws in enumerate(values)
        for draw, reward in enumerate(draws)
    ]
    return pd.DataFrame(rows, columns=["prompt_id", "source", "draw", "scorer", "reward"])


def test_the_held_out_loss_weighs_both_sources_alike():
    table = scores(a={"pi_sft": [[2.0, 0.0], [1.0, 1.0]], "pi_init": [[-1.0]]})
    high = np.mean(np.log1p(np.exp([-2.0, 0.0, -1.0, -1.0])))
    expected = (high + np.log1p(np.exp(-1.0))) / 2
    assert held_out_loss(table, scorer="a", high="pi_sft", low="pi_init") == pytest.approx(expected)
    nothing = scores(a={"pi_sft": [[0.0]], "pi_init": [[0.0]]})
    assert held_out_loss(nothing, scorer="a", high="pi_sft", low="pi_init") == pytest.approx(np.log(2))
    with pytest.raises(DataError, match="no response of 'demonstrations'"):
        held_out_loss(table, scorer="a", high="demonstrations", low="pi_init")


def test_agreement_is_of_orders_within_prompts():
    order = [[1.0, 2.0, 3.0], [9.0, 8.0, 7.0]]
    table = scores(
        a={"pi_sft": order}, b={"pi_sft": [[10, 20, 30], [0, -1, -2]]}, c={"pi_sft": [[3, 2, 1], [1, 1, 1]]}
    )
    assert agreement(table, ["a", "b"]) == pytest.approx(1.0)
    assert agreement(table, ["a", "c"]) == pytest.approx(-1.0)  # the prompt that c scores alike is left out
    assert np.isnan(agreement(table, ["a"]))


def results(**losses):
    rows = [
        (recipe, f"w{world}", "init_sft", loss, 0.5, -loss)
        for recipe, values in losses.items()
        for world, loss in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["recipe", "world", "kind", "held_out_loss", "agreement", "judge"])


def test_recipes_are_compared_within_worlds():
    """Worlds differ by far more than recipes; the lead has an error, and a choice says how sure it is."""
    table = results(today=[0.1, 0.5, 0.9], better=[0.08, 0.47, 0.88], worse=[0.2, 0.6, 1.0])
    for by in ("held_out_loss", "judge"):
        best = choice(table, by).iloc[0]
        assert best["recipe"] == best["best"] == "better" and best["n_worlds"] == 3
        assert best["lead"] == pytest.approx(0.07 / 3) and best["low"] > 0
    same = choice(results(today=[0.1, 0.5], other=[0.2, 0.6]), "held_out_loss").iloc[0]
    assert same["recipe"] == same["best"] == "today" and same["lead"] == same["low"] == same["high"] == 0


def test_a_lead_that_may_be_chance_changes_nothing_and_seeds_are_of_one_world():
    table = results(today=[0.1, 0.5, 0.9], other=[0.0, 0.7, 0.6])
    unsure = choice(pd.concat([table, table]), "held_out_loss").iloc[0]
    assert unsure["best"] == "other" and unsure["recipe"] == "today" and unsure["n_worlds"] == 3


def test_a_recipe_that_lacks_a_world_is_refused():
    with pytest.raises(DataError, match="lacks a world"):
        choice(results(today=[0.1, 0.5], other=[0.2]), "judge")


def test_the_lowest_is_taken_where_nothing_is_to_be_kept():
    table = results(today=[0.3, 0.5], other=[0.29, 0.45]).rename(columns={"held_out_loss": "validation_loss"})
    assert choice(table, "validation_loss").iloc[0]["recipe"] == "today"  # two worlds are not sure of it
    taken = choice(table, "validation_loss", keep_first=False).iloc[0]
    assert taken["recipe"] == taken["best"] == "other" and taken["low"] < 0 < taken["lead"]


def test_the_cheapest_of_those_that_are_as_good_is_taken():
    """`near` is behind the best by less than its standard error over worlds, and `worse` by more."""
    losses = {"today": [0.5, 0.6, 0.7], "best": [0.1, 0.2, 0.3], "near": [0.12, 0.19, 0.31]}
    table = results(**losses, worse=[0.2, 0.3, 0.4])
    table["flops"] = table["recipe"].map({"today": 1.0, "worse": 2.0, "near": 3.0, "best": 4.0})
    row = choice(table, "held_out_loss", cost="flops").iloc[0]
    assert row["recipe"] == "near" and row["best"] == "best"
    assert choice(table, "held_out_loss").iloc[0]["recipe"] == "best"
    table.loc[table["recipe"] == "near", "flops"] = 5.0
    assert choice(table, "held_out_loss", cost="flops").iloc[0]["recipe"] == "best"
