import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.pools import SCORE_COLUMNS, finite, pools


def scores(**prompts):
    """Draws of pi_sft: prompt=(the world's scores, init_sft's rewards)."""
    rows = [
        (prompt, "pi_sft", draw, scorer, reward)
        for prompt, both in prompts.items()
        for scorer, rewards in zip(("world", "init_sft"), both, strict=True)
        for draw, reward in enumerate(rewards)
    ]
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


THREE = scores(a=([0.0, 5.0, 2.0], [3.0, 2.0, 1.0]))
OWN = {"source": "pi_sft", "judge": "world"}


def test_draws_stand_in_their_order_whatever_the_rows_order():
    [pool] = pools(THREE.sample(frac=1, random_state=3), **OWN)
    assert pool.prompt_ids.tolist() == ["a"] and pool.judge.tolist() == [[0.0, 5.0, 2.0]]
    assert pool.rewards["init_sft"].tolist() == [[3.0, 2.0, 1.0]]
    assert pool.rewards["random"].tolist() == [[0.0] * 3] and pool.rewards["oracle"].tolist() == [[0, 5, 2]]


def test_a_pool_for_each_number_of_draws():
    mixed = scores(
        b=([1.0, 2.0], [0.0, 1.0]), a=([0.0, 5.0, 2.0], [3.0, 2.0, 1.0]), c=([7.0, 8.0], [1.0, 0.0])
    )
    assert [pool.prompt_ids.tolist() for pool in pools(mixed, **OWN)] == [["b", "c"], ["a"]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rewards_must_be_finite_and_the_culprit_is_named(bad):
    broken = THREE.copy()
    broken.loc[4, "reward"] = bad
    for refused in (lambda: finite(broken), lambda: list(pools(broken, **OWN))):
        with pytest.raises(DataError, match="scorer 'init_sft' gave .* to draw 1 of prompt 'a'"):
            refused()


def test_a_missing_score_is_named():
    with pytest.raises(DataError, match="'init_sft' has no score for draw 2 of prompt 'a'"):
        list(pools(THREE.drop(index=5), **OWN))
    with pytest.raises(DataError, match="'world' has no score for draw 0"):
        list(pools(THREE.drop(index=0), **OWN))


def test_a_repeated_score_is_refused():
    with pytest.raises(DataError, match="repeats the key"):
        list(pools(pd.concat([THREE, THREE.iloc[:1]]), **OWN))


def test_unknown_names_are_told_the_nearest():
    for change in ({"judge": "wrld"}, {"source": "pi_sfd"}, {"scorers": ["init_stf"]}):
        with pytest.raises(SpecError, match="did you mean"):
            list(pools(THREE, **(OWN | change)))
