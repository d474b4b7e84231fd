"""The propositions of the book, each computed on an enumerated world with unequal laws, to 1e-10.

Every loss here is the one that training minimises, given the law of responses as weights.
"""

import math

import pytest
import torch

from afd_study.theory import objectives, tilting
from afd_study.theory.divergences import DIVERGENCES, alpha_divergence, divergence, generalized_jensen_shannon

EXACT = {"atol": 1e-10, "rtol": 0}

RECORDS = (
    DIVERGENCES
    | {f"alpha {a}": alpha_divergence(a) for a in (-1, 0.3, 1.7)}
    | {f"gjs {w}": generalized_jensen_shannon(w) for w in (0.1, 0.85)}
)


def logits_of(table):
    return table.log().clone().requires_grad_()


def slope_of(value, *inputs):
    return torch.autograd.grad(value, inputs, retain_graph=True)


# -- SFT is the forward KL --


@pytest.mark.parametrize("swap", [False, True])
def test_the_chain_rule_of_the_trajectory_kl(setting, swap):
    world = setting.world
    demo, policy = (setting.policy, setting.demo) if swap else (setting.demo, setting.policy)
    reached = world.occupancy(demo).sum(-1)
    by_state = divergence("forward_kl", demo=demo, policy=policy)
    whole = world.trajectory_divergence("forward_kl", demo=demo, policy=policy)
    assert torch.allclose((reached * by_state).sum(), whole, **EXACT)


def sft(setting, logits, position_weights=1.0):
    """The expected SFT loss a response: every response weighed by the demonstrator's law."""
    world = setting.world
    mask = (world.responses() >= 0) * setting.law("demo")[:, None] * position_weights
    return objectives.sft_loss(world.token_logprobs(logits.softmax(-1)), mask, constant=1)


def test_sft_is_the_forward_kl_plus_the_demonstrators_entropy(setting):
    world, logits = setting.world, logits_of(setting.policy)
    kl = world.trajectory_divergence("forward_kl", demo=setting.demo, policy=logits.softmax(-1))
    loss = sft(setting, logits)
    assert torch.allclose(loss - world.entropy(setting.demo), kl, **EXACT)
    assert torch.allclose(*slope_of(loss, logits), *slope_of(kl, logits), **EXACT)


def test_matching_all_prefixes_is_position_weighted_sft(setting):
    world, logits = setting.world, logits_of(setting.policy)
    weights = objectives.prefix_weights(world.horizon, horizon=world.horizon)
    loss = sft(setting, logits, weights)
    matched = world.prefix_divergence("forward_kl", demo=setting.demo, policy=logits.softmax(-1))
    entropies = sum(
        -torch.xlogy(law, law).sum()
        for law in (world.prefix_law(setting.demo, length=k) for k in range(1, world.horizon + 1))
    )
    assert torch.allclose(loss - entropies, matched, **EXACT)
    assert torch.allclose(*slope_of(loss, logits), *slope_of(matched, logits), **EXACT)


# -- the best discriminator --


def bce(setting, logits):
    return objectives.discriminator_bce(
        logits_on_demo=logits,
        logits_on_policy=logits,
        weights_on_demo=setting.law("demo"),
        weights_on_policy=setting.law("policy"),
    )


def test_the_best_discriminators_logit_is_the_log_ratio_and_its_loss_log_two_minus_js(setting):
    best = (setting.law("demo").log() - setting.law("policy").log()).requires_grad_()
    loss = bce(setting, best)
    js = divergence("jensen_shannon", demo=setting.law("demo"), policy=setting.law("policy"))
    assert torch.allclose(loss, math.log(2) - js, **EXACT)
    assert slope_of(loss, best)[0].abs().max() < 1e-12
    for seed in range(5):
        noise = torch.randn(best.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert bce(setting, best.detach() + 0.1 * noise) > loss + 1e-4


# -- divergences and the rewards that descend them --


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_the_policy_gradient_of_each_reward_descends_its_divergence(setting, record):
    world, demo, logits = setting.world, setting.law("demo"), logits_of(setting.policy)
    policy = logits.softmax(-1)
    law = world.response_law(policy)
    rewards = record.policy_reward(demo.log() - law.log()).detach()
    [descent] = slope_of(divergence(record, demo=demo, policy=law), logits)
    theorem = world.policy_gradient(policy.detach(), rewards=rewards)
    assert torch.allclose(theorem, -descent, **EXACT)
    loss = objectives.reinforce(logprobs=law.log(), rewards=rewards, baseline=0.7, weights=law.detach())
    assert torch.allclose(*slope_of(loss, logits), descent, **EXACT)


def test_rloo_is_unbiased_over_all_pairs_of_samples(setting):
    world, logits = setting.world, logits_of(setting.policy)
    law = world.response_law(logits.softmax(-1))
    keep = 12  # pairs of the first responses, under their renormalised law
    some = law[:keep] / law[:keep].sum()
    rewards = setting.rewards[:keep]
    [exact] = slope_of((some * rewards).sum(), logits)
    logs, total = some.log(), torch.zeros_like(exact)
    for i in range(keep):
        for j in range(keep):
            pair = torch.tensor([i, j])
            loss = objectives.rloo(logprobs=logs[pair], rewards=rewards[pair])
            total += (some[i] * some[j]).detach() * slope_of(loss, logits)[0]
    assert torch.allclose(total, -exact, **EXACT)


# -- DPO and SPIN --


def pair_loss(loss, *, law, preferred, rejected, reference, beta):
    """The expected loss of DPO or SPIN over all pairs: (preferred, rejected) drawn independently."""
    log, reference_log = law.log(), reference.log()
    shape = (len(law), len(law))
    roles = ("preferred", "rejected") if loss is objectives.dpo else ("demo", "generated")
    return loss(
        **{roles[0]: log[:, None].expand(shape), roles[1]: log[None].expand(shape)},
        **{f"reference_{roles[0]}": reference_log[:, None].expand(shape)},
        **{f"reference_{roles[1]}": reference_log[None].expand(shape)},
        beta=beta,
        weights=preferred[:, None] * rejected[None],
    )


def assert_optimum(value, best):
    """The loss has no slope at `best`, and is larger at the laws around it."""
    logits = best.log().requires_grad_()
    least = value(logits.softmax(-1))
    assert slope_of(least, logits)[0].abs().max() < 1e-10
    for seed in range(5):
        noise = torch.randn(best.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert value((best.log() + 0.1 * noise).softmax(-1)) > least + 1e-8


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("loss", [objectives.dpo, objectives.spin])
def test_the_population_optimum_on_demonstrations_is_geometric(setting, loss, beta):
    demo, init = setting.law("demo"), setting.law("init")
    best = tilting.dpo_optimum(demo=demo, reference=init, beta=beta)
    by_hand = init * (demo / init) ** (1 / beta)
    assert torch.allclose(best, by_hand / by_hand.sum(), **EXACT)
    assert_optimum(
        lambda law: pair_loss(loss, law=law, preferred=demo, rejected=init, reference=init, beta=beta), best
    )
    further = divergence("forward_kl", demo=best, policy=init) > divergence(
        "forward_kl", demo=demo, policy=init
    )
    assert further == (beta < 1)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_spin_rests_at_the_demonstrator_and_nowhere_else(setting, beta):
    demo = setting.law("demo")
    rest = tilting.dpo_optimum(demo=demo, reference=demo, beta=beta)
    assert torch.allclose(rest, demo, **EXACT)
    law = setting.law("init")
    assert divergence("total_variation", demo=law, policy=demo) > 0.1
    moved = tilting.dpo_optimum(demo=demo, reference=law, beta=beta)
    assert divergence("total_variation", demo=law, policy=moved) > 0.05


def test_spin_converges_slowly_at_large_beta_and_never_below_a_half(setting):
    """Each round multiplies the log ratio to the demonstrator by 1 - 1 / beta: beta < 1/2 diverges."""
    demo = setting.law("demo")
    for beta in (0.75, 1.0, 4.0):
        law = setting.law("init")
        for _ in range(80):
            law = tilting.dpo_optimum(demo=demo, reference=law, beta=beta)
        assert divergence("total_variation", demo=law, policy=demo) < 1e-8
    law = setting.law("init")
    away = [divergence("total_variation", demo=law, policy=demo)]
    for _ in range(3):
        law = tilting.dpo_optimum(demo=demo, reference=law, beta=0.4)
        away.append(divergence("total_variation", demo=law, policy=demo))
    assert away[-1] > away[0]


def test_dpos_implicit_reward_gives_back_bradley_terry(setting):
    """On preferences that follow Bradley-Terry for a reward, DPO's optimum has that reward + constant."""
    reference, rewards, beta = setting.law("init"), setting.rewards, 0.3
    best = tilting.regularised_optimum(reference=reference, rewards=rewards, temperature=beta)
    implied = objectives.implicit_reward(policy=best.log(), reference=reference.log(), beta=beta)
    gap = implied - rewards
    assert torch.allclose(gap, gap[0].expand_as(gap), **EXACT)
    # preferred y over y' with probability sigmoid(r(y) - r(y')), both drawn from the policy, another law
    law = setting.law("policy")
    wins = torch.sigmoid(rewards[:, None] - rewards[None]) * law[:, None] * law[None]
    shape = wins.shape

    def value(law):
        return objectives.dpo(
            preferred=law.log()[:, None].expand(shape),
            rejected=law.log()[None].expand(shape),
            reference_preferred=reference.log()[:, None].expand(shape),
            reference_rejected=reference.log()[None].expand(shape),
            beta=beta,
            weights=wins,
        )

    assert_optimum(value, best)
    # and there DPO's loss is Bradley-Terry's at the true reward
    bradley_terry = objectives.bradley_terry(
        preferred=rewards[:, None].expand(shape), rejected=rewards[None].expand(shape), weights=wins
    )
    assert torch.allclose(value(best), bradley_terry, **EXACT)


@pytest.mark.parametrize("loss", [objectives.dpo, objectives.spin])
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_dpo_and_spin_are_log_two_at_the_start(setting, loss, beta):
    law = setting.law("policy")
    start = pair_loss(loss, law=law, preferred=setting.law("demo"), rejected=law, reference=law, beta=beta)
    assert start.item() == pytest.approx(math.log(2), abs=1e-12)
