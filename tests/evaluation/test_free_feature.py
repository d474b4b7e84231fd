"""Predicted leads begin at h = 0 and end where nothing is left; a weight is at most what its loss allows."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.evaluation.free_feature import predicted_leads, prediction_errors, weights_left

CELLS = ["task", "h", "a", "matched", "quantity", "method", "mean", "low", "high", "n_seeds"]
SHARES = {0.0: 0.3, 0.5: 0.2, 1.0: -0.1}  # of Init-Demo, by h; Init-SFT has .2 everywhere


def cells():
    rows = []
    for h, share in SHARES.items():
        for matched in (False, True):
            where, width = ("harmless", h, 0.1, matched), 0.05 + matched
            rows.append((*where, "share", "init_sft", 0.2, 0.1, 0.3, 3))
            rows.append((*where, "share", "init_demo", share, share - 0.1, share + 0.1, 3))
            lead = 0.2 - share
            rows.append((*where, "lead", "init_demo", lead, lead - width, lead + width, 3))
            rows.append((*where, "lead", "sft_demo", 9.0, 8.0, 10.0, 3))
    return pd.DataFrame(rows, columns=CELLS)


def test_a_prediction_begins_at_h_0_and_ends_where_nothing_is_left():
    laws = {"half": {0.0: 1.0, 0.5: 0.5, 1.0: 0.0}, "all": dict.fromkeys(SHARES, 1.0)}
    table = predicted_leads(cells(), laws)
    assert len(table) == 6 and set(table["law"]) == set(laws)  # cells at matched gain are left out
    half = table[table["law"] == "half"].set_index("h")
    assert half["predicted"].tolist() == pytest.approx([-0.1, 0.05, 0.2])
    assert half["error"].tolist() == pytest.approx([0.0, 0.05, -0.1])
    assert half["inside"].tolist()[::2] == [True, False]
    errors = prediction_errors(table).set_index("law")
    assert errors.loc["half", ["h = 0.5", "h = 1"]].tolist() == pytest.approx([0.05, -0.1])
    assert errors.loc["half", "rmse"] == pytest.approx(np.sqrt((0.05**2 + 0.1**2) / 2))
    assert errors.loc["all", "h = 1"] == pytest.approx(-0.4)


def test_what_a_prediction_lacks_is_named():
    with pytest.raises(DataError, match="'half' has no value at h = \\[0.5\\]"):
        predicted_leads(cells(), {"half": {0.0: 1.0, 1.0: 0.0}})
    some = cells()
    with pytest.raises(DataError, match="h = 0"):
        predicted_leads(some[some["h"] > 0], {"all": dict.fromkeys(SHARES, 1.0)})


def test_a_weight_is_bounded_by_the_loss_of_its_responses():
    margins = np.random.default_rng(0).normal(1.0, 2.0, size=(4, 500))
    losses = np.logaddexp(0, -margins).mean(1)
    rows = {"model": "init_demo", "seed": 0, "step": [10, 20, 30, 40], "training_loss": losses}
    table = weights_left(pd.DataFrame(rows))
    true = 2 / (1 + np.exp(margins))
    assert (table["weight"] >= true.mean(1)).all()
    assert table["effective"].iloc[-1] == pytest.approx(10 * table["weight"].sum())
    # equal margins reach the bound, and no loss gives more than the weight before training
    equal = pd.DataFrame(rows | {"training_loss": np.logaddexp(0, -np.array([-3.0, 0.0, 1.0, 4.0]))})
    assert weights_left(equal)["weight"].tolist() == pytest.approx([1, 1, *2 / (1 + np.exp([1.0, 4.0]))])


def test_weights_are_means_over_seeds_and_unknown_models_are_named():
    rows = [("init_sft", seed, step, loss) for seed, loss in ((0, 0.1), (1, 0.5)) for step in (5, 10)]
    table = weights_left(pd.DataFrame(rows, columns=["model", "seed", "step", "training_loss"]))
    assert table["weight"].iloc[0] == pytest.approx(-np.expm1([-0.1, -0.5]).sum())
    with pytest.raises(DataError, match="init_sft"):
        weights_left(pd.DataFrame(rows, columns=["model", "seed", "step", "training_loss"]), models=["x"])
