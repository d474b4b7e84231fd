"""A law as a record: what it predicts, where it says no prediction, and JSON."""

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import stats

from afd_study.errors import DataError
from afd_study.evaluation.when import DIAGNOSTICS, RIVALS, Law, Range, RuleInWords, best_choice, read_law

LAW = Law(
    diagnostics=("auc", "spread"),
    centre=(0.8, 0.2),
    scale=(0.1, 0.1),
    intercepts={"random": 0.1, "longest": 0.0},
    coefficients={"random": (0.2, 0.0), "longest": (0.0, -0.1)},
    penalty=0.1,
    errors={"random": 0.1, "longest": 0.2},
    ranges={"auc": Range(low=0.7, high=0.9), "spread": Range(low=0.1, high=0.3)},
    precision=((1.0, 0.0), (0.0, 1.0)),
    radius=1.2,
    slack=0.1,
    n_worlds=12,
    n_cells=36,
)


def cells(*rows):
    return pd.DataFrame(rows, columns=["auc", "spread"], index=[f"cell {i}" for i in range(len(rows))])


def test_a_prediction_by_hand():
    table = LAW.predict(cells((0.9, 0.2), (0.75, 0.3)))
    assert table["predicted_random"].tolist() == pytest.approx([0.1 + 0.2, 0.1 - 0.1])
    assert table["predicted_longest"].tolist() == pytest.approx([0.0, -0.1])
    assert table["chance_random"].tolist() == pytest.approx(stats.norm.cdf([3.0, 0.0]))
    assert table["usual_random"].tolist() == [0.1, 0.1]
    assert table["no_prediction"].tolist() == ["", ""] and table.index.tolist() == ["cell 0", "cell 1"]
    assert table["choice"].tolist() == ["init_sft", "longest"]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ((0.95, 0.2), "auc = 0.95 is outside of 0.7 to 0.9"),
        ((0.6, 0.5), "auc = 0.6 is outside of 0.7 to 0.9; spread = 0.5 is outside of 0.1 to 0.3"),
        ((np.nan, 0.2), "auc is undefined"),
        ((0.9, 0.3), "the diagnostics lie 1.4 from the centre, more than 1.2"),  # each alone is usual
    ],
)
def test_outside_there_is_no_prediction(cell, reason):
    row = LAW.predict(cells(cell, (0.8, 0.2))).iloc[0]
    assert row["no_prediction"] == reason and row["choice"] == ""
    assert row[["predicted_random", "chance_random", "predicted_longest"]].isna().all()


def test_a_tenth_of_the_range_beyond_is_inside():
    assert LAW.outside(cells((0.919, 0.2), (0.921, 0.2), (0.681, 0.2), (0.679, 0.2))).count("") == 2


def test_a_law_goes_through_json_and_predicts_the_same():
    text = LAW.model_dump_json()
    again = read_law(text)
    assert again == LAW and {"coefficients", "ranges"} <= set(json.loads(text))
    rows = cells((0.85, 0.25))
    pd.testing.assert_frame_equal(again.predict(rows), LAW.predict(rows))


@pytest.mark.parametrize(
    "change",
    [
        {"centre": (0.8,)},
        {"coefficients": {"random": (0.2,), "longest": (0.0, -0.1)}},
        {"precision": ((1.0, 0.0),)},
        {"ranges": {"auc": {"low": 0.7, "high": 0.9}}},
        {"errors": {"random": 0.1}},
        {"radius": float("nan")},
        {"colour": "red"},
    ],
)
def test_a_record_that_does_not_fit_together_is_refused(change):
    with pytest.raises(ValidationError):
        Law.model_validate(LAW.model_dump() | change)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "law.json is no law: the record: Invalid JSON"),
        ("{}", "law.json is no law: diagnostics: Field required"),
        (LAW.model_dump_json().replace('"radius":1.2', '"radius":"far"'), "radius"),
        (LAW.model_copy(update={"centre": (0.8,)}).model_dump_json(), "needs 2 of each of its numbers"),
    ],
)
def test_what_is_no_law_is_refused_with_its_place(text, words):
    with pytest.raises(DataError, match=words):
        read_law(text, place="law.json")


def test_a_missing_diagnostic_is_named():
    with pytest.raises(DataError, match="spread"):
        LAW.predict(cells((0.8, 0.2)).drop(columns="spread"))


def test_the_best_choice_is_the_rival_that_leads_most():
    leads = {"random": np.array([0.1, -0.1, -0.1, 0.0]), "longest": np.array([0.2, -0.3, 0.1, 0.0])}
    assert best_choice(leads).tolist() == ["init_sft", "longest", "random", "init_sft"]


def test_the_rule_in_words_by_hand_and_its_sentence_has_its_thresholds():
    rule = RuleInWords(learned=0.6, told_apart=0.98)
    table = pd.DataFrame(
        {"auc_init_sft_without_length": [0.59, 0.6, 0.7, 0.5], "auc_init_demo": [0.9, 0.99, 0.98, 1.0]}
    )
    assert rule.choose(table).tolist() == ["random", "init_sft", "init_demo", "random"]
    assert "0.6" in rule.words and "0.98" in rule.words
    assert {"random", "init_demo"} <= set(RIVALS) and set(table) <= set(DIAGNOSTICS)
