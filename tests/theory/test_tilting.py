"""Beyond the demonstrator: optima that are geometric, and how far tilting token by token is from them."""

import pytest
import torch

from afd_study.errors import SpecError
from afd_study.theory import tilting
from afd_study.theory.divergences import divergence


def near(law, seed):
    """A law a little way from `law`."""
    noise = torch.randn(law.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (law.log() + 0.1 * noise).softmax(-1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_regularised_optimum_is_one(setting, temperature):
    reference, rewards = setting.law("init"), setting.rewards
    best = tilting.regularised_optimum(reference=reference, rewards=rewards, temperature=temperature)

    def value(law):
        return tilting.regularised_value(
            policy=law, reference=reference, rewards=rewards, temperature=temperature
        )

    assert all(value(best) > value(near(best, seed)) for seed in range(10))
    # its value is the temperature times the log partition function
    partition = (reference * (rewards / temperature).exp()).sum().log()
    assert value(best).item() == pytest.approx((temperature * partition).item(), abs=1e-10)
    logits = best.log().requires_grad_()
    [slope] = torch.autograd.grad(value(logits.softmax(-1)), logits)
    assert slope.abs().max() < 1e-10


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_rl_on_the_log_ratio_is_the_geometric_extrapolation_from_both_references(setting, temperature):
    sft, init = setting.law("demo"), setting.law("init")
    rewards = sft.log() - init.log()
    for reference, strength in ((sft, 1 + 1 / temperature), (init, 1 / temperature)):
        best = tilting.regularised_optimum(reference=reference, rewards=rewards, temperature=temperature)
        line = tilting.extrapolation(sft=sft, init=init, strength=strength)
        assert torch.allclose(best, line, atol=1e-10, rtol=0)
        by_hand = sft**strength * init ** (1 - strength)
        assert torch.allclose(line, by_hand / by_hand.sum(), atol=1e-10, rtol=0)


def test_extrapolation_passes_through_both_laws(setting):
    sft, init = setting.law("demo"), setting.law("init")
    assert torch.allclose(tilting.extrapolation(sft=sft, init=init, strength=0), init, atol=1e-14)
    assert torch.allclose(tilting.extrapolation(sft=sft, init=init, strength=1), sft, atol=1e-14)
    # and moves away from init all the way
    gone = [
        divergence("forward_kl", demo=tilting.extrapolation(sft=sft, init=init, strength=s), policy=init)
        for s in (0, 0.5, 1, 1.5, 2, 3)
    ]
    assert (torch.stack(gone).diff() > 0.01).all()


def test_tilting_every_token_is_another_law_but_between_the_laws_themselves(setting):
    world, sft, init = setting.world, setting.demo, setting.init
    gaps = {}
    for strength in (0, 0.5, 1, 1.5, 2, 3):
        whole = tilting.extrapolation(sft=setting.law("demo"), init=setting.law("init"), strength=strength)
        tokens = tilting.extrapolation(sft=sft, init=init, strength=strength)
        gaps[strength] = divergence("reverse_kl", demo=whole, policy=world.response_law(tokens)).item()
    assert gaps[0] == pytest.approx(0, abs=1e-12)
    assert gaps[1] == pytest.approx(0, abs=1e-12)
    assert 0.01 < gaps[0.5] < gaps[1.5] < gaps[2] < gaps[3]


@pytest.mark.parametrize("strength", [0.5, 1.5, 3.0])
def test_the_sequence_law_weighs_each_token_by_what_may_follow(setting, strength):
    """Its policy is the tilted token times the tilted mass of all continuations, by backward induction."""
    world, sft, init = setting.world, setting.demo, setting.init
    whole = tilting.extrapolation(sft=setting.law("demo"), init=setting.law("init"), strength=strength)
    tilted = sft**strength * init ** (1 - strength)
    following, rows = torch.ones(world.eos**world.horizon, dtype=torch.float64), []
    for block in reversed(list(world.levels(tilted))):
        ends = torch.ones(len(block), 1, dtype=torch.float64)
        weighed = block * torch.cat([following.view(-1, world.eos), ends], dim=1)
        following = weighed.sum(-1)
        rows.append(weighed / following[:, None])
    assert torch.allclose(world.policy_of_law(whole), torch.cat(rows[::-1]), atol=1e-10, rtol=0)


def test_zeros():
    sft, init = [0.0, 0.5, 0.5], [0.2, 0.8, 0.0]
    assert tilting.extrapolation(sft=sft, init=init, strength=0.5).tolist() == pytest.approx([0, 1, 0])
    assert tilting.extrapolation(sft=sft, init=init, strength=1).tolist() == pytest.approx(sft)
    beyond = tilting.extrapolation(sft=[0.0, 0.3, 0.7], init=[0.2, 0.4, 0.4], strength=2)
    weights = torch.tensor([0, 0.09 / 0.4, 0.49 / 0.4], dtype=torch.float64)
    assert torch.allclose(beyond, weights / weights.sum(), atol=1e-14)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: tilting.extrapolation(sft=[0.5, 0.5], init=[1.0, 0.0], strength=2), "smooth init"),
        (lambda: tilting.extrapolation(sft=[1.0, 0.0], init=[0.0, 1.0], strength=0.5), "in common"),
        (lambda: tilting.extrapolation(sft=[1.0], init=[1.0], strength=-1), "strength = -1"),
        (lambda: tilting.extrapolation(sft=[1.0], init=[0.5, 0.5], strength=1), "outcomes differ"),
        (lambda: tilting.extrapolation(sft=[0.9], init=[1.0], strength=1), "sft sums to 1"),
        (lambda: tilting.dpo_optimum(demo=[1.0], reference=[1.0], beta=0), "beta = 0"),
        (
            lambda: tilting.regularised_optimum(reference=[1.0], rewards=[1.0], temperature=-2),
            "temperature = -2",
        ),
        (
            lambda: tilting.regularised_optimum(reference=[1.0], rewards=[float("inf")], temperature=1),
            "rewards holds an infinite",
        ),
    ],
)
def test_bad_input_names_the_argument(call, says):
    with pytest.raises(SpecError, match=says):
        call()


# pessimism: the chi-square regularised optimum


@pytest.mark.parametrize("beta", [0.05, 0.3, 1.0, 20.0])
def test_the_pessimistic_optimum_is_one(setting, beta):
    reference, rewards = setting.law("init"), setting.rewards
    best = tilting.pessimistic_optimum(reference=reference, rewards=rewards, beta=beta)

    def value(law):
        return tilting.pessimistic_value(policy=law, reference=reference, rewards=rewards, beta=beta).item()

    assert best.sum().item() == pytest.approx(1, abs=1e-12) and (best >= 0).all()
    # concave over all laws: no law on the way to any outcome is better
    for outcome in torch.eye(len(best), dtype=torch.float64):
        for step in (1e-4, 0.01, 0.3, 1.0):
            assert value((1 - step) * best + step * outcome) <= value(best) + 1e-12
    # inside its support all outcomes have the same marginal value, and none outside has a higher one
    marginal = rewards - beta * (best / reference - 1)
    level = marginal[best > 0]
    assert (level - level[0]).abs().max() < 1e-9 and (marginal <= level[0] + 1e-9).all()


def test_pessimism_by_hand():
    # two outcomes: w = (r - level) / beta, mean 1: 1 +- 1 / (2 beta) while that is positive
    law = tilting.pessimistic_optimum(reference=[0.5, 0.5], rewards=[1.0, 0.0], beta=2.0)
    assert law.tolist() == pytest.approx([0.5 * 1.25, 0.5 * 0.75], abs=1e-14)
    alone = tilting.pessimistic_optimum(reference=[0.5, 0.5], rewards=[1.0, 0.0], beta=0.4)
    assert alone.tolist() == pytest.approx([1.0, 0.0], abs=1e-14)
    value = tilting.pessimistic_value(policy=law, reference=[0.5, 0.5], rewards=[1.0, 0.0], beta=2.0)
    assert value.item() == pytest.approx(0.625 - (0.625 - 0.5) ** 2 / 0.5 * 2, abs=1e-14)


def test_pessimism_goes_from_the_highest_reward_to_the_reference():
    reference = torch.tensor([0.4, 0.45, 0.15, 0.0], dtype=torch.float64)
    rewards = torch.tensor([1.0, 3.0, 3.0, 9.0])  # what the reference never emits pays nothing
    laws = [
        tilting.pessimistic_optimum(reference=reference, rewards=rewards, beta=beta)
        for beta in (1e-9, 0.1, 1.0, 10.0, 1e9)
    ]
    assert laws[0].tolist() == pytest.approx([0, 0.75, 0.25, 0], abs=1e-12)  # ties by the reference's share
    assert laws[-1].tolist() == pytest.approx(reference.tolist(), abs=1e-8)
    means = [(law * rewards.double()).sum().item() for law in laws]
    assert means == sorted(means, reverse=True) and means[1] > means[3]


def test_only_differences_of_rewards_count_and_the_unit_of_beta_is_theirs():
    rewards = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    reference = torch.full((7,), 1 / 7, dtype=torch.float64)
    law = tilting.pessimistic_optimum(reference=reference, rewards=rewards, beta=0.5)
    other = tilting.pessimistic_optimum(reference=reference, rewards=100 + 4 * rewards, beta=2.0)
    assert law.shape == (5, 7) and torch.allclose(law, other, atol=1e-12)
    with pytest.raises(SpecError, match="beta = 0"):
        tilting.pessimistic_optimum(reference=reference, rewards=rewards, beta=0)
