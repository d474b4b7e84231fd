"""How effects are formed in worlds: replicate by replicate, against numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.ledger.contrasts import FORMS, distance_to_one_turn, gap, rows_of
from afd_study.evaluation.ledger.records import Claim
from afd_study.evaluation.ledger.values import ALONE, VALUE_COLUMNS, Values, minus, replicates

FIELDS = {"id": "X", "sentence": "", "source": "", "kind": "better", "margin": 0.0}


def frame(*rows):
    """Return table `values`; a row is world, setting, table, metric, method, replicate, n and value."""
    full = [("harmless", world, 0, *rest) for world, *rest in rows]
    return pd.DataFrame(full, columns=list(VALUE_COLUMNS))


def judged(method, n, *by_world, setting="h = 1"):
    """The judge's means of a method: for each world a number, or one for each replicate."""
    return [
        (world, setting, "outcomes", "judge", method, replicate, n, value)
        for world, values in enumerate(by_world)
        for replicate, value in (enumerate(values) if isinstance(values, tuple) else [(ALONE, values)])
    ]


def effects(form, rows, n=16, **fields):
    claim = Claim(**FIELDS | fields)
    return FORMS[form].make(Values(frame(*rows)), claim, "harmless", "h = 1", n)


def test_two_reward_models_are_compared_replicate_by_replicate():
    rows = judged("init_sft", 16, (1.0, 2.0), (3.0, 5.0)) + judged("init_demo", 16, (0.5, 0.5), (1.0, 4.0))
    lead = effects("share", rows, method="init_sft", than="init_demo")
    np.testing.assert_array_equal(lead.to_numpy(), [[0.5, 1.5], [2.0, 1.0]])


def test_a_rule_without_training_is_the_same_beside_each_replicate():
    rows = judged("init_sft", 16, (1.0, 2.0), (3.0, 5.0)) + judged("random", 16, 1.0, 2.0)
    lead = effects("share", rows, method="init_sft", than="random")
    np.testing.assert_array_equal(lead.to_numpy(), [[0.0, 1.0], [1.0, 3.0]])
    back = effects("share", rows, method="random", than="init_sft")
    np.testing.assert_array_equal(back.to_numpy(), -lead.to_numpy())


def test_replicates_that_only_one_side_has_do_not_count():
    rows = judged("init_sft", 16, (1.0, 2.0, 9.0)) + judged("init_demo", 16, (0.0, 0.0))
    assert effects("share", rows, method="init_sft", than="init_demo").shape == (1, 2)


def test_a_world_with_one_side_of_a_contrast_is_refused():
    rows = judged("init_sft", 16, (1.0,), (2.0,)) + judged("random", 16, 1.0)
    with pytest.raises(DataError, match="world 1, seed 0 has one side"):
        effects("share", rows, method="init_sft", than="random")


def test_a_policys_own_score_stands_at_every_n():
    rows = judged("init_sft", 16, (1.0,)) + judged("demonstrations", 1, 0.25)
    assert effects("share", rows, method="init_sft", than="demonstrations").iloc[0, 0] == 0.75


def test_late_fall_and_that_of_a_rival():
    rows = [row for n, v in ((8, 2.0), (50, 1.5)) for row in judged("init_sft", n, (v,))]
    rows += [row for n, v in ((8, 2.0), (50, 1.8)) for row in judged("closed_form", n, v)]
    assert effects("late_fall", rows, method="init_sft").iloc[0, 0] == pytest.approx(0.5)
    both = effects("late_fall", rows, method="init_sft", than="closed_form")
    assert both.iloc[0, 0] == pytest.approx(0.5 - 0.2)


def test_fall_from_the_own_peak():
    sizes = (1, 2, 4, 8, 16, 32, 50)
    curves = {"sft_demo": (0, 1, 2, 3, 2, 1, 1), "init_sft": (0, 1, 2, 3, 4, 5, 5)}
    rows = [
        row for name, curve in curves.items() for n, v in zip(sizes, curve, strict=True)
        for row in judged(name, n, (float(v),))
    ]  # fmt: skip
    assert effects("fall_from_peak", rows, method="sft_demo", than="init_sft").iloc[0, 0] == 2.0
    assert effects("single_extremum", rows, method="sft_demo").iloc[0, 0] == 0.0


@pytest.mark.parametrize(
    ("curve", "distance"),
    [
        ((0, 1, 2, 3), 0.0),
        ((3, 1, 2, 4), 0.0),  # one dip
        ((0, 2, 1), 0.0),  # one peak
        ((0, 2, 1, 3), 0.5),  # a peak and a dip: half of the fall from 2 to 1 is ironed out
        ((0, 2, 0, 2, 0), 1.0),
        ((1,), 0.0),
    ],
)
def test_distance_to_a_curve_with_one_turn(curve, distance):
    values = np.array(curve, dtype=float)
    assert distance_to_one_turn(values) == pytest.approx(distance)
    assert distance_to_one_turn(-values) == pytest.approx(distance)


def test_no_sequence_with_one_turn_is_nearer():
    """Against all sequences with one turn on a grid: none comes nearer than the distance says."""
    rng = np.random.default_rng(3)
    grid = np.linspace(-1.5, 1.5, 7)
    for _ in range(5):
        values = rng.choice(grid, 4)
        every = np.stack(np.meshgrid(*[grid] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
        signs = np.sign(np.diff(every, axis=1))
        turns = [np.count_nonzero(np.diff(row[row != 0])) for row in signs]
        nearest = np.abs(every - values).max(axis=1)[np.array(turns) <= 1].min()
        assert distance_to_one_turn(values) <= nearest + 1e-12
        assert nearest <= distance_to_one_turn(values) + 0.5  # the grid's step


def test_leads_in_two_settings_are_paired_within_a_world():
    rows = judged("init_demo", 16, (3.0,)) + judged("random", 16, 1.0)
    rows += judged("init_demo", 16, (2.5,), setting="h = 0") + judged("random", 16, 1.0, setting="h = 0")
    made = effects("between_settings", rows, method="init_demo", than="random", against="h = 0")
    assert made.iloc[0, 0] == pytest.approx(0.5)


def test_what_can_be_measured_predicts_the_lead_within_a_world():
    rows = []
    for place, h in enumerate(("h = 0", "h = 0.8", "h = 1")):
        rows += judged("init_sft", 16, (1.0,), setting=h) + judged("init_demo", 16, (1.0 - place,), setting=h)
        for method, auc in (("init_sft", 0.7), ("init_demo", 0.8 + 0.1 * place)):
            rows.append((0, h, "separability", "auc", method, 0, 0, auc))
    made = effects("predicts", rows, method="init_sft", than="init_demo", table="separability", metric="auc")
    assert made.iloc[0, 0] == pytest.approx(1.0)


def test_rows_hold_family_strata_and_gap():
    rows = judged("init_sft", 16, (1.0, 2.0), (3.0, 5.0)) + judged("random", 16, 0.5, 0.5)
    values = Values(frame(*rows, *judged("oracle", 16, 2.5, 4.5)))
    made = FORMS["share"].make(
        values, Claim(**FIELDS, method="init_sft", than="random"), "harmless", "h = 1", 16
    )
    strata = pd.DataFrame({"kinds": [1, 2]}, index=pd.Index([0, 1], name="world"))
    table = rows_of(made, gap(values, "harmless", "h = 1", 16), "harmless", strata)
    assert list(table.sort_values(["world", "replicate"])["effect"]) == [0.5, 1.5, 2.5, 4.5]
    assert set(table["world"]) == {"harmless 0", "harmless 1"}
    assert dict(zip(table["world"], table["gap"], strict=True)) == {"harmless 0": 2.0, "harmless 1": 4.0}
    assert dict(zip(table["world"], table["kinds"], strict=True)) == {"harmless 0": 1, "harmless 1": 2}


def test_missing_and_repeated_values_are_named():
    rows = judged("random", 16, 1.0)
    with pytest.raises(DataError, match="method 'init_sft' at n = 16"):
        effects("share", rows, method="init_sft", than="random")
    with pytest.raises(DataError, match="repeats"):
        Values(frame(*rows, *rows))
    with pytest.raises(SpecError, match="setting .no values were computed for it. 'h = 0'"):
        Values(frame(*rows)).at("harmless", "h = 0", "judge", "random", 16)


def test_half_of_the_replicates_keeps_what_has_none():
    table = frame(*judged("init_sft", 16, (1.0, 2.0, 3.0, 4.0)), *judged("random", 16, 0.0))
    half = replicates(table, [2, 3])
    assert sorted(half["value"]) == [0.0, 3.0, 4.0]
    assert minus(
        *(Values(half).at("harmless", "h = 1", "judge", m, 16) for m in ("init_sft", "random"))
    ).shape == (1, 2)
