"""The token MDP against a recursion over strings that knows nothing of tensors."""

import math

import pytest
import torch

from afd_study.errors import SpecError
from afd_study.theory.divergences import divergence
from afd_study.theory.token_mdp import TokenMDP

SHAPES = [(2, 1), (2, 4), (3, 3), (4, 3), (5, 2)]

worlds = pytest.mark.parametrize("world", [TokenMDP(*shape) for shape in SHAPES], ids=str)


def random_policy(world, seed=3, scale=1.0):
    return world.random_policy(generator=torch.Generator().manual_seed(seed), scale=scale)


def prefixes(world):
    """All live prefixes, by length and then lexically: the states."""
    listed, level = [], [()]
    for _ in range(world.horizon):
        listed += level
        level = [(*prefix, word) for prefix in level for word in range(world.vocab_size - 1)]
    return listed, level


def strings(world):
    """All responses in the library's order."""
    live, cut = prefixes(world)
    return [(*prefix, world.vocab_size - 1) for prefix in live] + cut


def chance(world, policy, string):
    """The probability that a response begins with `string`, one token after the other."""
    state = {prefix: row for row, prefix in enumerate(prefixes(world)[0])}
    return math.prod(policy[state[string[:t]], token].item() for t, token in enumerate(string))


@worlds
def test_responses_states_and_lengths_are_listed_in_order(world):
    listed = strings(world)
    state = {prefix: row for row, prefix in enumerate(prefixes(world)[0])}
    assert (world.n_states, world.n_responses) == (len(state), len(listed))
    pad = [-1] * world.horizon
    assert world.responses().tolist() == [(list(string) + pad)[: world.horizon] for string in listed]
    assert world.lengths().tolist() == [len(string) for string in listed]
    visited = [[state[string[:t]] for t in range(len(string))] for string in listed]
    assert world.states().tolist() == [(row + pad)[: world.horizon] for row in visited]


@worlds
def test_the_law_of_responses(world):
    policy = random_policy(world)
    law = world.response_law(policy)
    by_hand = [chance(world, policy, string) for string in strings(world)]
    assert torch.allclose(law, torch.tensor(by_hand, dtype=torch.float64), atol=1e-14, rtol=0)
    assert law.sum().item() == pytest.approx(1, abs=1e-12)
    logprobs = world.token_logprobs(policy)
    assert torch.allclose(logprobs.sum(-1).exp(), law, atol=1e-14, rtol=0)
    assert ((logprobs == 0) == (world.responses() < 0)).all() or world.vocab_size == 2


@worlds
def test_entropy_and_expected_length(world):
    policy = random_policy(world)
    chances = {string: chance(world, policy, string) for string in strings(world)}
    entropy = -sum(p * math.log(p) for p in chances.values())
    length = sum(p * len(string) for string, p in chances.items())
    assert world.entropy(policy).item() == pytest.approx(entropy, abs=1e-12)
    assert world.expected_length(policy).item() == pytest.approx(length, abs=1e-12)


@worlds
def test_prefix_laws_gather_what_begins_alike(world):
    policy = random_policy(world)
    for length in range(1, world.horizon + 1):
        gathered = {}
        for string in strings(world):
            begun = string[:length]
            gathered[begun] = gathered.get(begun, 0.0) + chance(world, policy, string)
        law = world.prefix_law(policy, length=length)
        shorter = strings(TokenMDP(world.vocab_size, length))
        assert law.tolist() == pytest.approx([gathered[begun] for begun in shorter], abs=1e-12)


@worlds
@pytest.mark.parametrize("gamma", [1.0, 0.7])
def test_occupancies(world, gamma):
    policy = random_policy(world)
    live, _ = prefixes(world)
    visits = world.occupancy(policy, gamma=gamma)
    law = world.occupancy_law(policy, gamma=gamma)
    total = sum(gamma**t for t in range(world.horizon))
    for row, prefix in enumerate(live):
        for token in range(world.vocab_size):
            reached = chance(world, policy, (*prefix, token))
            assert visits[row, token].item() == pytest.approx(gamma ** len(prefix) * reached, abs=1e-12)
            ended = token == world.eos
            times = range(len(prefix), world.horizon if ended else len(prefix) + 1)
            share = reached * sum(gamma**t for t in times) / total
            assert law[row, token].item() == pytest.approx(share, abs=1e-12)
    assert law.sum().item() == pytest.approx(1, abs=1e-12)


def test_occupancy_without_discount_sums_to_the_expected_length(setting):
    world, policy = setting.world, setting.policy
    by_length = (setting.law("policy") * world.lengths()).sum()
    assert torch.allclose(world.occupancy(policy).sum(), by_length, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["forward_kl", "reverse_kl", "jensen_shannon", "pearson_chi2", "total_variation"]
)
@pytest.mark.parametrize("gamma", [1.0, 0.6])
def test_occupancy_divergence_is_the_weighted_mean_of_prefix_divergences(setting, name, gamma):
    world, pair = setting.world, {"demo": setting.demo, "policy": setting.policy}
    weights = [gamma**k for k in range(world.horizon)]
    prefix = [
        divergence(name, **{who: world.prefix_law(table, length=k) for who, table in pair.items()}).item()
        for k in range(1, world.horizon + 1)
    ]
    mean = sum(w * d for w, d in zip(weights, prefix, strict=True)) / sum(weights)
    assert world.occupancy_divergence(name, **pair, gamma=gamma).item() == pytest.approx(mean, abs=1e-12)
    assert world.prefix_divergence(name, **pair).item() == pytest.approx(sum(prefix), abs=1e-12)
    assert world.trajectory_divergence(name, **pair).item() == pytest.approx(prefix[-1], abs=1e-12)


def test_divergences_at_every_level_know_demo_from_policy(setting):
    world = setting.world
    for level in (world.trajectory_divergence, world.prefix_divergence, world.occupancy_divergence):
        there = level("forward_kl", demo=setting.demo, policy=setting.policy)
        back = level("forward_kl", demo=setting.policy, policy=setting.demo)
        assert torch.allclose(back, level("reverse_kl", demo=setting.demo, policy=setting.policy), atol=1e-12)
        assert abs(there - back) > 0.01


@worlds
def test_policy_of_law_inverts_the_law(world):
    policy = random_policy(world)
    assert torch.allclose(world.policy_of_law(world.response_law(policy)), policy, atol=1e-12)
    law = torch.zeros(world.n_responses)
    law[-1] = 1.0
    assert torch.allclose(world.response_law(world.policy_of_law(law)), law.double(), atol=1e-15)


def test_policies_with_zeros_have_exact_laws():
    world = TokenMDP(3, 2)
    policy = torch.tensor([[0.0, 0.25, 0.75], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    # responses: EOS, 0 EOS, 1 EOS, 00, 01, 10, 11
    assert world.response_law(policy).tolist() == [0.75, 0, 0, 0, 0, 0.25, 0]
    assert world.entropy(policy).item() == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


@worlds
def test_the_policy_gradient_against_autograd(world):
    rewards = torch.randn(world.n_responses, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    logits = random_policy(world).log().requires_grad_()
    value = (world.response_law(logits.softmax(-1)) * rewards).sum()
    [slope] = torch.autograd.grad(value, logits)
    policy = logits.detach().softmax(-1)
    assert torch.allclose(world.policy_gradient(policy, rewards=rewards), slope, atol=1e-10, rtol=0)
    at_start = (policy[0] * world.action_values(policy, rewards=rewards)[0]).sum()
    assert at_start.item() == pytest.approx(value.item(), abs=1e-12)


def test_a_million_responses():
    world = TokenMDP(11, 6)
    assert world.n_responses == 1_111_111
    demo, policy = random_policy(world, seed=1), random_policy(world, seed=2, scale=0.5)
    exact = world.trajectory_divergence("forward_kl", demo=demo, policy=policy)
    reached = world.occupancy(demo).sum(-1)
    by_chain_rule = (reached * divergence("forward_kl", demo=demo, policy=policy)).sum()
    assert exact.item() == pytest.approx(by_chain_rule.item(), abs=1e-10)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: TokenMDP(10, 8), "horizon = 8 .* makes 48,427,561 responses, above the limit of 5,000,000"),
        (lambda: TokenMDP(50_000, 1_000), "about 1e4699 responses"),
        (lambda: TokenMDP(2, 10**9), "1,000,000,001 responses"),
        (lambda: TokenMDP(1, 3), "vocab_size = 1 leaves nothing but EOS"),
        (lambda: TokenMDP(3, 0), "horizon = 0"),
        (lambda: TokenMDP(3, 2.0), "horizon must be whole"),
        (lambda: TokenMDP(3, 2).response_law(torch.ones(3, 4) / 4), "policy has shape .3, 4.; .* .3, 3."),
        (lambda: TokenMDP(3, 1).response_law([[0.2, 0.2, 0.2]]), "policy sums to 1 only"),
        (lambda: TokenMDP(3, 1).response_law([[math.nan, 0.5, 0.5]]), "policy holds NaN"),
        (lambda: TokenMDP(3, 1).response_law([[-0.5, 1, 0.5]]), "policy holds a negative"),
        (lambda: TokenMDP(3, 1).policy_of_law([0.5, 0.5]), "law has shape .2,.; .* 3 responses"),
        (
            lambda: TokenMDP(3, 1).trajectory_divergence(
                "kl", demo=[[0.2, 0.3, 0.5]], policy=[[0.2, 0.3, 0.5]]
            ),
            "unknown divergence 'kl'",
        ),
        (
            lambda: TokenMDP(3, 1).occupancy_divergence("reverse_kl", demo=[[1.0]], policy=[[0.2, 0.3, 0.5]]),
            "demo has shape",
        ),
        (lambda: TokenMDP(3, 1).prefix_law([[0.2, 0.3, 0.5]], length=2), "length = 2 is above 1"),
        (lambda: TokenMDP(3, 1).prefix_law([[0.2, 0.3, 0.5]], length=0), "length = 0 is below 1"),
        (lambda: TokenMDP(3, 1).occupancy([[0.2, 0.3, 0.5]], gamma=1.5), "gamma = 1.5"),
        (lambda: TokenMDP(3, 1).policy_gradient([[0.2, 0.3, 0.5]], rewards=[1.0]), "rewards has shape"),
    ],
)
def test_bad_input_names_the_argument_and_the_remedy(call, says):
    with pytest.raises(SpecError, match=says):
        call()
