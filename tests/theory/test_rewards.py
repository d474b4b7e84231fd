"""The imitation papers' reward transforms, each tied to what its policy gradient really descends."""

import pytest
import torch

from afd_study.errors import SpecError
from afd_study.theory.divergences import DIVERGENCES, divergence
from afd_study.theory.rewards import REWARD_TRANSFORMS, find, implied_curvature

LOGITS = torch.tensor([-2.5, -1.0, -0.1, 0.6, 1.4, 2.2], dtype=torch.float64)

each = pytest.mark.parametrize("name", REWARD_TRANSFORMS)


def curvature_of(generator, u):
    u = u.clone().requires_grad_()
    [slope] = torch.autograd.grad(generator(u).sum(), u, create_graph=True)
    [curvature] = torch.autograd.grad(slope.sum(), u)
    return curvature


@each
def test_the_formula_in_d_is_the_reward_of_the_logit(name):
    d = LOGITS.sigmoid()
    of_d = {
        "airl": d.log() - (1 - d).log(),
        "gail": -(1 - d).log(),
        "log_d": d.log(),
        "density_ratio": d / (1 - d),
        "fairl": -d / (1 - d) * (d / (1 - d)).log(),
    }
    assert torch.allclose(find(name).reward(LOGITS), of_d[name], atol=1e-12)


@each
def test_the_curvature_is_that_of_the_divergence_named(name):
    transform = find(name)
    assert (transform.descends is None) == (transform.generator is None)
    implied = implied_curvature(transform.reward, log_ratio=LOGITS)
    if transform.generator is None:
        assert implied.min() < 0
        return
    assert (implied > 0).all()
    assert torch.allclose(implied, curvature_of(transform.generator, LOGITS.exp()), rtol=1e-10, atol=0)


@pytest.mark.parametrize("name", sorted(set(DIVERGENCES) - {"total_variation"}))
def test_every_divergences_own_reward_implies_its_own_curvature(name):
    record = DIVERGENCES[name]
    implied = implied_curvature(record.policy_reward, log_ratio=LOGITS)
    assert torch.allclose(implied, curvature_of(record.generator, LOGITS.exp()), rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", [name for name, known in REWARD_TRANSFORMS.items() if known.descends])
def test_the_policy_gradient_is_minus_the_gradient_of_what_is_descended(name, setting):
    transform, world = find(name), setting.world
    logits = setting.policy.log().clone().requires_grad_()
    law, demo = world.response_law(logits.softmax(-1)), setting.law("demo")
    rewards = transform.reward((demo.log() - law.log()).detach())
    ascent = world.policy_gradient(logits.softmax(-1).detach(), rewards=rewards)
    [descent] = torch.autograd.grad((law * transform.generator(demo / law)).sum(), logits)
    assert torch.allclose(ascent, -descent, atol=1e-10, rtol=0)


def test_log_d_descends_a_kl_from_the_mixture_to_the_demonstrator(setting):
    demo, policy = setting.law("demo"), setting.law("policy")
    value = (policy * find("log_d").generator(demo / policy)).sum()
    middle = (demo + policy) / 2
    assert torch.allclose(value, 2 * divergence("forward_kl", demo=middle, policy=demo), atol=1e-12)


def test_fairl_has_forward_kls_value_but_not_its_gradient(setting):
    world, demo = setting.world, setting.law("demo")
    logits = setting.policy.log().clone().requires_grad_()
    law = world.response_law(logits.softmax(-1))
    rewards = find("fairl").reward((demo.log() - law.log()).detach())
    kl = divergence("forward_kl", demo=demo, policy=law)
    assert torch.allclose((law * rewards).sum(), -kl, atol=1e-10)
    [true] = torch.autograd.grad(-kl, logits)
    followed = world.policy_gradient(logits.softmax(-1).detach(), rewards=rewards)
    cosine = (true * followed).sum() / (true.norm() * followed.norm())
    assert cosine < -0.5
    # a small step along it raises the very divergence that its value measures
    for direction, sign in ((true, -1), (followed, 1)):
        moved = world.response_law((logits + 1e-3 * direction).softmax(-1))
        assert sign * (divergence("forward_kl", demo=demo, policy=moved) - kl) > 0


@each
def test_the_sign_is_as_stated(name):
    reward = find(name).reward(torch.linspace(-5, 5, 101, dtype=torch.float64))
    says = {"positive": (reward > 0).all(), "negative": (reward < 0).all()}
    says["both"] = (reward > 0).any() and (reward < 0).any()
    assert says[find(name).sign]


def test_unknown_transforms_name_the_nearest():
    with pytest.raises(SpecError, match="did you mean 'fairl'"):
        find("fair")
