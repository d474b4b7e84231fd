"""Probes find what was planted in a reward, and nothing where nothing was."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from afd_study.errors import DataError, SpecError
from afd_study.evaluation import probes
from afd_study.evaluation.text_features import SURFACE

NAMED = {"task": "harmless", "seed": 3}
ROW = list(probes.ROW)


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    rows = [(f"p{i:02d}", "pi_sft", j) for i in range(30) for j in range(24)]
    result = pd.DataFrame(rows, columns=ROW)
    shift = rng.normal(size=30).repeat(24)  # prompts differ: only what varies within them may count
    result["length"] = rng.normal(size=len(result)) + shift
    return result.assign(style=rng.integers(0, 2, len(result)).astype(float))


def scored(features, **rewards):
    frames = [
        features[ROW].assign(scorer=name, reward=np.asarray(reward, float))
        for name, reward in rewards.items()
    ]
    return pd.concat(frames, ignore_index=True)


def test_text_features_are_length_and_either_openers_or_the_surface():
    texts = pd.DataFrame(
        {"prompt_id": ["p", "p"], "source": "pi_sft", "draw": [0, 1], "text": ["Well, a b!", "a b"]}
    )
    result = probes.text_features(texts, style=("Well,",))
    assert result["length"].tolist() == pytest.approx(np.log([4, 3]).tolist())
    assert result["style"].tolist() == [1, 0]
    assert set(probes.text_features(texts)) == {*ROW, "length", *SURFACE}


def test_regression_finds_planted_prices_in_units_of_spread_within_prompts(features):
    prompt_level = features["prompt_id"].str[1:].astype(float) * 7  # says nothing within a prompt
    reward = 2 * features["length"] - features["style"] + prompt_level
    result = probes.reward_regression(scored(features, r=reward), features, **NAMED).set_index("feature")[
        "value"
    ]
    within = features.groupby("prompt_id")[["length", "style"]].transform(lambda x: x - x.mean()).std(ddof=0)
    spread = (reward - reward.groupby(features["prompt_id"]).transform("mean")).std(ddof=0)
    assert result["length"] == pytest.approx(2 * within["length"] / spread)
    assert result["style"] == pytest.approx(-within["style"] / spread)
    assert result["R2"] == pytest.approx(1)


def test_a_feature_that_does_not_vary_is_undefined_and_a_constant_scorer_has_no_rows(features):
    table = scored(features, r=features["length"], ties=0.0 * features["length"])
    result = probes.reward_regression(table, features.assign(flat=1.0), **NAMED)
    assert set(result["method"]) == {"r"}
    values = result.set_index("feature")["value"]
    assert np.isnan(values["flat"]) and values["length"] == pytest.approx(1)


def test_residuals_have_nothing_of_length_within_prompts_and_keep_the_rest(features):
    rng = np.random.default_rng(1)
    quality = rng.normal(size=len(features))
    reward = quality + features["length"] + 0.3 * features["length"] ** 2
    rest = probes.residualised(scored(features, r=reward), features, on=("length",), suffix="_x")
    assert set(rest["scorer"]) == {"r_x"} and len(rest) == len(features)
    both = rest.merge(features, on=ROW)
    centred = both.groupby("prompt_id")[["reward", "length"]].transform(lambda x: x - x.mean())
    assert abs(np.corrcoef(centred["reward"], centred["length"])[0, 1]) < 1e-9
    assert np.corrcoef(both["reward"], quality)[0, 1] > 0.9


def test_rank_correlation_survives_what_is_not_length_and_vanishes_where_it_was(features):
    rng = np.random.default_rng(2)
    judge = rng.normal(size=len(features)) + 2 * features["length"]
    table = scored(features, judge=judge, only_length=features["length"], same=judge)
    plain = probes.rank_correlations_given(table, features, **NAMED).groupby("method")["value"].mean()
    partial = probes.rank_correlations_given(table, features, given=["length"], **NAMED).groupby("method")[
        "value"
    ]
    assert plain["only_length"] > 0.7 and plain["same"] == pytest.approx(1)
    assert (
        partial.mean()["same"] == pytest.approx(1) and partial.apply(lambda x: x.isna().all())["only_length"]
    )


def test_without_anything_taken_out_it_is_spearmans(features):
    rng = np.random.default_rng(3)
    table = scored(features, judge=rng.integers(0, 4, len(features)), r=rng.normal(size=len(features)))
    result = probes.rank_correlations_given(table, features, **NAMED).set_index("prompt_id")["value"]
    wide = table.pivot(index=["prompt_id", "draw"], columns="scorer", values="reward")
    by_hand = [stats.spearmanr(part["judge"], part["r"]).statistic for _, part in wide.groupby("prompt_id")]
    assert result.tolist() == pytest.approx(by_hand)


def two_sources(features, scores_of):
    other = features.assign(source="demonstrations", length=features["length"] + 2.0)
    both = pd.concat([features, other], ignore_index=True)
    return both, both[ROW].assign(scorer="r", reward=scores_of(both))


def auc_within(table, both):
    result = probes.conditional_auc(
        table,
        both,
        scorer="r",
        positive="demonstrations",
        negative="pi_sft",
        generator=np.random.default_rng(0),
        resamples=20,
    )
    return result.set_index("within")["auc"]


def test_a_discriminator_of_length_alone_knows_little_at_equal_length(features):
    both, table = two_sources(features, lambda t: t["length"])
    result = auc_within(table, both)
    assert result["none"] > 0.8 and abs(result["length"] - 0.5) < 0.15
    both, table = two_sources(features, lambda t: (t["source"] == "demonstrations").astype(float))
    assert auc_within(table, both).eq(1).all()  # and one that knows the source knows it at any length


def test_calibration_finds_slope_bias_and_ranking(features):
    truth = features[ROW].assign(log_ratio=np.random.default_rng(4).normal(size=len(features)))
    table = scored(features, r=0.5 * truth["log_ratio"] + 3)
    result = probes.calibration(table, truth, scorer="r", **NAMED).set_index("metric")["value"]
    assert result["slope"] == pytest.approx(2) and result["intercept"] == pytest.approx(-6)
    assert result["bias"] == pytest.approx((3 - 0.5 * truth["log_ratio"]).mean())
    assert result["rank_correlation"] == pytest.approx(1)
    curve = probes.calibration_curve(table, truth, scorer="r", bins=6)
    assert curve["n"].tolist() == [120] * 6 and curve["log_ratio"].is_monotonic_increasing
    assert curve["log_ratio"].to_numpy() == pytest.approx(2 * curve["logit"].to_numpy() - 6)


def test_the_order_of_rows_does_not_matter(features):
    table = scored(features, r=features["length"] ** 3, judge=features["length"] + features["style"])
    mixed, moved = (frame.sample(frac=1, random_state=1) for frame in (table, features))
    for probe in (probes.reward_regression, probes.rank_correlations_given):
        first, second = probe(table, features, **NAMED), probe(mixed, moved, **NAMED)
        keys = [name for name in first if name != "value"]
        both = first.merge(second, on=keys)
        assert len(both) == len(first)
        np.testing.assert_allclose(both["value_x"], both["value_y"], atol=1e-9)


def test_what_is_unknown_or_missing_is_named(features):
    table = scored(features, r=features["length"])
    with pytest.raises(SpecError, match="'lenght': did you mean 'length'"):
        probes.residualised(table, features, on=("lenght",), suffix="_x")
    with pytest.raises(SpecError, match="unknown source 'pi_sfd'"):
        probes.reward_regression(table, features, source="pi_sfd", **NAMED)
    with pytest.raises(SpecError, match="unknown scorer"):
        probes.rank_correlations_given(table, features, against="judge", **NAMED)
    with pytest.raises(DataError, match="lack finite features"):
        probes.reward_regression(table, features.head(30), **NAMED)
    with pytest.raises(DataError, match="must be finite"):
        probes.reward_regression(table.assign(reward=np.inf), features, **NAMED)
    with pytest.raises(DataError, match="have no true log ratio"):
        truth = features[ROW].head(9).assign(log_ratio=0.0)
        probes.calibration(table, truth, scorer="r", **NAMED)
