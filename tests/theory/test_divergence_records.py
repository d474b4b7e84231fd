"""The columns of a divergence's record belong together: generator, mirror, conjugate, critic and reward."""

import math

import pytest
import torch
from divergence_cases import RATIOS, RECORDS, every
from scipy.optimize import minimize_scalar

from afd_study.theory.divergences import DIVERGENCES, Divergence


@every
def test_the_mirror_swaps_the_laws(record):
    u = torch.tensor(RATIOS, dtype=torch.float64)
    assert torch.allclose(record.mirror(u), u * record.generator(1 / u), atol=1e-12, rtol=1e-12)


@every
def test_generators_are_convex_and_zero_at_one(record):
    u = torch.linspace(0.02, 6, 300, dtype=torch.float64)
    f = record.generator(u)
    assert (f[2:] - 2 * f[1:-1] + f[:-2] >= -1e-12).all()
    at_one = 0.0 if record is not DIVERGENCES["gan"] else -math.log(4)
    assert record.generator(torch.ones(1).double()).item() == pytest.approx(at_one, abs=1e-15)


@every
def test_the_optimal_critic_is_the_generators_slope(record):
    u = torch.tensor(RATIOS, dtype=torch.float64, requires_grad=True)
    [slope] = torch.autograd.grad(record.generator(u).sum(), u)
    assert torch.allclose(record.optimal_critic(u.detach().log()), slope, atol=1e-10, rtol=1e-10)


def legendre(record: Divergence, t: float) -> float:
    """Maximise u t - f(u) over u >= 0 on a grid of log u, then by Brent's method around its best."""

    def loss(log_u: float) -> float:
        u = torch.tensor(math.exp(log_u), dtype=torch.float64)
        return (record.generator(u) - u * t).item()

    grid = [-30 + 0.25 * i for i in range(161)]
    best = min(grid, key=loss)
    result = minimize_scalar(
        loss, bounds=(best - 0.3, best + 0.3), method="bounded", options={"xatol": 1e-12}
    )
    at_zero = record.generator(torch.zeros((), dtype=torch.float64)).item()
    return max(-result.fun, -loss(best), -at_zero)


@every
def test_conjugates_agree_with_a_numeric_legendre_transform(record):
    values = [*RATIOS, 0.01]
    inside = record.optimal_critic(torch.tensor(values, dtype=torch.float64).log()).tolist()
    for t in sorted({*inside, *(0.5 * t for t in inside if t < 0)}):
        exact = record.conjugate(torch.tensor(t, dtype=torch.float64)).item()
        assert exact == pytest.approx(legendre(record, t), abs=1e-10, rel=1e-10)


@pytest.mark.parametrize("name", ["pearson_chi2", "total_variation", "alpha 1.7", "alpha 2"])
def test_below_the_slope_at_zero_the_conjugate_is_flat(name):
    record = RECORDS[name]
    flat = -record.generator(torch.zeros((), dtype=torch.float64)).item()
    for t in (-2.5, -5.0):
        assert record.conjugate(torch.tensor(t, dtype=torch.float64)).item() == pytest.approx(flat, abs=1e-15)
        assert legendre(record, t) == pytest.approx(flat, abs=1e-9)


# the largest t at which u t - f(u) stays bounded: the slope of f at infinity
END = {
    "forward_kl": math.inf,
    "reverse_kl": 1.0,
    "jensen_shannon": math.log(2) / 2,
    "gan": 0.0,
    "pearson_chi2": math.inf,
    "neyman_chi2": 1.0,
    "squared_hellinger": 0.5,
    "total_variation": 0.5,
    "alpha -1.5": 0.4,
    "alpha 0": 1.0,
    "alpha 0.3": 1 / 0.7,
    "gjs 0.1": -0.1 * math.log(0.1),
    "gjs 0.85": -0.85 * math.log(0.85),
}


@pytest.mark.parametrize("name", END)
def test_the_conjugate_is_infinite_beyond_its_domain(name):
    record, end = RECORDS[name], END[name]
    if math.isinf(end):
        assert torch.isfinite(record.conjugate(torch.tensor([5.0, 50.0]).double())).all()
        return
    outside = torch.tensor([end + 1e-6, end + 3.0], dtype=torch.float64)
    assert torch.isinf(record.conjugate(outside)).all()
    assert torch.isfinite(record.conjugate(torch.tensor(end - 1e-6, dtype=torch.float64)))
    u = torch.tensor(1e9, dtype=torch.float64)
    assert (u * outside[0] - record.generator(u)).item() > 100


@every
def test_the_policy_reward_is_the_conjugate_at_the_critic(record):
    logit = torch.tensor([-3.0, -1.0, -0.2, 0.4, 1.0, 2.5], dtype=torch.float64)
    gap = record.policy_reward(logit) - record.conjugate(record.optimal_critic(logit))
    assert torch.allclose(gap, gap[0].expand(6), atol=1e-10)


def test_the_named_rewards():
    logit = torch.tensor([-2.0, 0.3, 1.7], dtype=torch.float64)
    reward = {name: DIVERGENCES[name].policy_reward(logit) for name in DIVERGENCES}
    assert torch.equal(reward["reverse_kl"], logit)
    assert torch.allclose(reward["forward_kl"], logit.exp(), atol=1e-15)
    assert torch.allclose(reward["jensen_shannon"], (1 + logit.exp()).log() / 2, atol=1e-12)


@every
def test_critics_and_rewards_never_fall_in_the_log_ratio(record):
    logit = torch.linspace(-6, 6, 201, dtype=torch.float64)
    assert (record.optimal_critic(logit).diff() >= 0).all()
    assert (record.policy_reward(logit).diff() >= 0).all()
    assert (record.critic_activation(logit).diff() > 0).all()


@every
def test_activations_stay_inside_the_conjugates_domain(record):
    value = torch.linspace(-20, 20, 401, dtype=torch.float64)
    assert torch.isfinite(record.conjugate(record.critic_activation(value))).all()
