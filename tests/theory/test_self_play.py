"""The squared loss of self-play: by hand, and its optimum by enumeration."""

import pytest
import torch

from afd_study.errors import SpecError
from afd_study.theory.self_play import squared_pairs

DRAW = torch.Generator().manual_seed(3)
DEMO, LAST = (torch.rand(7, generator=DRAW, dtype=torch.float64).add(0.02) for _ in range(2))
DEMO, LAST = DEMO / DEMO.sum(), LAST / LAST.sum()
BETA = 0.5


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def expected_loss(log_policy, last=LAST, beta=BETA):
    """The loss over all pairs (demonstration, sample of the last policy), each by its probability."""
    n = len(DEMO)
    first, second = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    log_last = last.log()
    return squared_pairs(
        preferred=log_policy[first],
        rejected=log_policy[second],
        reference_preferred=log_last[first],
        reference_rejected=log_last[second],
        beta=beta,
        weights=DEMO[first] * last[second],
    )


def test_by_hand():
    sides = tensor(-3.0), tensor(-5.0), tensor(-4.0), tensor(-4.5)
    names = ("preferred", "rejected", "reference_preferred", "reference_rejected")
    loss = squared_pairs(**dict(zip(names, sides, strict=True)), beta=0.1)
    assert loss.item() == pytest.approx((0.1 * ((-3 + 4) - (-5 + 4.5)) - 1) ** 2, abs=1e-12)
    assert squared_pairs(**dict.fromkeys(names, tensor(-1.0, -2.0)), beta=0.3, constant=4).item() == 0.5


def best_policy(last=LAST, beta=BETA):
    mixture = (DEMO + last) / 2
    chi2 = ((DEMO - mixture) ** 2 / mixture).sum()
    reward = ((DEMO / last).log() / 2).tanh() / (1 + chi2)
    return (last.log() + reward / beta).log_softmax(0), chi2


def test_its_optimum_is_the_last_policy_tilted_by_a_bounded_reward():
    derived, chi2 = best_policy()
    found = LAST.log().clone().requires_grad_()
    optimiser = torch.optim.LBFGS([found], max_iter=500, tolerance_grad=1e-13, tolerance_change=0)

    def closure():
        optimiser.zero_grad()
        loss = expected_loss(found.log_softmax(0))
        loss.backward()
        return loss

    optimiser.step(closure)
    assert torch.allclose(found.log_softmax(0), derived, atol=1e-7)
    assert expected_loss(derived).item() == pytest.approx((1 - chi2.item()) / (1 + chi2.item()), abs=1e-12)
    tilt = derived - LAST.log()
    assert tilt.max() - tilt.min() <= 2 / BETA


def test_the_demonstrator_is_its_fixed_point():
    policy, chi2 = best_policy(last=DEMO)
    assert chi2 == 0 and torch.allclose(policy, DEMO.log())
    moved = policy.clone().requires_grad_()
    expected_loss(moved.log_softmax(0), last=DEMO).backward()
    assert moved.grad.abs().max() < 1e-12


def test_bad_input_is_named():
    empty = dict.fromkeys(("preferred", "rejected", "reference_preferred", "reference_rejected"), tensor())
    with pytest.raises(SpecError, match="at least one pair"):
        squared_pairs(**empty, beta=1.0)
    with pytest.raises(SpecError, match="beta"):
        squared_pairs(**dict.fromkeys(empty, tensor(-1.0)), beta=0.0)
