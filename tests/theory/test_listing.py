"""Tables of a world: every row is spelled, every block lies within its prefix's, nothing is recomputed."""

import pytest
import torch

from afd_study.errors import SpecError
from afd_study.theory import listing, tilting
from afd_study.theory.token_mdp import TokenMDP

WORDS = ["no", "yes"]


@pytest.fixture
def world():
    return TokenMDP(3, 2)


@pytest.fixture
def policy(world):
    return world.random_policy(generator=torch.Generator().manual_seed(1))


def test_responses_are_spelled_with_their_end(world, policy):
    law = world.response_law(policy)
    table = listing.responses(world, words=WORDS, law=law)
    assert list(table["response"]) == [".", "no .", "yes .", "no no …", "no yes …", "yes no …", "yes yes …"]
    assert list(table["tokens"]) == [1, 2, 2, 2, 2, 2, 2]
    assert list(table["law"]) == law.tolist()


def test_a_prefix_spans_what_begins_with_it(world, policy):
    table = listing.prefixes(world, words=WORDS, policy=policy)
    for _, column in table.groupby("length"):
        assert column["probability"].sum() == pytest.approx(1, abs=1e-12)
    first, second = (table[table["length"] == k].set_index("prefix") for k in (1, 2))
    assert list(second.index) == ["no no", "no yes", "no .", "yes no", "yes yes", "yes .", "."]
    for word in WORDS:
        inside = second[[prefix.startswith(word) for prefix in second.index]]
        assert inside["probability"].sum() == pytest.approx(first.loc[word, "probability"], abs=1e-12)
    assert list(second["ended"]) == [False] * 6 + [True]
    assert list(second["token"]) == ["no", "yes", ".", "no", "yes", ".", "."]


def test_extrapolations_pass_through_both_policies_and_differ_beyond(world, policy):
    init = world.random_policy(generator=torch.Generator().manual_seed(2))
    rewards = torch.arange(world.n_responses).double()
    table = listing.extrapolations(world, sft=policy, init=init, rewards=rewards, strengths=[0, 1, 3])
    rows = table.set_index(["strength", "kind"])["reward"]
    for kind in ("whole responses", "token by token"):
        assert rows[0.0, kind] == pytest.approx((world.response_law(init) @ rewards).item(), abs=1e-10)
        assert rows[1.0, kind] == pytest.approx((world.response_law(policy) @ rewards).item(), abs=1e-10)
    law = tilting.extrapolation(sft=world.response_law(policy), init=world.response_law(init), strength=3)
    assert rows[3.0, "whole responses"] == pytest.approx((law @ rewards).item(), abs=1e-12)
    assert abs(rows[3.0, "whole responses"] - rows[3.0, "token by token"]) > 1e-3


def test_identities_are_held_to_what_was_asked():
    one, infinite = torch.tensor([1.0, 2.0]), torch.tensor([torch.inf, 2.0])
    assert listing.worst(one, one + torch.tensor([0.0, 0.25])) == 0.25
    assert listing.holds(one, one) and listing.holds(infinite, infinite)
    assert not listing.holds(one, one + 1e-6) and not listing.holds(one, infinite)
    assert listing.holds(one, one + 1e-6, within=1e-5)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda w: listing.responses(w, words=["no"]), "words has 1 entries; this world needs 2"),
        (lambda w: listing.responses(w, words=WORDS, law=[1.0]), r"law has shape \(1,\); this world needs"),
        (lambda w: listing.holds([1.0], [1.0, 2.0]), "shapes differ"),
    ],
)
def test_bad_input_names_the_argument(world, call, says):
    with pytest.raises(SpecError, match=says):
        call(world)
