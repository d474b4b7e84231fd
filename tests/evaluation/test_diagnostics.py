import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.evaluation import diagnostics as dg
from afd_study.evaluation.pools import SCORE_COLUMNS


def scores(rows):
    """Rows (prompt_id, source, scorer, rewards of draws 0, 1, ...)."""
    return pd.DataFrame(
        [(p, source, draw, scorer, r) for p, source, scorer, rs in rows for draw, r in enumerate(rs)],
        columns=SCORE_COLUMNS,
    )


POOL = scores(
    [
        ("a", "pi_sft", "world", [1.0, 2.0, 3.0]),
        ("b", "pi_sft", "world", [1.0, 2.0, 3.0]),
        ("c", "pi_sft", "world", [2.0, 2.0, 2.0]),
        ("a", "pi_sft", "init_sft", [0.0, 1.0, 2.0]),
        ("b", "pi_sft", "init_sft", [1.0, 0.0, 2.0]),
        ("c", "pi_sft", "init_sft", [0.0, 1.0, 2.0]),
    ]
)


def diagnosed(table, **settings):
    generator = np.random.default_rng(0)
    return dg.diagnostics(
        table, task="harmless", seed=0, judge="world", generator=generator, **settings
    ).set_index("method")


def test_rank_correlation_within_prompt_by_hand():
    row = diagnosed(POOL).loc["init_sft"]
    # prompt a: 1; prompt b: 1/2; prompt c: the judge is constant, so undefined and left out
    assert row.rank_correlation == pytest.approx(0.75)
    assert (row.n_prompts, row.n_undefined, row["interval"]) == (2, 1, "bootstrap over prompts")


def test_the_oracle_is_perfect_and_random_undefined():
    table = diagnosed(POOL)
    assert table.loc["oracle", "rank_correlation"] == pytest.approx(1.0)
    assert np.isnan(table.loc["random", "rank_correlation"]) and np.isnan(table.loc["random", "pooled"])
    assert table.loc["random", "n_undefined"] == 3


def test_spread_by_hand():
    row = diagnosed(POOL).loc["init_sft"]
    assert row.spread_within == pytest.approx(np.sqrt(2 / 3)) and row.spread_between == pytest.approx(0)


def test_adding_a_constant_per_prompt_changes_pooled_but_not_within():
    shifted = POOL.copy()
    ours = (shifted["scorer"] == "init_sft") & (shifted["prompt_id"] == "a")
    shifted.loc[ours, "reward"] += 100
    before, after = diagnosed(POOL).loc["init_sft"], diagnosed(shifted).loc["init_sft"]
    assert before.rank_correlation == after.rank_correlation
    assert before.pooled != pytest.approx(after.pooled)
    assert after.spread_between > before.spread_between


CLASSES = scores(
    [
        ("a", "pi_sft", "init_sft", [1.0, -1.0]),
        ("b", "pi_sft", "init_sft", [2.0, 3.0]),
        ("a", "pi_init", "init_sft", [-2.0, 0.0]),
        ("b", "pi_init", "init_sft", [-3.0, -4.0]),
    ]
)


def test_discrimination_by_hand():
    row = dg.discrimination(
        CLASSES,
        scorer="init_sft",
        positive="pi_sft",
        negative="pi_init",
        generator=np.random.default_rng(0),
    ).iloc[0]
    # above 0: 3 of 4 positives; below 0: 3 of 4 negatives and one tie
    assert row.accuracy == pytest.approx((3 / 4 + 3.5 / 4) / 2)
    # only (-1, 0) is lost out of 16 pairs
    assert row.auc == pytest.approx(15 / 16)
    assert row.auc_low <= row.auc <= row.auc_high and row.n_prompts == 2


def test_discrimination_names_what_is_missing():
    ids = {"scorer": "init_sft", "positive": "pi_sft", "generator": np.random.default_rng(0)}
    with pytest.raises(SpecError, match="unknown source 'pi_int'.*did you mean 'pi_init'"):
        dg.discrimination(CLASSES, negative="pi_int", **ids)
    with pytest.raises(DataError, match="prompt 'a' has no draw"):
        dg.discrimination(
            CLASSES.iloc[2:].query("prompt_id == 'b' or source == 'pi_init'"), negative="pi_init", **ids
        )
    with pytest.raises(SpecError, match="unknown scorer"):
        dg.discrimination(CLASSES, negative="pi_init", **(ids | {"scorer": "oops"}))
