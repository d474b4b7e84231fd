"""What a better score costs in nats: by enumeration where a pool is small, and against the exact law."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.evaluation import score_vs_kl
from afd_study.evaluation.pools import SCORE_COLUMNS

IDS = {"task": "harmless", "seed": 0, "judge": "judge"}


def scores(rng, prompts=2, draws=16, **scorers):
    """A pool of pi_SFT: the judge's scores and each scorer's, by a function of the judge's."""
    rows = []
    for prompt in range(prompts):
        judge = rng.normal(size=draws)
        columns = {"judge": judge} | {name: make(judge) for name, make in scorers.items()}
        rows += [
            (f"p{prompt}", "pi_sft", draw, name, values[draw])
            for name, values in columns.items()
            for draw in range(draws)
        ]
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def test_best_of_n_has_its_curve_s_values_and_its_pool_s_kl():
    table = scores(np.random.default_rng(0), init_sft=lambda judge: -judge)
    result = score_vs_kl.best_of_n_path(table, scorer="init_sft", n=[1, 4], **IDS).set_index(
        ["prompt_id", "at"]
    )
    pool = table[(table["prompt_id"] == "p0") & (table["scorer"] == "judge")]["reward"]
    assert result.loc[("p0", 1), "judge"] == pytest.approx(pool.mean())
    assert result.loc[("p0", 1), "kl"] == pytest.approx(0, abs=1e-12)
    assert result.loc[("p0", 4), "judge"] == pytest.approx(-result.loc[("p0", 4), "proxy"])
    ranks = np.arange(17) / 16  # no two draws score alike: rank i wins with (i^n - (i - 1)^n) / N^n
    wins = np.diff(ranks**4)
    assert result.loc[("p0", 4), "kl"] == pytest.approx((wins * np.log(wins * 16)).sum())
    assert result.loc[("p0", 4), "kl"] < np.log(4) - 3 / 4


def test_a_pool_too_small_for_its_kl_is_refused():
    table = scores(np.random.default_rng(0), init_sft=lambda judge: judge)
    with pytest.raises(DataError, match="best of 8 needs 32 draws.*has 16"):
        score_vs_kl.best_of_n_path(table, scorer="init_sft", n=[2, 8], **IDS)
    with pytest.raises(SpecError, match="did you mean 'init_sft'"):
        score_vs_kl.best_of_n_path(table, scorer="init_sfd", n=[2], **IDS)


def test_the_extrapolated_law_by_its_weights():
    table = scores(
        np.random.default_rng(1), prompts=1, draws=5, closed_form=lambda judge: judge + 40, init_sft=np.abs
    )
    result = score_vs_kl.sequence_extrapolation(table, proxy="init_sft", strengths=[1.0, 2.0, 3.0], **IDS)
    judge = table[table["scorer"] == "judge"]["reward"].to_numpy()
    for row, strength in zip(result.itertuples(), (1.0, 2.0, 3.0), strict=True):
        weights = np.exp((strength - 1) * judge)
        weights /= weights.sum()
        assert row.judge == pytest.approx(weights @ judge)
        assert row.proxy == pytest.approx(weights @ np.abs(judge))
        assert row.kl == pytest.approx((weights * np.log(weights * 5)).sum(), abs=1e-12)
        assert row.ess == pytest.approx(1 / (5 * (weights**2).sum()))
    assert result["ess"].iloc[0] == pytest.approx(1) and result["kl"].is_monotonic_increasing


def test_weights_find_the_exact_law_in_a_large_pool():
    """Two answers with known laws: the pool stands for pi_SFT, and its weights for the tilted law."""
    sft, init, worth = np.array([0.3, 0.7]), np.array([0.6, 0.4]), np.array([1.0, 3.0])
    exact = sft**2 / init / (sft**2 / init).sum()
    texts = np.repeat([0, 1], [3000, 7000])
    columns = {"judge": worth[texts], "closed_form": np.log(sft / init)[texts], "init_sft": worth[texts]}
    frames = [
        pd.DataFrame(
            {"prompt_id": "a", "source": "pi_sft", "draw": range(10000), "scorer": name, "reward": values}
        )
        for name, values in columns.items()
    ]
    result = score_vs_kl.sequence_extrapolation(
        pd.concat(frames), proxy="init_sft", strengths=[2.0], **IDS
    ).iloc[0]
    assert result["judge"] == pytest.approx(exact @ worth)
    assert result["kl"] == pytest.approx((exact * np.log(exact / sft)).sum())


def test_ways_are_compared_where_they_have_been():
    curve = pd.DataFrame({"kl": [2.0, 0.0, 1.0], "judge": [3.0, 1.0, 2.5]})
    assert score_vs_kl.at_equal_kl(curve, 0.5) == pytest.approx(1.75)
    assert score_vs_kl.at_equal_kl(curve, 2.0) == 3.0
    assert np.isnan(score_vs_kl.at_equal_kl(curve, 2.1)) and np.isnan(
        score_vs_kl.at_equal_kl(curve.iloc[:0], 0.5)
    )
    with pytest.raises(DataError):
        score_vs_kl.at_equal_kl(curve.drop(columns="kl"), 0.5)


def test_the_optimum_of_dpo_is_reached_by_weighting_the_demonstrators_exactly():
    """Every response once for each unit of its demonstrated mass: weights give the optimum's mean."""
    demo, init, value = np.array([0.5, 0.25, 0.25]), np.array([0.2, 0.2, 0.6]), np.array([1.0, 3.0, -2.0])
    draws = np.repeat([0, 1, 2], [2, 1, 1])
    table = pd.DataFrame(
        {
            "prompt_id": "p",
            "source": "demonstrations",
            "logprob_demo": np.log(demo)[draws],
            "logprob": np.log(init)[draws],
            "value": value[draws],
        }
    )
    mixed = pd.concat([table, table.assign(source="pi_init", value=99.0)])  # samples of pi_init do not count
    result = score_vs_kl.dpo_optimum(mixed, task="harmless", seed=0, strengths=[1.0, 0.5, 0.1])
    scores = result[result["metric"] == "judge"].set_index("policy")["value"]
    for strength in (1.0, 0.5, 0.1):
        law = demo ** (1 / strength) * init ** (1 - 1 / strength)
        assert scores[f"dpo_optimum_strength_{strength:g}"] == pytest.approx(law @ value / law.sum())
    share = result[result["metric"] == "ess"].set_index("policy")["value"]
    assert (
        share["dpo_optimum_strength_1"] == pytest.approx(1)
        and (share.drop("dpo_optimum_strength_1") < 1).all()
    )
