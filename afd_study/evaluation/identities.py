"""The ledger's identities, each computed on an enumerated world of token sequences: the largest error.

The laws are unequal and asymmetric on purpose: with equal ones a swap or a wrong sign would go unnoticed.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from afd_study.theory.gallery import reward_gaps
from afd_study.theory.listing import slope, worst
from afd_study.theory.objectives import discriminator_bce, prefix_weights, sft_loss
from afd_study.theory.token_mdp import TokenMDP


def errors() -> dict[str, float]:
    """Return the largest error of every identity, in nats (gradients: nats a logit)."""
    return {name: check() for name, check in IDENTITIES.items()}


def _world() -> tuple[TokenMDP, Tensor, Tensor]:
    """Return a world of 4 tokens and 3 steps, a demonstrator and a policy."""
    world, draw = TokenMDP(4, 3), torch.Generator().manual_seed(11)
    demo, policy = (world.random_policy(generator=draw, scale=scale) for scale in (1.3, 0.7))
    return world, demo, policy


def _expected_sft_loss(
    world: TokenMDP, demo: Tensor, policy: Tensor, weights: Tensor | float = 1.0
) -> Tensor:
    mask = (world.responses() >= 0) * world.response_law(demo)[:, None] * weights
    return sft_loss(world.token_logprobs(policy), mask, constant=1)


def _sft_is_forward_kl() -> float:
    """SFT's loss - H(demo) and KL(demo || policy): values, and gradients in the policy's logits."""
    world, demo, table = _world()
    logits = table.log().requires_grad_()
    loss = _expected_sft_loss(world, demo, logits.softmax(-1)) - world.entropy(demo)
    kl = world.trajectory_divergence("forward_kl", demo=demo, policy=logits.softmax(-1))
    return max(worst(loss.detach(), kl.detach()), worst(slope(loss, logits), slope(kl, logits)))


def _logit_descends_reverse_kl() -> float:
    """Policy gradient with the logit as reward, and the descent of KL(policy || demo)."""
    world, demo, policy = _world()
    gaps = reward_gaps(world, demo=demo, policy=policy).set_index("divergence")["gap"]
    return float(gaps["reverse_kl"])


def _prefix_matching_is_weighted_sft() -> float:
    """The sum of the KLs of all prefix laws, and SFT with token t weighted by T - t + 1: gradients."""
    world, demo, table = _world()
    logits = table.log().requires_grad_()
    weights = prefix_weights(world.horizon, horizon=world.horizon)
    loss = _expected_sft_loss(world, demo, logits.softmax(-1), weights)
    matched = world.prefix_divergence("forward_kl", demo=demo, policy=logits.softmax(-1))
    return worst(slope(loss, logits), slope(matched, logits))


def _best_discriminator_is_closed_form() -> float:
    """A discriminator of pi_SFT against pi_init, fitted from zero by Newton's method, and their log ratio."""
    world, sft, init = _world()
    high, low = world.response_law(sft), world.response_law(init)
    logits = torch.zeros_like(high)
    for _ in range(50):
        fitted = logits.clone().requires_grad_()
        loss = discriminator_bce(
            logits_on_demo=fitted, logits_on_policy=fitted, weights_on_demo=high, weights_on_policy=low
        )
        chance = logits.sigmoid()  # the loss is a sum over responses, so its curvature is diagonal
        logits = logits - slope(loss, fitted) / ((high + low) / 2 * chance * (1 - chance))
    return worst(logits, high.log() - low.log())


def _endogenous_reward_is_likelihood() -> float:
    """Rewards that an inverse soft Bellman operator reads out of logits, summed over a response.

    The reward of a token is Q(s, a) - V(s'), with Q the logits and V their log-sum-exp, 0 after the end (Li
    et al. 2025, arXiv 2506.23235). Its sum telescopes to log policy of the response plus V of the first
    state. A response that is cut has no end: V of the state it was cut in is taken as 0 too.
    """
    world, draw = TokenMDP(4, 3), torch.Generator().manual_seed(12)
    logits = torch.randn(world.n_states, world.vocab_size, generator=draw, dtype=torch.float64)
    value = logits.logsumexp(-1)
    tokens, states = world.responses(), world.states()
    spoken = tokens >= 0
    action = logits[states.clamp(min=0), tokens.clamp(min=0)]
    following = torch.nn.functional.pad(states[:, 1:], (0, 1), value=-1)
    ahead = value[following.clamp(min=0)] * (following >= 0)
    reward = ((action - ahead) * spoken).sum(-1)
    return worst(reward, world.token_logprobs(logits.softmax(-1)).sum(-1) + value[0])


IDENTITIES: dict[str, Callable[[], float]] = {
    "sft_is_forward_kl": _sft_is_forward_kl,
    "logit_descends_reverse_kl": _logit_descends_reverse_kl,
    "prefix_matching_is_weighted_sft": _prefix_matching_is_weighted_sft,
    "best_init_sft_discriminator_is_closed_form": _best_discriminator_is_closed_form,
    "endogenous_reward_is_likelihood": _endogenous_reward_is_likelihood,
}
