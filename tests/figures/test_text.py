import numpy as np
import pandas as pd
import pytest

from afd_study.figures import text


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(1.235, 1, "1.2"), (-0.001, 2, "0.00"), (-0.5, 1, "-0.5"), (np.nan, 2, "–"), (3, 0, "3")],
)
def test_number(value, digits, shown):
    assert text.number(value, digits) == shown


def test_shares_and_intervals():
    row = {"mean": 1.444, "low": 1.2, "high": 1.68}
    assert text.share(0.256) == "26 %" and text.share(np.nan) == "–"
    assert text.mean_interval(row) == "1.44 (95 % interval 1.20 to 1.68)"
    assert text.mean_interval(row, 1, brackets=True) == "1.4 [1.2, 1.7]"
    assert text.mean_interval(row | {"low": np.nan}) == "1.44"
    assert text.share_interval({"effect": 0.25, "low": 0.181, "high": 0.319}, "effect") == "25 % [18, 32]"
    assert text.share_interval({"effect": 0.25, "low": np.nan, "high": np.nan}, "effect") == "25 %"


def test_words():
    assert [text.pluralise(n, "seed") for n in (0, 1, 1200)] == ["0 seeds", "1 seed", "1,200 seeds"]
    assert text.pluralise(2, "policy", "policies") == "2 policies"
    assert [text.listed(list(words)) for words in ("", "a", "ab", "abc")] == [
        "none",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert text.listed(["a", "b"], last="or") == "a or b"


def contrasts(**changes):
    row = {
        "claim": "E4",
        "method": "init_sft",
        "than": "init_demo",
        "kind": "better",
        "n": 16,
        "effect": 0.2,
        "low": 0.1,
        "high": 0.3,
        "verdict": "supported",
        "interval": "t over seeds",
        "n_seeds": 3,
        "n_prompts": 144,
    }
    return pd.DataFrame([row | changes])


def test_an_ordering_is_a_sentence():
    assert text.orderings(contrasts()) == (
        "Of 1 ordering, 1 supported, 0 contradicted and 0 inconclusive; "
        "95 % intervals (t over 3 seeds, 144 prompts).\n"
        "E4, Init-SFT better than Init-Demo: supported at n = 16; "
        "the effect is 20 % [10, 30] of the gap from random pick to oracle."
    )


def test_settings_are_counted_apart():
    both = pd.concat(
        [contrasts(heterogeneity=0, verdict="contradicted"), contrasts(heterogeneity=1)], ignore_index=True
    )
    lines = text.orderings(both).split("\n")
    assert lines[0].startswith("Of 1 ordering at heterogeneity 0, 0 supported, 1 contradicted")
    assert lines[2].startswith("Of 1 ordering at heterogeneity 1, 1 supported, 0 contradicted")


def test_without_a_gap_the_sentence_says_so():
    sentence = text.orderings(contrasts(effect=np.nan, low=np.nan, high=np.nan, verdict="inconclusive"))
    assert "there is no gap" in sentence
