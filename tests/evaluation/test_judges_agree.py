"""Two judges of one contrast: what they agree on is settled, all else is open, and no row disappears."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.evaluation.judges_agree import agreeing_share, judged_contrasts
from afd_study.evaluation.pair_agreement import ABSENT, HIGHER, LOWER, OPEN

PROMPTS = [f"p{i}" for i in range(40)]
GROUPS = {prompt: f"g{i // 2}" for i, prompt in enumerate(PROMPTS)}
SPREAD = {"first": 2.0, "second": 0.1}


def outcomes(effects, n=16):
    """A table of outcomes: effects[judge][method] is a method's mean above `base`; prompts differ by .1."""
    rows, apart = [], np.where(np.arange(len(PROMPTS)) // 2 % 2, 0.05, -0.05)
    for judge, of_methods in effects.items():
        for method, effect in {**of_methods, "base": 0.0, "source": -1.0}.items():
            for size in (1,) if method == "source" else (1, n):
                values = effect * (size > 1 or method == "source") + apart * (method != "base")
                ids = {"method": method, "n": size, "judge": judge, "prompt_id": PROMPTS}
                rows.append(pd.DataFrame({"task": "t", "seed": 0, **ids, "value": values}))
    return pd.concat(rows, ignore_index=True)


def contrasts_of(table, pairs, n=16):
    how = {"groups": GROUPS, "spread": SPREAD, "generator": np.random.default_rng(0), "resamples": 300}
    return judged_contrasts(table, pairs, n=n, **how)


EFFECTS = {
    "first": {"both": 1.0, "torn": 1.0, "unsure": 0.5, "neither": 0.001, "worse": -1.0},
    "second": {"both": 0.2, "torn": -1.0, "unsure": -0.001, "neither": 0.001, "worse": -0.3},
}
PAIRS = [(name, "base") for name in EFFECTS["first"]] + [("both", "source"), ("both", "lacking")]


@pytest.fixture(scope="module")
def table():
    return contrasts_of(outcomes(EFFECTS), PAIRS)


def test_what_both_judges_say_is_settled_and_all_else_is_open(table):
    assert len(table) == 2 * len(PAIRS) and set(table["n"]) == {16}
    verdicts = table.drop_duplicates(["method", "less_method"]).set_index(["method", "less_method"])[
        "verdict"
    ]
    expected = [HIGHER, OPEN, OPEN, OPEN, LOWER, HIGHER, ABSENT]
    assert verdicts.loc[PAIRS].tolist() == expected
    torn = table[table["method"] == "torn"].set_index("judge")["side"]
    assert torn["first"] == HIGHER and torn["second"] == LOWER
    unsure = table[table["method"] == "unsure"].set_index("judge")["side"]
    assert unsure["first"] == HIGHER and unsure["second"] == OPEN


def test_effects_are_differences_at_n_in_the_judges_points(table):
    own = table[(table["method"] == "both") & (table["less_method"] == "base")].set_index("judge")
    assert abs(own.loc["first", "value"] - 1.0) < 0.05 and abs(own.loc["second", "value"] - 0.2) < 0.05
    assert (own["low"] < own["value"]).all() and (own["value"] < own["high"]).all()
    assert own["spread"].to_dict() == SPREAD
    assert set(own["n_prompts"]) == {40} and set(own["n_groups"]) == {20}
    source = table[(table["less_method"] == "source") & (table["judge"] == "first")].iloc[0]
    assert abs(source["value"] - 2.0) < 0.1, "a source has its mean draw, whatever n is"


def test_a_contrast_that_cannot_be_formed_keeps_its_rows_and_counts_for_nothing(table):
    lacking = table[table["less_method"] == "lacking"]
    assert len(lacking) == 2 and lacking[["value", "low", "high"]].isna().all(axis=None)
    share = agreeing_share(table).iloc[0]
    assert share["n_contrasts"] == 6 and share["n_settled"] == 3 and share["settled"] == 0.5
    assert share["n_same_sign"] == 4 and share["same_sign"] == 4 / 6, "all but torn and unsure"


def test_without_any_contrast_the_share_is_none_and_says_so():
    share = agreeing_share(contrasts_of(outcomes(EFFECTS), [("both", "lacking")])).iloc[0]
    assert share["n_contrasts"] == 0 and np.isnan(share["settled"])


def test_an_effect_of_nothing_has_no_sign():
    same = outcomes({"first": {}, "second": {}})
    copied = pd.concat([same, same[same["method"] == "base"].assign(method="copy")])
    table = contrasts_of(copied, [("copy", "base")])
    assert set(table["verdict"]) == {OPEN} and agreeing_share(table)["n_same_sign"].iloc[0] == 0


def test_one_prompt_or_none_is_no_comparison():
    whole = outcomes(EFFECTS)
    alone = whole[whole["prompt_id"].isin(PROMPTS[:2])]  # of one opening
    with pytest.raises(DataError, match="more than one opening"):
        contrasts_of(alone, [("both", "base")])
    apart = whole[(whole["method"] != "source") | (whole["prompt_id"] == "p0")]
    apart = apart[(apart["method"] == "source") | (apart["prompt_id"] != "p0")]
    with pytest.raises(DataError, match="no prompt has both both and source"):
        contrasts_of(apart, [("both", "source")])
