"""Sentences say what the numbers say: each verdict stands where its numbers do, and nowhere else."""

import json
import math

import pandas as pd
import pytest

from afd_study.align.diagnosis import NO_QUALITY, Diagnosis, as_json, measured, report, sentences
from afd_study.align.law import predict

PAIR = {
    **{"low": "a", "high": "b", "n_low": 50, "n_high": 50, "openings": 50, "common": True},
    **{"auc": 0.87, "auc_low": 0.8, "auc_high": 0.9},
    **{"auc_by_length": 0.37, "auc_by_length_low": 0.3, "auc_by_length_high": 0.4},
    **{"auc_without_length": 0.84, "auc_without_length_low": 0.8, "auc_without_length_high": 0.9},
    **{"equal_low": 0.0, "equal_high": 0.0},
}
SOURCE = {
    **{"source": "Init", "texts": 50, "prompts": 50, "words": 7.0, "characters": 40.0},
    **{"unfinished": 0.1, "cut": 0.25, "repeated": 0.0},
}
GUESSING = "they are not shown to differ"
LENGTH = "length may be all that differs"
SIGNS = "nearly every text shows where it comes from"
CASES = {
    "words and more": ({}, "something beside length differs"),
    "guessing": ({"auc": 0.53, "auc_low": 0.48}, GUESSING),
    "length alone": ({"auc_without_length": 0.53, "auc_without_length_low": 0.49}, LENGTH),
    "signs": ({"auc": 0.99, "auc_low": 0.985}, SIGNS),
    "nothing alike": (
        {"auc_without_length": math.nan, "auc_without_length_low": math.nan},
        "No two of their",
    ),
    "other prompts": ({"common": False}, "They answer different prompts"),
    "equal": ({"equal_high": 0.12}, "12% of the texts of b stand word for word in a"),
}


@pytest.mark.parametrize("title", CASES)
def test_a_sentence_stands_where_its_numbers_do_and_nowhere_else(title):
    changes, expected = CASES[title]
    assert expected in " ".join(sentences(PAIR | changes))
    if title != "words and more":
        assert expected not in " ".join(sentences(PAIR))


def test_lengths_are_told_from_the_longer_side():
    assert "words tell" in " ".join(sentences(PAIR))
    assert "87 of 100 pairs, and length alone in 63 (those of a are longer)" in " ".join(sentences(PAIR))
    turned = PAIR | {"auc_by_length": 0.7}
    assert "length alone in 70 (those of b are longer)" in " ".join(sentences(turned))
    assert "length alone tells nothing" in " ".join(sentences(PAIR | {"auc_by_length": 0.5}))


def test_a_report_has_both_tables_and_claims_no_quality():
    text = report(Diagnosis(pd.DataFrame([SOURCE]), pd.DataFrame([PAIR])))
    assert "0.87 [0.80, 0.90]" in text and "0.63 [0.60, 0.70]" in text and "25%" in text
    assert NO_QUALITY in text and "prediction" not in text
    rows = pd.DataFrame([SOURCE | {"source": "x" * 99, "cut": math.nan}])
    text = report(Diagnosis(rows, pd.DataFrame([PAIR])))
    assert "unknown" in text and "x" * 30 not in text


def test_of_sources_in_roles_the_law_says_nothing_and_why():
    rows = pd.DataFrame([SOURCE])
    assert measured(rows) == {"share_that_stops": 0.75}
    assert measured(pd.DataFrame([SOURCE | {"cut": math.nan}])) == {}
    diagnosis = Diagnosis(rows, pd.DataFrame([PAIR]), predict(measured(rows), None))
    text = report(diagnosis)
    assert "No prediction by chapter 8's law: no fitted law ships" in text
    assert "10 of the law's 11 diagnostics" in text and "  auc_init_sft: held-out AUC of Init-SFT" in text
    assert "share_that_stops:" not in text
    values = json.loads(json.dumps(as_json(diagnosis)))
    assert values["prediction"]["leads"] == {} and len(values["prediction"]["lacking"]) == 10


def test_json_has_null_for_what_is_undefined():
    undefined = {"auc_without_length": math.nan, "auc_without_length_low": math.nan}
    values = as_json(Diagnosis(pd.DataFrame([SOURCE]), pd.DataFrame([PAIR | undefined])))
    assert values["pairs"][0]["auc_without_length"] is None and values["pairs"][0]["auc"] == 0.87
    assert json.loads(json.dumps(values, allow_nan=False)) == values
