"""Estimates from samples, judged by their exact means, variances and gradients on an enumerated world."""

import math

import pytest
import torch

from afd_study.errors import SpecError
from afd_study.theory.divergences import DIVERGENCES, alpha_divergence, divergence
from afd_study.theory.estimators import (
    KL_ESTIMATORS,
    full_distribution_kl,
    k1,
    k2,
    k3,
    mean_and_variance,
    plug_in,
    variational,
)

kinds = pytest.mark.parametrize("name", KL_ESTIMATORS)


def log_ratio(setting):
    return setting.law("demo").log() - setting.law("policy").log()


def along_prefixes(setting, table):
    """Next-token log-probabilities at each response's prefixes, and the mask of those that exist."""
    states = setting.world.states()
    return table[states.clamp(min=0)].log(), states >= 0


def test_by_hand():
    ratio = torch.tensor([0.5, -1.0], dtype=torch.float64)
    assert k1(ratio).tolist() == [-0.5, 1.0]
    assert k2(ratio).tolist() == [0.125, 0.5]
    assert k3(ratio).tolist() == pytest.approx([math.exp(0.5) - 1.5, math.exp(-1)], abs=1e-15)


@kinds
def test_means_are_as_stated(setting, name):
    kind = KL_ESTIMATORS[name]
    mean, _ = mean_and_variance(kind.estimate(log_ratio(setting)), law=setting.law("policy"))
    exact = divergence("reverse_kl", demo=setting.law("demo"), policy=setting.law("policy"))
    assert (abs(mean - exact) < 1e-10) == kind.unbiased
    assert kind.unbiased or abs(mean - exact) > 0.01


@kinds
def test_gradients_at_fixed_samples_are_as_stated(setting, name):
    kind, world = KL_ESTIMATORS[name], setting.world
    demo = setting.law("demo")
    logits = setting.policy.log().clone().requires_grad_()
    law = world.response_law(logits.softmax(-1))
    sampled = (law.detach() * kind.estimate(demo.log() - law.log())).sum()
    [slope] = torch.autograd.grad(sampled, logits, retain_graph=True)
    if kind.gradient is None:
        assert slope.abs().max() < 1e-10
        return
    [exact] = torch.autograd.grad(divergence(kind.gradient, demo=demo, policy=law), logits, retain_graph=True)
    assert torch.allclose(slope, exact, atol=1e-10, rtol=0)
    other = {"forward_kl": "reverse_kl", "reverse_kl": "forward_kl"}[kind.gradient]
    [wrong] = torch.autograd.grad(divergence(other, demo=demo, policy=law), logits)
    assert (slope - wrong).abs().max() > 0.01


def test_k3_is_the_plug_in_of_the_reverse_kl_and_never_negative_in_float32():
    ratio = torch.linspace(-3, 3, 61, dtype=torch.float64)
    assert torch.allclose(k3(ratio), plug_in("reverse_kl", log_ratio=ratio), atol=1e-12)
    small = torch.linspace(-1e-3, 1e-3, 1001, dtype=torch.float32)
    assert (k3(small) >= 0).all()
    assert (small.exp() - 1 - small).min() < 0


@pytest.mark.parametrize("record", [*DIVERGENCES.values(), alpha_divergence(0.3)])
def test_plug_ins_are_unbiased_for_every_divergence(setting, record):
    mean, variance = mean_and_variance(
        plug_in(record, log_ratio=log_ratio(setting)), law=setting.law("policy")
    )
    exact = divergence(record, demo=setting.law("demo"), policy=setting.law("policy"))
    assert mean.item() == pytest.approx(exact.item(), abs=1e-10)
    assert variance > 0


def test_the_full_distribution_estimate_is_unbiased_and_less_noisy_than_k1(setting):
    policy, mask = along_prefixes(setting, setting.policy)
    demo, _ = along_prefixes(setting, setting.demo)
    law = setting.law("policy")
    mean, variance = mean_and_variance(full_distribution_kl(policy=policy, demo=demo, mask=mask), law=law)
    exact = divergence("reverse_kl", demo=setting.law("demo"), policy=law)
    assert mean.item() == pytest.approx(exact.item(), abs=1e-10)
    _, noisy = mean_and_variance(k1(log_ratio(setting)), law=law)
    assert variance < noisy / 2


def test_the_full_distribution_estimate_survives_tokens_without_mass():
    policy = torch.tensor([[[0.0, -math.inf], [-math.inf, 0.0]]], dtype=torch.float64)
    demo = torch.tensor([[[-1.0, -math.inf], [-2.0, -3.0]]], dtype=torch.float64)
    assert full_distribution_kl(policy=policy, demo=demo).tolist() == [4.0]
    assert full_distribution_kl(policy=policy, demo=demo, mask=[[1, 0]]).tolist() == [1.0]


@pytest.mark.parametrize("record", [r for n, r in DIVERGENCES.items() if n != "total_variation"])
def test_variational_estimates_average_to_the_divergence_at_the_true_logit(record):
    # laws in tenths, so that ten samples a side can be the laws themselves
    demo, policy = torch.tensor([5, 3, 2]), torch.tensor([2, 2, 6])
    logits = (demo / 10).double().log() - (policy / 10).double().log()
    logits = (demo.double() / policy.double()).log()
    sampled = {
        "logits_on_demo": logits.repeat_interleave(demo),
        "logits_on_policy": logits.repeat_interleave(policy),
    }
    exact = divergence(record, demo=demo.double() / 10, policy=policy.double() / 10)
    assert variational(record, **sampled).item() == pytest.approx(exact.item(), abs=1e-10)
    lower = variational(record, **{side: 0.6 * values for side, values in sampled.items()})
    assert lower < exact - 1e-4


def test_exact_moments():
    mean, variance = mean_and_variance([[0.0, 4.0], [1.0, 1.0]], law=[0.75, 0.25])
    assert mean.tolist() == [1.0, 1.0]
    assert variance.tolist() == [3.0, 0.0]


def test_bad_input_names_the_argument():
    logs = torch.zeros(2, 3, 4)
    with pytest.raises(SpecError, match="shapes differ: policy .2, 3, 4., demo"):
        full_distribution_kl(policy=logs, demo=logs[:1])
    with pytest.raises(SpecError, match="mask .2, 2., steps"):
        full_distribution_kl(policy=logs, demo=logs, mask=torch.ones(2, 2))
    with pytest.raises(SpecError, match="log_ratio holds NaN"):
        plug_in("gan", log_ratio=[math.nan])
    with pytest.raises(SpecError, match="unknown divergence"):
        plug_in("kl", log_ratio=[0.0])
    with pytest.raises(SpecError, match="logits_on_demo holds NaN"):
        variational("gan", logits_on_demo=[math.nan], logits_on_policy=[0.0])
    with pytest.raises(SpecError, match="values .3,."):
        mean_and_variance([0.0, 1.0, 2.0], law=[0.5, 0.5])
