"""Pessimistic selection from a pool: its ends are Best-of-n and a plain draw, and beta has a unit."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.best_of_n import best_of_n_curve
from afd_study.evaluation.pessimism import pessimism_curve
from afd_study.records import TABLES

NAMES = {"task": "harmless", "seed": 3, "judge": "judge"}


def table(judge, **rewards):
    """Scores of prompts (rows) and draws (columns), whose rows come in no order."""
    frames = [
        pd.DataFrame(
            [
                (f"p{p}", "pi_sft", d, name, float(value))
                for p, row in enumerate(values)
                for d, value in enumerate(row)
            ],
            columns=TABLES["scores"].columns,
        )
        for name, values in {"judge": judge, **rewards}.items()
    ]
    return pd.concat(frames).sample(frac=1, random_state=0)


def values(scores, **how):
    curve = pessimism_curve(scores, **NAMES, **how)
    return curve.set_index(["method", "beta", "n", "prompt_id"])["value"]


RNG = np.random.default_rng(0)
JUDGE, REWARD = RNG.normal(size=(3, 12)), RNG.normal(size=(3, 12))


def test_by_hand():
    # rewards 2 apart with deviation 1 within the prompt: of the two w = 1 +- 1 / beta, as long as beta >= 1
    found = values(table([[10.0, 4.0]], good=[[5.0, 3.0]]), n=[1, 2], betas=[0.5, 2.0])
    assert found["good", 0.5, 2, "p0"] == pytest.approx(10)
    assert found["good", 2.0, 2, "p0"] == pytest.approx((10 * 1.5 + 4 * 0.5) / 2)
    assert found["good", 2.0, 1, "p0"] == pytest.approx(7)  # one draw: it is kept, whatever it scores


def test_small_beta_is_the_best_of_the_pool_and_large_beta_a_plain_draw():
    scores = table(JUDGE, good=REWARD)
    found = values(scores, n=[12], betas=[1e-9, 1e9])
    best = JUDGE[np.arange(3), REWARD.argmax(axis=1)]
    assert found["good", 1e-9, 12].tolist() == pytest.approx(best.tolist())
    assert found["good", 1e9, 12].tolist() == pytest.approx(JUDGE.mean(axis=1).tolist(), abs=1e-8)
    curve = best_of_n_curve(scores, **NAMES, n=[12]).query("method == 'good'")
    assert curve["value"].tolist() == pytest.approx(best.tolist())


def test_smaller_pools_are_the_blocks_of_draws_in_their_order():
    found = values(table(JUDGE, good=REWARD), n=[5], betas=[1e-9])
    blocks = [slice(0, 5), slice(5, 10)]  # the last two draws fill none
    best = [
        np.mean([JUDGE[p, block][REWARD[p, block].argmax()] for block in blocks]) for p in range(len(JUDGE))
    ]
    assert found["good", 1e-9, 5].tolist() == pytest.approx(best)


def test_scale_and_offset_of_a_scorer_have_no_say_and_a_constant_one_gives_the_mean():
    scores = table(JUDGE, good=REWARD, same=7 + 100 * REWARD, flat=np.full_like(REWARD, 4.0))
    found = values(scores, n=[4, 12])
    pd.testing.assert_series_equal(found["good"], found["same"], atol=1e-10)
    assert found["flat", 0.1, 12].tolist() == pytest.approx(JUDGE.mean(axis=1).tolist())


def test_the_reward_of_what_is_drawn_falls_as_beta_grows():
    found = values(table(REWARD, good=REWARD), n=[12], betas=[0.01, 0.1, 1.0, 10.0])["good"]
    means = found.groupby("beta").mean()
    assert (means.diff().dropna() < 0).all()


def test_a_table_has_its_columns_and_no_more_draws_than_there_are():
    scores = table(JUDGE, good=REWARD, other=REWARD)
    curve = pessimism_curve(scores, **NAMES, n=[1, 12], scorers=["good"])
    assert tuple(curve.columns) == TABLES["pessimism"].columns and set(curve["method"]) == {"good"}
    assert len(curve) == 4 * 2 * 3
    with pytest.raises(DataError, match="n = 13 is more than the 12 draws"):
        values(scores, n=[13])
    with pytest.raises(SpecError, match="n must be whole numbers"):
        values(scores, n=[0])
    with pytest.raises(SpecError, match="beta = -1"):
        values(scores, n=[2], betas=[-1.0])
