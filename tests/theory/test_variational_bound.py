"""The variational bound: at most the divergence, equal to it at the optimal critic, and bad critics."""

import math

import pytest
import torch
from divergence_cases import PAIRS, every, every_smooth, laws
from hypothesis import given, settings, strategies as st

from afd_study.errors import SpecError
from afd_study.theory.divergences import divergence, variational_bound


def exact_bound(record, critic, *, demo, policy):
    """The bound of a critic on all outcomes, each weighted by its probability."""
    return variational_bound(
        record,
        critic_on_demo=critic,
        critic_on_policy=critic,
        weights_on_demo=demo,
        weights_on_policy=policy,
    )


@every
@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_the_bound_is_an_equality_at_the_optimal_critic(record, p, q):
    demo, policy = torch.tensor(p, dtype=torch.float64), torch.tensor(q, dtype=torch.float64)
    critic = record.optimal_critic(demo.log() - policy.log())
    bound = exact_bound(record, critic, demo=demo, policy=policy)
    assert bound.item() == pytest.approx(divergence(record, demo=demo, policy=policy).item(), abs=1e-10)


@every
@given(laws(4, smallest=0.01), laws(4, smallest=0.01), st.lists(st.floats(-4, 4), min_size=4, max_size=4))
@settings(max_examples=15, deadline=None)
def test_the_bound_lies_below_for_any_critic(record, demo, policy, values):
    critic = record.critic_activation(torch.tensor(values, dtype=torch.float64))
    bound = exact_bound(record, critic, demo=demo, policy=policy)
    assert bound <= divergence(record, demo=demo, policy=policy) + 1e-10


@every_smooth
def test_moving_the_optimal_critic_lowers_the_bound(record):
    demo, policy = (torch.tensor(law, dtype=torch.float64) for law in PAIRS[1])
    log_ratio = demo.log() - policy.log()
    bounds = []
    for move in (0.0, 0.1, -0.1):
        critic = record.critic_activation(log_ratio + torch.tensor([move, 0.0, -move]).double())
        bounds.append(
            variational_bound(
                record,
                critic_on_demo=critic,
                critic_on_policy=critic,
                weights_on_demo=demo,
                weights_on_policy=policy,
            ).item()
        )
    assert bounds[0] - bounds[1] > 1e-5
    assert bounds[0] - bounds[2] > 1e-5


@every_smooth
def test_learned_critics_find_the_log_ratio(record):
    demo, policy = (torch.tensor(law, dtype=torch.float64) for law in PAIRS[0])
    value = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS(
        [value], max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0
    )

    def loss():
        descent.zero_grad()
        critic = record.critic_activation(value)
        sides = {"critic_on_demo": critic, "critic_on_policy": critic}
        lost = -variational_bound(record, **sides, weights_on_demo=demo, weights_on_policy=policy)
        lost.backward()
        return lost

    descent.step(loss)
    assert torch.allclose(value.detach(), demo.log() - policy.log(), atol=1e-5)


def test_the_bound_averages_samples_of_unequal_number():
    critic_on_demo, critic_on_policy = torch.tensor([0.5, 1.5]), torch.tensor([0.0, 1.0, -1.0])
    bound = variational_bound("forward_kl", critic_on_demo=critic_on_demo, critic_on_policy=critic_on_policy)
    assert bound.item() == pytest.approx(1.0 - (math.e + math.exp(-1) - 2) / 3, abs=1e-12)


def test_bad_critics():
    with pytest.raises(SpecError, match="critic_on_demo holds NaN"):
        variational_bound("forward_kl", critic_on_demo=[math.nan], critic_on_policy=[0.0])
    with pytest.raises(SpecError, match="weights of critic_on_policy"):
        variational_bound("forward_kl", critic_on_demo=[0.0], critic_on_policy=[0.0], weights_on_policy=[0.5])
    with pytest.raises(SpecError, match="critic_on_policy has shape"):
        variational_bound("forward_kl", critic_on_demo=[0.0], critic_on_policy=[])
