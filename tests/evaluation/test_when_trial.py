"""The law tried: errors, calibration and regret, by hand and on planted laws."""

import numpy as np
import pandas as pd
import pytest
from world_tables import law_cells

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.when import RuleInWords
from afd_study.evaluation.when_fit import fit_law
from afd_study.evaluation.when_trial import calibration, lead_errors, regrets

RIVALS = ("random", "longest", "init_demo")


def tables():
    """Return four cells of two worlds, of which the last has no prediction."""
    cells = pd.DataFrame(
        {
            "world": ["a", "a", "b", "b"],
            "lead_over_random": [0.2, -0.1, 0.3, 9.0],
            "lead_over_longest": [0.1, -0.4, 0.5, 9.0],
            "lead_over_init_demo": [0.3, 0.1, -0.2, 9.0],
            "auc_init_sft_without_length": [0.7, 0.5, 0.7, 0.7],
            "auc_init_demo": [1.0, 1.0, 0.9, 0.9],
        }
    )
    predictions = pd.DataFrame(
        {
            "no_prediction": ["", "", "", "auc is outside"],
            "predicted_random": [0.3, -0.1, 0.1, np.nan],
            "chance_random": [0.9, 0.3, 0.7, np.nan],
            "usual_random": [0.0, 0.0, 0.0, 0.0],
            "choice": ["init_sft", "random", "init_demo", ""],
        }
    )
    return cells, predictions


def test_errors_by_hand():
    row = lead_errors(*tables(), rivals=("random",)).iloc[0]
    assert row["error"] == pytest.approx(np.sqrt((0.1**2 + 0 + 0.2**2) / 3))
    assert row["bias"] == pytest.approx((0.1 + 0 - 0.2) / 3)
    assert row["error_of_mean"] == pytest.approx(np.sqrt((0.04 + 0.01 + 0.09) / 3))
    assert row[["n_cells", "n_worlds", "n_no_prediction"]].tolist() == [3, 2, 1]


def test_calibration_by_hand():
    table = calibration(*tables(), edges=(0, 0.5, 1))
    assert table[["from", "to"]].to_numpy().tolist() == [[0, 0.5], [0.5, 1]]
    assert table["chance"].tolist() == pytest.approx([0.3, 0.8]) and table["observed"].tolist() == [0, 1]
    assert table["n_cells"].tolist() == [1, 2] and table["n_worlds"].tolist() == [1, 2]
    assert table["brier"].tolist() == pytest.approx([0.09, (0.01 + 0.09) / 2])


def test_a_chance_of_one_is_in_the_last_bin():
    cells, predictions = tables()
    table = calibration(cells, predictions.assign(chance_random=1.0))
    assert table[["from", "to", "n_cells"]].to_numpy().tolist() == [[0.8, 1, 3]]


def test_regret_by_hand():
    # scores against Init-SFT's 0, of random, longest, init_demo:
    # -.2 -.1 -.3 | .1 .4 -.1 | -.3 -.5 .2: the best have 0, .4, .2; world a has two of the three cells
    table = regrets(*tables(), rivals=RIVALS).set_index("rule")
    assert table.loc["the law", "regret"] == pytest.approx(((0 + 0.3) / 2 + 0) / 2)
    assert table.loc["always SFT", "regret"] == pytest.approx(((0.2 + 0.3) / 2 + 0.5) / 2)
    assert table.loc["always Init-SFT", "regret"] == pytest.approx(((0 + 0.4) / 2 + 0.2) / 2)
    assert table.loc["always longest", "regret"] == pytest.approx(((0.1 + 0) / 2 + 0.7) / 2)
    # the rule in words: init_sft, random, init_demo, as the law
    assert table.loc["the rule in words", "regret"] == table.loc["the law", "regret"]
    assert table["best"].tolist() == pytest.approx([2 / 3, 2 / 3, 0, 1 / 3, 1 / 3])
    assert (table["n_no_prediction"] == 1).all() and (table["low"] <= table["regret"]).all()


def test_another_rule_in_words_may_be_tried():
    strict = regrets(*tables(), rule=RuleInWords(learned=0.9), rivals=RIVALS).set_index("rule")["regret"]
    assert strict["the rule in words"] == strict["always SFT"]


def test_a_law_that_holds_beats_the_naive_rules_on_other_worlds():
    law, other = fit_law(law_cells(12), penalties=(0.01,)), law_cells(24, number=5)
    predictions = law.predict(other)
    errors = lead_errors(other, predictions)
    assert (errors["error"] < errors["error_of_mean"] / 2).all()
    table = regrets(other, predictions).set_index("rule")
    naive = [name for name in table.index if name.startswith("always")]
    assert table.loc["the law", "high"] < table.loc[naive, "low"].min()
    bins = calibration(other, predictions)
    assert bins.iloc[0]["observed"] < 0.2 and bins.iloc[-1]["observed"] > 0.9


def test_cells_and_predictions_of_other_cells_are_refused():
    cells, predictions = tables()
    with pytest.raises(DataError, match="same cells"):
        lead_errors(cells, predictions[:3])
    with pytest.raises(DataError, match="world"):
        regrets(cells.drop(columns="world"), predictions)
    with pytest.raises(SpecError, match="always longest"):
        regrets(cells, predictions, rivals=("random", "init_demo"))
