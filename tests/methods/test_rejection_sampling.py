"""Rejection sampling keeps the best of each group of draws, and the order of rows has no say."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from afd_study.errors import DataError, SpecError
from afd_study.methods.rejection_sampling import best_of_each

REWARDS = {"p1": [0.0, 2.0, 1.0, 5.0, 5.0, 4.0], "p2": [-1.0, -3.0, -2.0]}


def samples():
    rows = [
        (prompt, "pi_sft", draw, [draw, 1], f"{prompt} says {draw}", -1.0)
        for prompt, rewards in REWARDS.items()
        for draw in range(len(rewards))
    ]
    return pd.DataFrame(rows, columns=["prompt_id", "source", "draw", "token_ids", "text", "logprob"])


def scores():
    table = samples()[["prompt_id", "source", "draw"]].assign(scorer="init_sft")
    return table.assign(reward=[reward for rewards in REWARDS.values() for reward in rewards])


def test_the_best_of_each_group_is_kept_and_the_earliest_among_equals():
    best = best_of_each(samples(), scores(), group_size=3)
    assert list(best.columns) == ["prompt_id", "draw", "token_ids", "text"]
    assert best["prompt_id"].tolist() == ["p1", "p1", "p2"]
    assert best["draw"].tolist() == [0, 1, 0]  # the groups' numbers
    assert best["text"].tolist() == ["p1 says 1", "p1 says 3", "p2 says 0"]  # 5.0 twice: draw 3 before 4
    assert best["token_ids"].tolist() == [[1, 1], [3, 1], [0, 1]]


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_rows_has_no_say(seed):
    shuffled = (table.sample(frac=1, random_state=seed + i) for i, table in enumerate((samples(), scores())))
    assert_frame_equal(best_of_each(*shuffled, group_size=3), best_of_each(samples(), scores(), group_size=3))


def test_a_group_of_one_keeps_everything_and_a_group_that_is_not_full_keeps_its_best():
    assert best_of_each(samples(), scores(), group_size=1)["text"].tolist() == samples()["text"].tolist()
    assert best_of_each(samples(), scores(), group_size=5)["text"].tolist() == [
        "p1 says 3",
        "p1 says 5",
        "p2 says 0",
    ]


def test_scores_are_joined_by_source_too():
    elsewhere = scores().assign(source="pi_init", reward=lambda table: -table["reward"])
    both = pd.concat([elsewhere, scores()])
    assert_frame_equal(
        best_of_each(samples(), both, group_size=3), best_of_each(samples(), scores(), group_size=3)
    )


def test_what_cannot_be_used_is_refused():
    with pytest.raises(DataError, match="1 of 9 samples have no score"):
        best_of_each(samples(), scores().iloc[1:], group_size=3)
    with pytest.raises(SpecError, match="group_size = 0"):
        best_of_each(samples(), scores(), group_size=0)
    with pytest.raises(ValueError, match="one-to-one"):
        best_of_each(samples(), pd.concat([scores(), scores().assign(scorer="another")]), group_size=3)


def test_kept_responses_come_with_ids_as_arrays_where_they_did():
    arrays = samples().assign(token_ids=[np.array(ids) for ids in samples()["token_ids"]])
    best = best_of_each(arrays, scores(), group_size=3)
    assert [ids.tolist() for ids in best["token_ids"]] == [[1, 1], [3, 1], [0, 1]]
