"""An ensemble is the mean of standardised rewards: scales and offsets of its members have no say."""

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import SpecError
from afd_study.methods.ensembles import with_ensembles

RNG = np.random.default_rng(0)


def scores(**rewards):
    ids = pd.DataFrame(
        [(f"p{p}", source, draw) for source in ("pi_sft", "pi_init") for p in range(4) for draw in range(6)],
        columns=["prompt_id", "source", "draw"],
    )
    frames = [ids.assign(scorer=name, reward=reward) for name, reward in rewards.items()]
    return pd.concat(frames, ignore_index=True)


A, B = RNG.normal(size=48), RNG.normal(size=48)


def ensemble(**rewards):
    table = with_ensembles(scores(**rewards), {"both": tuple(rewards)})
    return table.loc[table["scorer"] == "both", "reward"].to_numpy()


def test_scale_and_offset_of_a_member_have_no_say():
    np.testing.assert_allclose(ensemble(a=A, b=B), ensemble(a=1000 * A - 7, b=0.01 * B + 3), atol=1e-12)


def standard(rewards):
    own = rewards[:24].reshape(4, 6)  # pi_sft stands first: four prompts of six draws
    return (rewards - own.mean()) / np.sqrt(((own - own.mean(1, keepdims=True)) ** 2).mean())


def test_it_is_the_mean_of_what_is_standard_within_the_policys_prompts():
    np.testing.assert_allclose(ensemble(a=A, b=B), (standard(A) + standard(B)) / 2, atol=1e-12)


def test_what_lies_between_prompts_sets_no_weights():
    """A reward's offset of a prompt is free in Bradley-Terry: it must not make the member count for less."""
    shifted = A + np.repeat([0.0, 30.0, -9.0, 4.0, 0.0, 30.0, -9.0, 4.0], 6)
    first, other = (ensemble(a=a, b=B)[:24].reshape(4, 6) for a in (A, shifted))
    assert (first.argsort(1) == other.argsort(1)).all()


def test_a_member_twice_is_no_other_ensemble_and_a_constant_one_counts_for_nothing():
    np.testing.assert_allclose(ensemble(a=A, b=A), standard(A), atol=1e-12)
    order = np.argsort(ensemble(a=A, b=np.full(48, 3.0)))
    assert (order == np.argsort(A)).all()


def test_other_scorers_stay_as_they_were():
    before = scores(a=A, b=B)
    after = with_ensembles(before, {"both": ("a", "b")})
    pd.testing.assert_frame_equal(after.iloc[: len(before)], before)
    assert with_ensembles(before, {}) is before


def test_a_member_that_there_is_not_is_named():
    with pytest.raises(SpecError, match="member of both 'aa': did you mean 'a'"):
        with_ensembles(scores(a=A), {"both": ("aa",)})
