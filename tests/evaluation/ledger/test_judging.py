"""Verdicts over worlds: against known effects, with premises, missing worlds, q-values and sizes."""

import numpy as np
import pandas as pd
import pytest
from ledgers import GAP, PLACES, WORLDS, ledger_text

from afd_study.errors import SpecError
from afd_study.evaluation.identities import IDENTITIES, errors
from afd_study.evaluation.ledger.judging import KEY, UNTESTED, Judged, contrast_rows, judge_claims, over_sizes
from afd_study.evaluation.ledger.records import load_ledger
from afd_study.evaluation.ledger.values import ALONE, VALUE_COLUMNS, Values
from afd_study.evaluation.verdicts import NOT_APPLICABLE
from afd_study.evaluation.world_effects import effects_in_both_units


def judge(lead, *, family="harmless", setting="h = 1", spread=0.1, sizes=(2, 16), worlds=WORLDS, seed=0):
    """The judge's means in all worlds: random at 1, the oracle a gap above, Init-SFT `lead` above random.

    `lead` is a number, or a function of a world's properties and n.
    """
    rng, rows = np.random.default_rng(seed), []
    for world in worlds:
        off, place = rng.normal(0, spread), PLACES.loc[world]
        for n in sizes:
            ahead = lead(place, n) if callable(lead) else lead
            rows += [(world, "random", ALONE, n, 1.0), (world, "oracle", ALONE, n, 1.0 + GAP)]
            rows += [
                (world, "init_sft", k, n, 1.0 + ahead + off + noise)
                for k, noise in enumerate(rng.normal(0, 0.02, 4))
            ]
    table = pd.DataFrame(rows, columns=["world", "method", "replicate", "n", "value"])
    table = table.assign(family=family, seed=0, setting=setting, table="outcomes", metric="judge")
    return table[list(VALUE_COLUMNS)]


def runs(*tables, name="scorers"):
    places = dict.fromkeys(("harmless", "helpful"), PLACES)
    return {name: Judged(Values(pd.concat(tables, ignore_index=True)), places)}


def judged(tables, *claims, **changes):
    ledger = load_ledger(ledger_text(*claims, **changes))
    return judge_claims(ledger, runs(*tables), errors()).set_index(list(KEY))


@pytest.mark.parametrize(
    ("lead", "spread", "verdict"),
    [(0.5, 0.05, "yes"), (-0.5, 0.05, "reversed"), (0.0, 0.05, "negligible"), (0.1, 0.3, "open")],
)
def test_the_verdict_follows_from_effect_and_margin(lead, spread, verdict):
    """A margin of .05 of a gap of 2 points is .1 points."""
    table = judged([judge(lead, spread=spread)], families=["harmless"])
    row = table.loc["X1", "harmless", "h = 1"]
    assert row["verdict"] == verdict
    assert row["effect"] == pytest.approx(lead / GAP, abs=0.3 * spread) and row["n_worlds"] == 24
    assert row["points"] == pytest.approx(lead, abs=0.6 * spread) and row["low"] < row["effect"] < row["high"]
    assert row["n_replicates"] == 4 and row["prediction_low"] < row["low"]


def test_effects_are_those_of_the_estimator_over_worlds():
    ledger = load_ledger(ledger_text(families=["harmless"]))
    made = runs(judge(0.3))
    rows = contrast_rows(ledger, made, ledger.claims[0], "harmless", "h = 1")
    expected = effects_in_both_units(rows, smallest_gap=0.3).set_index("unit").loc["share of the gap"]
    row = judge_claims(ledger, made, errors()).iloc[0]
    for name in ("effect", "low", "high", "tau", "prediction_low"):
        assert row[name] == pytest.approx(expected[name])


def test_a_family_without_all_of_its_worlds_is_not_tested():
    table = judged([judge(0.5, worlds=range(23)), judge(0.5, family="helpful")])
    assert table.loc[("X1", "harmless", "h = 1"), "verdict"] == UNTESTED
    assert table.loc[("X1", "helpful", "h = 1"), "verdict"] == "yes"


def test_a_contrast_of_settings_waits_for_both():
    change = {"form": "between_settings", "against": "h = 0", "families": ["harmless"]}
    assert judged([judge(0.5)], **change).iloc[0]["verdict"] == UNTESTED
    row = judged([judge(0.5), judge(0.1, setting="h = 0", seed=1)], **change).iloc[0]
    assert row["verdict"] == "yes" and row["effect"] == pytest.approx(0.4 / GAP, abs=0.05)


def test_a_run_that_was_not_made_is_not_tested():
    row = judged([judge(0.5)], run="arms").iloc[0]
    assert row["verdict"] == UNTESTED and np.isnan(row["p"]) and row["n_worlds"] == 0


def test_worlds_without_room_are_counted_and_left_out():
    narrow = judge(0.2)
    few = narrow["world"].isin([0, 1]) & (narrow["method"] == "oracle")
    narrow.loc[few, "value"] = 1.2
    row = judged([narrow], families=["harmless"]).iloc[0]
    assert row["n_no_room"] == 2 and row["n_worlds"] == 22


def test_only_the_worlds_that_a_claim_names_count():
    lead = judge(lambda place, n: 0.6 if place["kinds"] == 2 else -0.6, spread=0.02)
    where = judged([lead], families=["harmless"], where={"kinds": 2}).iloc[0]
    assert where["n_worlds"] == 12 and where["effect"] == pytest.approx(0.3, abs=0.02)


def test_worlds_with_a_property_are_compared_with_those_without():
    lead = judge(lambda place, n: 0.6 if place["kinds"] == 2 else 0.2, spread=0.02)
    row = judged([lead], families=["harmless"], form="between_strata", against="kinds", margin=0.0).iloc[0]
    assert row["effect"] == pytest.approx(0.2, abs=0.02) and row["verdict"] == "yes"
    assert np.isnan(row["prediction_low"]) and row["n_worlds"] == 24


def test_families_are_compared_with_welchs_degrees_of_freedom():
    here, there = judge(0.8, spread=0.02), judge(0.2, family="helpful", spread=0.3, seed=1)
    form = {"form": "between_families", "against": "helpful", "families": ["harmless"], "margin": 0.0}
    row = judged([here, there], **form).iloc[0]
    assert row["effect"] == pytest.approx(0.3, abs=0.06) and row["verdict"] == "yes"
    assert 19 < row["df"] < 24 and row["n_worlds"] == 48


def test_a_claim_whose_premise_fails_is_not_applicable():
    premise = {"claim": "X1", "setting": "h = 1", "verdict": "yes"}
    claims = ({"families": ["harmless"]}, {"id": "X2", "premise": premise, "families": ["harmless"]})
    holds = judged([judge(0.5)], *claims).loc["X2", "harmless", "h = 1"]
    fails = judged([judge(0.0, spread=0.02)], *claims).loc["X2", "harmless", "h = 1"]
    assert holds["verdict"] == "yes" and holds["applicable"]
    assert fails["verdict"] == NOT_APPLICABLE and not fails["applicable"] and np.isnan(fails["p"])


def test_q_is_over_primary_rows_alone():
    claims = ({"families": ["harmless"]}, {"id": "X2", "primary": False, "families": ["harmless"]})
    table = judged([judge(0.5)], *claims)
    assert table.loc["X1", "q"].notna().all() and table.loc["X2", "q"].isna().all()
    assert (table.loc["X1", "q_dependent"] >= table.loc["X1", "q"]).all()


def test_identities_are_judged_by_their_error():
    claim = {"id": "I", "kind": "identity", "metric": "sft_is_forward_kl", "margin": 1e-10}
    ledger = load_ledger(ledger_text({}, claim | {"method": "", "than": "", "settings": []}))
    table = judge_claims(ledger, runs(judge(0.5)), errors()).set_index("id")
    assert table.loc["I", "verdict"] == "yes"
    wrong = judge_claims(ledger, runs(judge(0.5)), dict.fromkeys(IDENTITIES, np.nan)).set_index("id")
    assert wrong.loc["I", "verdict"] == "reversed", "NaN is no support"
    with pytest.raises(SpecError, match="identity .claim I."):
        judge_claims(ledger, runs(judge(0.5)), {})


def test_a_claim_is_drawn_over_n_and_margins():
    lead = judge(lambda place, n: 0.5 if n == 2 else -0.5)
    ledger = load_ledger(ledger_text(families=["harmless"]))
    table = over_sizes(ledger, runs(lead))
    assert set(table["n"]) == {2, 16} and set(table["margin"]) == {0.0, 0.05} and len(table) == 4
    assert table["turns"].all(), "the intervals lie on opposite sides of 0"
    steady = over_sizes(ledger, runs(judge(0.5)))
    assert not steady["turns"].any() and set(steady["verdict"]) == {"yes"}


def test_nothing_to_draw_is_an_empty_table():
    ledger = load_ledger(ledger_text(form="late_fall", than=""))
    assert list(over_sizes(ledger, runs(judge(0.5))).columns)[:3] == list(KEY)


def test_what_is_no_score_needs_no_gap():
    rows = [
        (world, name, ALONE, 0, value)
        for world in WORLDS
        for name, value in (("pi_sft", 0.8), ("pi_init", 0.5))
    ]
    table = pd.DataFrame(rows, columns=["world", "method", "replicate", "n", "value"])
    table = table.assign(family="harmless", seed=0, setting="h = 1", table="coverage", metric="coverage")
    asked = {
        "form": "difference",
        "table": "coverage",
        "metric": "coverage",
        "method": "pi_sft",
        "than": "pi_init",
    }
    row = judged([table[list(VALUE_COLUMNS)]], families=["harmless"], margin=0.0, **asked).iloc[0]
    assert row["effect"] == pytest.approx(0.3) and row["unit"] == "share" and np.isnan(row["points"])
