"""Going beyond: what regularised optimisation, DPO and SPIN converge to, as laws.

Under a KL all of them are geometric: a reference, tilted by the exponential of a reward. Under a chi-square
divergence the tilt is linear, and cut off at zero (`pessimistic_optimum`). Where the reward is the log
ratio of two laws, the result lies on the line through them in log-probability, between the two (strength
below 1) or beyond the further one (above 1). Laws are float64, the last axis holds the outcomes.
"""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from afd_study.errors import SpecError
from afd_study.theory import checks
from afd_study.theory.divergences import divergence


def regularised_value(
    *, policy: ArrayLike, reference: ArrayLike, rewards: ArrayLike, temperature: float
) -> Tensor:
    """Return E_policy[reward] - temperature x KL(policy || reference): what KL-regularised RL maximises.

    Laws are (..., outcomes), rewards broadcast against them; returns shape (...).
    """
    policy, rewards = checks.law("policy", policy), checks.finite("rewards", rewards)
    checks.same_outcomes(policy=policy, rewards=rewards)
    gone = divergence("forward_kl", demo=policy, policy=checks.law("reference", reference))
    return (policy * rewards).sum(-1) - checks.positive("temperature", temperature) * gone


def regularised_optimum(*, reference: ArrayLike, rewards: ArrayLike, temperature: float) -> Tensor:
    """Return reference x exp(reward / temperature), normalised: the optimum of `regularised_value`.

    With the reward log sft - log init this is `extrapolation` of strength 1 + 1 / temperature if the
    reference is sft, and of strength 1 / temperature if it is init.

    Raises:
        SpecError: no law, NaN, infinite rewards, unequal numbers of outcomes, temperature not positive.
    """
    reference, rewards = checks.law("reference", reference), checks.finite("rewards", rewards)
    checks.same_outcomes(reference=reference, rewards=rewards)
    return (reference.log() + rewards / checks.positive("temperature", temperature)).softmax(-1)


def pessimistic_value(*, policy: ArrayLike, reference: ArrayLike, rewards: ArrayLike, beta: float) -> Tensor:
    """Return E_policy[reward] - (beta / 2) chi2(policy || reference): what pessimistic selection maximises.

    chi2(p || q) = sum (p - q)^2 / q, Pearson's. Laws are (..., outcomes), rewards broadcast against them;
    beta is in units of the reward. Shape (...).
    """
    policy, rewards = checks.law("policy", policy), checks.finite("rewards", rewards)
    checks.same_outcomes(policy=policy, rewards=rewards)
    gone = divergence("pearson_chi2", demo=policy, policy=checks.law("reference", reference))
    return (policy * rewards).sum(-1) - checks.positive("beta", beta) / 2 * gone


def pessimistic_optimum(*, reference: ArrayLike, rewards: ArrayLike, beta: float) -> Tensor:
    """Return reference x max(0, (reward - level) / beta), a law: the optimum of `pessimistic_value`.

    This is InferenceTimePessimism's law (Huang et al. 2025, arXiv 2503.21878), the optimum under chi-square
    regularisation. With weights w = policy / reference the value is E_reference[w r - (beta / 2) (w - 1)^2],
    concave in w >= 0, and E_reference[w] = 1 has a multiplier m. Where w > 0, r - beta (w - 1) - m = 0;
    elsewhere r + beta - m <= 0. So w = max(0, (r - level) / beta) with level = m - beta. With the k highest
    rewards in its support, of mass Q and mean reward R, E_reference[w] = Q (R - level) / beta, so that
    level = R - beta / Q. The support is the largest k whose lowest reward is above its level. As beta grows
    the law becomes the reference; as it falls, the reference on the highest reward.

    Raises:
        SpecError: no law, NaN, infinite rewards, unequal numbers of outcomes, beta not positive.
    """
    reference, rewards = checks.law("reference", reference), checks.finite("rewards", rewards)
    checks.same_outcomes(reference=reference, rewards=rewards)
    beta = checks.positive("beta", beta)
    mass, paid = torch.broadcast_tensors(reference, rewards)
    # of what the reference emits the best is at 0, which keeps digits
    above = paid - torch.where(mass > 0, paid, -torch.inf).amax(-1, keepdim=True)
    ranked, order = above.sort(-1, descending=True)
    emitted = mass.gather(-1, order)
    total, tiny = emitted.cumsum(-1), torch.finfo(emitted.dtype).tiny
    levels = ((emitted * ranked).cumsum(-1) - beta) / total.clamp(min=tiny)
    inside = (ranked > levels) & (ranked <= 0)
    last = torch.where(inside, torch.arange(ranked.shape[-1]), 0).amax(-1, keepdim=True)
    law = mass * ((above - levels.gather(-1, last)) / beta).clamp(min=0)
    return law / law.sum(-1, keepdim=True)


def extrapolation(*, sft: ArrayLike, init: ArrayLike, strength: float) -> Tensor:
    """Return sft^strength x init^(1 - strength), normalised over the last axis.

    0 gives init, 1 gives sft, more goes beyond. On laws of responses it is what KL-regularised RL on
    log sft - log init reaches. On tables of next-token laws it tilts every token, as decoding can; that is
    *not* the same law of responses: the sequence law weighs a prefix by what may still follow it.

    Raises:
        SpecError: no laws, negative strength, or strength > 1 where sft emits what init never does.
    """
    sft, init = checks.law("sft", sft), checks.law("init", init)
    checks.same_outcomes(sft=sft, init=init)
    if not 0 <= strength < float("inf"):
        raise SpecError(f"strength = {strength} must be finite and not negative; 0 is init, 1 is sft")
    if strength > 1 and ((init == 0) & (sft > 0)).any():
        raise SpecError(
            "init gives no mass to outcomes that sft emits: the log ratio is infinite; smooth init"
        )
    log_weight = torch.zeros(torch.broadcast_shapes(sft.shape, init.shape), dtype=torch.float64)
    for law, power in ((sft, strength), (init, 1 - strength)):
        if power:  # 0^0 = 1, and what sft never emits stays out although init's power is negative
            log_weight = torch.where(law > 0, log_weight + power * law.log(), -torch.inf)
    if torch.isinf(log_weight).all(-1).any():
        raise SpecError("sft and init have no outcome in common; smooth one of them")
    return log_weight.softmax(-1)


def dpo_optimum(*, demo: ArrayLike, reference: ArrayLike, beta: float) -> Tensor:
    """Return the population optimum of `objectives.dpo` on pairs (demonstration, sample of the reference).

    The best margin of a pair is its difference of log demo - log reference, as for a discriminator; and the
    policy with implicit reward log demo - log reference is reference x (demo / reference)^(1 / beta).
    Beyond the demonstrations for beta < 1, the demonstrations at 1, short of them above. The same is the
    optimum of one round of SPIN from `reference`, whose fixed point is demo.
    """
    return extrapolation(sft=demo, init=reference, strength=1 / checks.positive("beta", beta))
