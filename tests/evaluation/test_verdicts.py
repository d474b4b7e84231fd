"""Verdicts by the rule of each kind of comparison."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.verdicts import (
    KINDS,
    RULES,
    VERDICTS,
    decide,
    verdict,
    verdict_table,
    with_verdicts,
)


@pytest.mark.parametrize(
    ("low", "high", "kind", "expected"),
    [
        (0.06, 0.2, "better", "supported"),
        (0.05, 0.2, "better", "inconclusive"),
        (-0.2, 0.04, "better", "contradicted"),
        (-0.04, 0.3, "not_worse", "supported"),
        (-0.06, 0.3, "not_worse", "inconclusive"),
        (-0.3, -0.06, "not_worse", "contradicted"),
        (-0.04, 0.04, "equal", "supported"),
        (0.06, 0.2, "equal", "contradicted"),
        (-0.2, -0.06, "equal", "contradicted"),
        (-0.2, 0.01, "equal", "inconclusive"),
        (np.nan, np.nan, "better", "inconclusive"),
    ],
)
def test_the_rule(low, high, kind, expected):
    assert verdict(low=low, high=high, kind=kind, margin=0.05) == expected


def test_an_unknown_kind_is_refused():
    with pytest.raises(SpecError, match="did you mean 'better'"):
        verdict(low=0, high=1, kind="bettr", margin=0.05)


# five verdicts by one table

DF, MARGIN = 20, 0.05
T95, T90 = stats.t.ppf(0.975, DF), stats.t.ppf(0.95, DF)


def from_interval(low, high, t=T95):
    """Return effect and error whose interval, of 95 % (or of 90 % by T90), is this one."""
    return (low + high) / 2, (high - low) / 2 / t


def outcome(low, high, kind, margin=MARGIN, t=T95):
    verdicts, _ = decide(*from_interval(low, high, t), DF, kind=kind, margin=margin)
    return str(verdicts)


@pytest.mark.parametrize(
    ("low", "high", "kind", "expected"),
    [
        (0.051, 0.2, "better", "yes"),
        (0.049, 0.2, "better", "open"),
        (-0.2, 0.049, "better", "open"),  # no more than the margin is no reversal
        (-0.2, -0.049, "better", "open"),
        (-0.2, -0.051, "better", "reversed"),
        (-0.049, 0.3, "not_worse", "yes"),
        (-0.051, 0.3, "not_worse", "open"),
        (-0.3, -0.051, "not_worse", "reversed"),
        (-0.3, -0.049, "not_worse", "open"),
        (-0.04, 0.04, "not_worse", "yes"),  # and not negligible
        (-0.04, 0.04, "equal", "yes"),
        (0.051, 0.2, "equal", "reversed"),
        (-0.2, -0.051, "equal", "reversed"),
        (-0.2, 0.01, "equal", "open"),
    ],
)
def test_a_95_percent_interval_gets_its_verdict(low, high, kind, expected):
    assert outcome(low, high, kind) == expected


@pytest.mark.parametrize(
    ("low", "high", "kind", "expected"),
    [
        (-0.049, 0.049, "better", "negligible"),
        (-0.049, 0.051, "better", "open"),
        (-0.051, 0.049, "better", "open"),
        (-0.049, 0.049, "equal", "yes"),
        (-0.049, 0.051, "equal", "open"),
    ],
)
def test_equivalence_is_judged_by_the_90_percent_interval(low, high, kind, expected):
    assert outcome(low, high, kind, t=T90) == expected


def test_without_a_margin_nothing_is_negligible():
    assert outcome(-1e-9, 1e-9, "better", margin=0.0) == "open"
    assert outcome(0.001, 0.2, "better", margin=0.0) == "yes"
    assert outcome(-0.2, -0.001, "better", margin=0.0) == "reversed"


def test_the_table_in_words_has_every_rule():
    table = verdict_table()
    assert table[["kind", "verdict"]].drop_duplicates().shape[0] == 9 and set(table["verdict"]) == set(
        VERDICTS
    )
    assert (
        table["where"][0] == "95% interval above the margin"
        and table["null hypothesis"][0] == "effect <= margin"
    )
    assert "90% interval inside" in table["where"][2]
    assert (table["verdict"] == "negligible").sum() == 1 and table["kind"][2] == "better"


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_rules_of_a_kind_hold_at_once(kind):
    effects, errors = np.meshgrid(np.linspace(-0.3, 0.3, 121), [0, 0.001, 0.01, 0.02, 0.03, 0.1])
    verdicts, p = decide(effects, errors, DF, kind=kind, margin=MARGIN)
    low, high = effects - T95 * errors, effects + T95 * errors
    inner = np.maximum(abs(effects - T90 * errors), abs(effects + T90 * errors))
    at = {"better": (low > MARGIN, high < -MARGIN), "not_worse": (low > -MARGIN, high < -MARGIN)}
    inside = inner < MARGIN
    yes, reverse = at.get(kind, (inside, (low > MARGIN) | (high < -MARGIN)))
    negligible = inside if kind == "better" else np.zeros_like(inside)
    assert (yes.astype(int) + reverse + negligible).max() == 1
    np.testing.assert_array_equal(verdicts == "yes", yes)
    np.testing.assert_array_equal(verdicts == "reversed", reverse)
    np.testing.assert_array_equal(verdicts == "negligible", negligible)
    np.testing.assert_array_equal(p < 0.05, verdicts != "open")


def test_p_is_that_of_the_verdicts_own_null():
    distance, error = 0.1, 0.04
    p = {}
    for effect, kind in product((MARGIN + distance, -MARGIN - distance, 0.0), ("better", "not_worse")):
        p[effect, kind] = float(decide(effect, error, DF, kind=kind, margin=MARGIN)[1])
    one_sided = stats.t.sf(distance / error, DF)
    assert p[MARGIN + distance, "better"] == pytest.approx(2 * one_sided)  # effect <= margin, two sides
    assert p[-MARGIN - distance, "better"] == pytest.approx(2 * one_sided)  # effect >= -margin
    assert p[MARGIN + distance, "not_worse"] == pytest.approx(2 * stats.t.sf((distance + 0.1) / error, DF))
    assert p[0.0, "better"] == 1  # an open row has its claim's
    close = decide(0.01, 0.01, DF, kind="better", margin=MARGIN)
    assert close[0] == "negligible" and float(close[1]) == pytest.approx(stats.t.sf(0.04 / 0.01, DF))


def test_at_the_margin_a_false_yes_is_as_rare_as_its_level():
    rng = np.random.default_rng(0)
    means = MARGIN + 0.1 * rng.standard_normal((4000, 21))
    error = means.std(axis=1, ddof=1) / np.sqrt(21)
    verdicts, _ = decide(means.mean(axis=1), error, DF, kind="better", margin=MARGIN)
    assert (verdicts == "yes").mean() == pytest.approx(0.025, abs=3 * np.sqrt(0.025 / 4000))


def test_what_has_no_error_or_spread():
    verdicts, p = decide(
        [0.1, 0.05, 0.1, 0.1], [0, 0, np.nan, 1], [20, 20, 20, np.nan], kind="better", margin=0.05
    )
    assert verdicts.tolist() == ["yes", "open", "open", "open"]
    assert p[:2].tolist() == [0, 1] and np.isnan(p[2:]).all()


def test_rows_get_their_verdicts_and_premises_count():
    rows = pd.DataFrame(
        {
            "kind": ["better", "equal", "better", "not_worse"],
            "margin": [0.05, 0.05, 0.0, 0.05],
            "effect": [0.2, 0.0, 0.2, 0.0],
            "error": [0.01] * 4,
            "df": [20.0] * 4,
            "applicable": [True, True, False, True],
        },
        index=[5, 3, 9, 1],
    )
    table = with_verdicts(rows)
    assert table["verdict"].tolist() == ["yes", "yes", "not applicable", "yes"]
    assert np.isnan(table["p"].iloc[2]) and table["p"].notna().sum() == 3
    assert with_verdicts(rows.drop(columns="applicable"))["verdict"].tolist() == ["yes"] * 4
    with pytest.raises(DataError, match="error"):
        with_verdicts(rows.drop(columns="error"))


def test_unknown_kinds_and_margins_below_nothing_are_refused():
    with pytest.raises(SpecError, match="did you mean 'not_worse'"):
        decide(0, 1, 5, kind="not worse", margin=0.05)
    with pytest.raises(SpecError, match="margin must be at least 0"):
        decide(0, 1, 5, kind="better", margin=-0.05)
    assert {rule.kind for rule in RULES} == set(KINDS)
