"""Divergences from samples: which estimates are unbiased, how noisy they are, and what their gradient is.

**Sign.** Samples come from the policy, and log_ratio = log demo - log policy at each of them. Then k1, k2, k3
estimate KL(policy || demo), the reverse KL. (For the forward KL sample the demonstrator, and pass
log policy - log demo.) Samples must come from the very law whose log-probability is used: temperature 1, no
truncation, dropout off.

Value and gradient are different things: an estimate that averages to the right number may, differentiated
at fixed samples, average to the gradient of something else, for the samples' own dependence on the policy
is not seen. `KL_ESTIMATORS` says for each what its gradient is.
"""

from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from afd_study.theory import checks
from afd_study.theory.divergences import Divergence, Function, find, variational_bound


def k1(log_ratio: Tensor) -> Tensor:
    """Return -log_ratio: unbiased, of either sign, noisy; its gradient averages to zero."""
    return -log_ratio


def k2(log_ratio: Tensor) -> Tensor:
    """Return log_ratio^2 / 2: biased upwards or downwards; its gradient averages to the reverse KL's."""
    return log_ratio**2 / 2


def k3(log_ratio: Tensor) -> Tensor:
    """Return e^L - 1 - L, by `expm1`: unbiased, never negative; its gradient averages to the *forward* KL's.

    Unbiased only where the policy emits whatever the demonstrator does. It is `plug_in` of the reverse KL.
    Its variance can be infinite where the demonstrator's mass lies in the policy's tails.
    """
    return torch.expm1(log_ratio) - log_ratio


@dataclass(frozen=True)
class KlEstimator:
    """An estimate of KL(policy || demo) from the log ratio at a sample of the policy."""

    estimate: Function
    """Elementwise, of log_ratio = log demo - log policy."""
    unbiased: bool
    """Whether its mean is KL(policy || demo)."""
    gradient: str | None
    """The divergence whose gradient it averages to when differentiated at fixed samples; None: zero."""
    use: str


KL_ESTIMATORS: dict[str, KlEstimator] = {
    "k1": KlEstimator(k1, True, None, "as a reward (held fixed) under REINFORCE; never as a loss"),
    "k2": KlEstimator(k2, False, "reverse_kl", "as a loss on fresh samples; never as a value"),
    "k3": KlEstimator(k3, True, "forward_kl", "as a value; as a loss it descends the forward KL"),
}
"""Schulman 2020, "Approximating KL divergence"; gradients as in Tang and Munos 2025, arXiv 2506.09477."""


def full_distribution_kl(*, policy: ArrayLike, demo: ArrayLike, mask: ArrayLike | None = None) -> Tensor:
    """Return each sampled response's sum, over its prefixes, of KL(policy || demo) between next-token laws.

    Unbiased for the KL between laws of responses, by the chain rule, and less noisy than k1: the token's own
    draw is averaged out, only the prefixes are sampled. Its gradient at fixed samples misses how the policy
    moves the prefixes: add REINFORCE with the KL still to come as the cost, or use it as a value only.

    Args:
        policy: next-token log-probabilities at the sampled prefixes, (responses, tokens, vocabulary).
        demo: the same of the demonstrator, same shape.
        mask: 1 where a token was sampled (EOS included), 0 after, (responses, tokens); None for all.

    Returns:
        Shape (responses,), nats.

    Raises:
        SpecError: shapes differ, NaN.
    """
    policy, demo = checks.numbers("policy", policy), checks.numbers("demo", demo)
    checks.same_shape(policy=policy, demo=demo)
    mass = policy.exp()
    steps = torch.where(mass > 0, mass * (policy - demo).where(mass > 0, 0.0), 0.0).sum(-1)
    if mask is None:
        return steps.sum(-1)
    mask = checks.numbers("mask", mask)
    checks.same_shape(mask=mask, steps=steps)
    return torch.where(mask > 0, mask * steps.where(mask > 0, 0.0), 0.0).sum(-1)


def plug_in(name_or_record: str | Divergence, *, log_ratio: ArrayLike) -> Tensor:
    """Return f(e^L) at samples of the policy: its mean is unbiased for D_f, whatever the divergence.

    Needs the log ratio itself (or a discriminator's logit), and a policy that emits all that the
    demonstrator does. The variance grows with f's growth: worst for Pearson and forward KL, whose f sees e^L.
    """
    return find(name_or_record).generator(checks.numbers("log_ratio", log_ratio).exp())


def variational(
    name_or_record: str | Divergence, *, logits_on_demo: ArrayLike, logits_on_policy: ArrayLike
) -> Tensor:
    """Return the variational bound with a discriminator's logits as critic, samples on the last axis.

    For fixed logits it is an unbiased estimate of a *lower bound* of D_f, tight where the logits are
    log demo - log policy (for total variation, infinite with that sign). Fitted and evaluated on the same
    samples it is biased upwards. In the critic it may be ascended; in the policy the gradient is the policy
    gradient of `policy_reward`, not autograd's through the samples.
    """
    record = find(name_or_record)
    on_demo = checks.numbers("logits_on_demo", logits_on_demo)
    on_policy = checks.numbers("logits_on_policy", logits_on_policy)
    return variational_bound(
        record,
        critic_on_demo=record.critic_activation(on_demo),
        critic_on_policy=record.critic_activation(on_policy),
    )


def mean_and_variance(values: ArrayLike, *, law: ArrayLike) -> tuple[Tensor, Tensor]:
    """Return the exact mean and variance of a per-sample estimate under a finite law, last axis summed.

    The variance of the average of n independent samples is the variance over n.
    """
    values, law = checks.numbers("values", values), checks.law("law", law)
    mean = checks.mean("values", values, law)
    return mean, checks.mean("values", (values - mean[..., None]) ** 2, law)
