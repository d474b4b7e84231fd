"""The map: cells from values, who wins where, what measurable numbers say."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.evaluation.claim_effects import VALUE_COLUMNS
from afd_study.evaluation.heterogeneity_map import (
    coordinates,
    map_intervals,
    matched_rows,
    measured,
    predicted,
    simple_rules,
    winners,
)


def cell(h, a, *, init_sft, init_demo, auc, matched=False, task="harmless", gain=1.0):
    """Values of one cell at three seeds; the gap from random (1) to oracle (3) is two points."""
    setting = f"h = {h:g}, a = {a:g}" + (", matched gain" if matched else "")
    at_16 = {"init_sft": init_sft, "init_demo": init_demo, "random": 1.0, "oracle": 3.0}
    rows = []
    for place, seed in enumerate(range(3)):
        noise = 0.02 * (place - 1)
        for method, value in at_16.items():
            shift = noise if method == "init_sft" else 0.0
            rows.append((task, setting, seed, "outcomes", "judge", method, 16, value + shift))
        for method, value in {"pi_init": 0.0, "pi_sft": gain, "demonstrations": 1.5}.items():
            rows.append((task, setting, seed, "outcomes", "judge", method, 1, value))
        for method, value in {"init_sft": 0.6, "init_demo": auc}.items():
            for metric in ("auc", "auc_without_length"):
                rows.append((task, setting, seed, "separability", metric, method, 0, value))
    return pd.DataFrame(rows, columns=list(VALUE_COLUMNS))


def whole_map(task="harmless"):
    """Values of four cells, and of two more at matched gain."""
    rows = [
        cell(0, 0.1, init_sft=1.4, init_demo=1.8, auc=0.6, task=task),
        cell(1, 0.1, init_sft=1.4, init_demo=1.0, auc=1.0, task=task),
        cell(0, 0.9, init_sft=1.3, init_demo=1.3, auc=0.7, gain=0.5, task=task),
        cell(1, 0.9, init_sft=1.3, init_demo=1.2, auc=0.9, gain=0.5, task=task),
        cell(0, 0.1, init_sft=1.2, init_demo=1.5, auc=0.6, matched=True, gain=0.5, task=task),
        cell(1, 0.1, init_sft=1.2, init_demo=1.0, auc=0.95, matched=True, gain=0.5, task=task),
    ]
    return pd.concat(rows)


@pytest.fixture(scope="module")
def cells():
    return map_intervals(whole_map())


def one(cells, quantity, method, h=1.0, a=0.1, matched=False):
    keys = {"quantity": quantity, "method": method, "h": h, "a": a, "matched": matched}
    return cells[(cells[list(keys)] == list(keys.values())).all(axis=1)].iloc[0]


def test_a_cells_name_says_where_it_is():
    assert coordinates("h = 0.33, a = 0.4") == (0.33, 0.4, False)
    assert coordinates("h = 1, a = 0.1, matched gain") == (1.0, 0.1, True)
    with pytest.raises(DataError, match="'h=1' names no cell of the map"):
        coordinates("h=1")


def test_quantities_by_hand(cells):
    lead = one(cells, "lead", "init_demo")
    assert lead["mean"] == pytest.approx(0.2) and lead["n_seeds"] == 3
    half = 4.302653 * 0.01 / np.sqrt(3)  # t with 2 degrees of freedom, deviations of 0.01 of the gap
    assert lead["high"] - lead["low"] == pytest.approx(2 * half, rel=1e-5)
    assert one(cells, "share", "init_sft")["mean"] == pytest.approx(0.2)
    assert one(cells, "gain", "pi_sft", a=0.9)["mean"] == 0.5
    assert one(cells, "score", "demonstrations")["mean"] == 1.5
    assert one(cells, "auc", "init_demo", a=0.9)["mean"] == pytest.approx(0.9)


def test_winners_are_named_and_a_tie_is_not_decided(cells):
    won = winners(cells).set_index(["h", "a", "matched"])
    assert won.loc[(0.0, 0.1, False), "winner"] == "init_demo" and won.loc[(0.0, 0.1, False), "decided"]
    assert won.loc[(1.0, 0.1, False), "winner"] == "init_sft" and won.loc[(1.0, 0.1, False), "decided"]
    assert not won.loc[(0.0, 0.9, False), "decided"]


def test_what_can_be_measured_stands_beside_the_policies_scores(cells):
    result = measured(cells).set_index(["h", "a", "matched"])
    row = result.loc[(1.0, 0.9, False)]
    assert row["pi_sft"] == 0.5 and row["demonstrations"] == 1.5
    assert row["init_demo"] == "0.90 (0.90)" and row["init_sft"] == "0.60 (0.60)"
    assert len(result) == 6


def test_the_matched_row_stands_between_the_ends(cells):
    result = matched_rows(cells).set_index("h")
    assert list(result.columns) == [
        "task",
        "lead, a = 0.1",
        "gain, a = 0.1",
        "lead, a = 0.1, matched",
        "gain, a = 0.1, matched",
        "lead, a = 0.9",
        "gain, a = 0.9",
    ]
    assert result.loc[1.0, "lead, a = 0.1, matched"].startswith("0.10 [")
    assert result.loc[0.0, "gain, a = 0.1, matched"] == 0.5 == result.loc[0.0, "gain, a = 0.9"]


def test_prediction_is_a_rank_correlation_over_cells(cells):
    result = predicted(cells).set_index("metric")
    assert result["n_cells"].tolist() == [6, 6]
    measured, lead = [0, 0.4, 0.1, 0.3, 0, 0.35], [-0.2, 0.2, 0, 0.05, -0.15, 0.1]
    by_hand = pd.Series(measured).rank().corr(pd.Series(lead).rank())
    assert result.loc["auc", "correlation"] == pytest.approx(by_hand)
    h = pd.Series([0, 1, 0, 1, 0, 1]).rank()  # in the order of the leads above
    assert result.loc["auc", "by h"] == pytest.approx(h.corr(pd.Series(lead).rank()))
    within = [
        pd.Series(measured)[h == rank].rank().corr(pd.Series(lead)[h == rank].rank()) for rank in set(h)
    ]
    assert result.loc["auc", "within h"] == pytest.approx(np.mean(within))


@pytest.mark.parametrize("table", [winners, measured, matched_rows, predicted])
def test_a_task_of_any_name_has_its_own_rows(cells, table):
    tasks = ("harmless", "honest", "brief")
    both = table(map_intervals(pd.concat([whole_map(task) for task in tasks])))
    alone = table(cells).drop(columns="task")
    for task in tasks:
        rows = both[both["task"] == task].drop(columns="task").reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, alone, check_column_type=False)


def test_simple_rules_are_counted_beside_init_sft_once_an_a():
    rows = []
    for h in (0.0, 1.0):
        for a, longest in ((0.1, 0.3), (0.9, 0.1)):
            for method, share in (("init_sft", 0.2), ("longest", longest - h), ("likelihood", 0.2)):
                rows.append(("harmless", h, a, False, "share", method, share, 0.0, 1.0, 3))
    rows.append(("harmless", 0.0, 0.1, True, "share", "longest", 9.0, 0.0, 1.0, 3))
    names = ["task", "h", "a", "matched", "quantity", "method", "mean", "low", "high", "n_seeds"]
    table = simple_rules(pd.DataFrame(rows, columns=names)).set_index("rule")
    assert list(table.index) == ["likelihood", "longest"]  # the shortest is not in the table
    assert table.loc["longest", ["share", "init_sft"]].tolist() == pytest.approx([0.2, 0.2])
    assert table["ahead"].to_dict() == {"likelihood": 0, "longest": 1} and (table["of"] == 2).all()
