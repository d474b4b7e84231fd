"""Sentences that rest on verdicts: checked against the table, numbers looked up, nothing out of step."""

import pandas as pd
import pytest

from afd_study.errors import SpecError
from afd_study.study.chapters.sentences import behind, read_sentences, said

TEXT = """
- says: >-
    **It picks better than chance**, by {R2a harmless, h = 0: effect} of the gap
    ({R2a harmless, h = 0: interval}; {R2a harmless, h = 0: k} worlds).
  rests_on:
    R2a: {yes: {harmless: ["h = 0"]}, "above zero": {helpful: ["h = 0"]}}
"""


def table(**changes):
    rows = pd.DataFrame(
        {
            "id": ["R2a", "R2a"],
            "family": ["harmless", "helpful"],
            "setting": ["h = 0", "h = 0"],
            "effect": [0.423, 0.05],
            "low": [0.38, 0.01],
            "high": [0.46, 0.09],
            "prediction_low": [0.1, -0.2],
            "prediction_high": [0.7, 0.3],
            "n_positive": [24, 15],
            "n_worlds": [24, 24],
            "q": [0.001, 0.3],
            "primary": [True, True],
            "verdict": ["yes", "open"],
        }
    )
    return rows.assign(**changes)


def sentences(text=TEXT):
    return read_sentences(text.replace("{yes:", '{"yes":'), place="findings.yaml")


def test_numbers_are_the_tables():
    (sentence,) = said(sentences(), table(), place="findings.yaml")
    assert sentence.startswith(
        "**It picks better than chance**, by 0.42 of the gap (0.38 to 0.46; 24 of 24 worlds)."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verdict": ["negligible", "open"]}, "being yes, but the ledger has negligible and above zero"),
        ({"low": [0.38, -0.01]}, "being above zero, but the ledger has open: write it anew in findings.yaml"),
        ({"q": [0.06, 0.3]}, "whose q is 0.06: state only q <= 0.05"),
        ({"q": [float("nan"), 0.3]}, "state only q <= 0.05"),
        ({"setting": ["h = 1", "h = 0"]}, "row of the ledger"),
    ],
)
def test_a_sentence_out_of_step_stops_the_book(changes, message):
    with pytest.raises(SpecError, match=message):
        said(sentences(), table(**changes), place="findings.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0: effect}", "0: efect}", "number .* 'efect': did you mean 'effect'"),
        ("{R2a harmless, h = 0: effect}", "{R2a: effect}", "braces that name no number"),
        (
            "{R2a harmless, h = 0: effect}",
            "{R2b harmless, h = 0: effect}",
            "row of the ledger .* 'R2b, harmless",
        ),
        ("{yes:", "{yess:", "did you mean 'yes'"),
    ],
)
def test_what_a_sentence_names_has_to_exist(old, new, message):
    with pytest.raises(SpecError, match=message):
        said(sentences(TEXT.replace(old, new)), table(), place="findings.yaml")


def test_what_are_no_sentences_is_named():
    for text in ("- says: x", "says", "- [", "- says: x\n  rests_on: {}", "- rests_on: {E4: {yes: {}}}"):
        with pytest.raises(SpecError, match=r"^findings\.yaml"):
            read_sentences(text, place="findings.yaml")


def test_the_numbers_behind_each_sentence():
    rows = behind(sentences(), table())
    assert list(rows["sentence"]) == [1, 1] and list(rows["family"]) == ["harmless", "helpful"]
    assert list(rows["verdict"]) == ["yes", "open"] and rows["q"].tolist() == [0.001, 0.3]
