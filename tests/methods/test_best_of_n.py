"""Scorers by hand, and picks that don't depend on the order of rows."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError
from afd_study.methods.best_of_n import SCORERS, picks, scores_of


def pool():
    rows = [
        ("p1", 0, [5, 1], -3.0, -4.0, -5.5, 0.5),
        ("p1", 1, [5, 6, 7, 1], -9.0, -5.0, -8.0, 1.5),
        ("p1", 2, [5, 6, 1], -1.5, -7.5, -1.0, -1.0),
        ("p2", 0, [1], -2.0, -2.0, -2.5, 0.0),
    ]
    columns = ["prompt_id", "draw", "token_ids", "logprob", "logprob_init", "logprob_half", "judge"]
    return pd.DataFrame(rows, columns=columns).assign(source="pi_sft", text="any")


EXPECTED = {
    "random": [0.0, 0.0, 0.0, 0.0],  # all tie
    "longest": [2.0, 4.0, 3.0, 1.0],
    "shortest": [-2.0, -4.0, -3.0, -1.0],
    "likelihood": [-3.0, -9.0, -1.5, -2.0],
    "likelihood_per_token": [-1.5, -2.25, -0.5, -2.0],
    "closed_form": [1.0, -4.0, 6.0, 0.0],  # log pi_SFT - log pi_init: high where fine-tuning raised it
    "closed_form_per_token": [0.5, -1.0, 2.0, 0.0],
    "late_closed_form": [2.5, -1.0, -0.5, 0.5],
    "oracle": [0.5, 1.5, -1.0, 0.0],
}


@pytest.mark.parametrize("scorer", SCORERS)
def test_scorers_by_hand(scorer):
    assert SCORERS[scorer](pool()).tolist() == EXPECTED[scorer]


def test_a_table_of_scores_joins_on_ids():
    table = scores_of(pool().sample(frac=1, random_state=0))
    assert set(table["scorer"]) == set(SCORERS) and len(table) == 4 * len(SCORERS)
    wide = table.pivot(index=["prompt_id", "draw"], columns="scorer", values="reward")
    for scorer, expected in EXPECTED.items():
        assert wide[scorer].tolist() == expected


def test_rules_whose_columns_are_missing_are_left_out():
    names = set(scores_of(pool().drop(columns=["judge", "logprob_init", "logprob_half"]))["scorer"])
    closed = {"closed_form", "closed_form_per_token", "late_closed_form"}
    assert names == set(SCORERS) - {"oracle"} - closed
    early = set(scores_of(pool().drop(columns=["logprob_half"]))["scorer"])
    assert early == set(SCORERS) - {"late_closed_form"}


def scores(rewards, prompt="p", scorer="any"):
    return pd.DataFrame(
        {
            "prompt_id": prompt,
            "source": "pi_sft",
            "draw": range(len(rewards)),
            "scorer": scorer,
            "reward": [float(reward) for reward in rewards],
        }
    )


def test_the_best_of_the_first_n_is_kept_and_the_earliest_among_equals():
    table = pd.concat(
        [scores([1, 3, 3, 5]), scores([2, 2, 1, 2], prompt="q"), scores([0, -1], scorer="other")]
    )
    for seed in range(4):
        shuffled = table.sample(frac=1, random_state=seed)
        best = {
            (n, row.prompt_id, row.rule): row.draw
            for n in (1, 2, 3, 4)
            for row in picks(shuffled, n).itertuples()
        }
        assert [best[n, "p", "any"] for n in (1, 2, 3, 4)] == [0, 1, 1, 3]
        assert [best[n, "q", "any"] for n in (1, 2, 3, 4)] == [0, 0, 0, 0]
        assert [best[n, "p", "other"] for n in (1, 2)] == [0, 0]


def test_picks_are_a_table_with_a_row_a_prompt_and_rule():
    table = picks(scores_of(pool()), 2)
    assert list(table.columns) == ["prompt_id", "rule", "n", "draw"]
    assert len(table) == 2 * len(SCORERS) and (table["n"] == 2).all() and table["draw"].max() == 1
    assert table.query("rule == 'longest' and prompt_id == 'p1'")["draw"].item() == 1
    assert table.query("rule == 'closed_form' and prompt_id == 'p1'")["draw"].item() == 0


def test_scores_that_are_missing_are_refused():
    with pytest.raises(DataError, match="missing values"):
        scores_of(pool().assign(logprob=[np.nan, -1, -1, -1]))
