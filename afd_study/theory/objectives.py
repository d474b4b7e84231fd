"""The losses: the very functions that training minimises, on log-probabilities and logits it has computed.

Everything is in nats, differentiable, and of the dtype it is given. Two conventions hold throughout.

* **`constant`**: a loss is a sum over its items divided by `constant`. Left out, that is the sum of the
  weights (a plain mean). Training passes a number fixed before the first step, so that the gradient of a
  step doesn't depend on how its sequences were cut into micro-batches.
* **`weights`**: how much each item counts, 1 if left out. Passing a *law* over all responses of an
  enumerable world makes each loss its exact expectation. That is how the tests tie every loss here to the
  divergence it descends.

Values are not searched for NaN here (that would stall a GPU at every step); shapes are always checked.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from afd_study.errors import SpecError
from afd_study.theory.checks import positive, same_shape


def sft_loss(token_logprobs: Tensor, mask: Tensor, *, constant: float) -> Tensor:
    """Return supervised fine-tuning's loss: the summed token NLL of demonstrations, over `constant`.

    Up to the demonstrator's entropy this is the forward KL(demo || policy) between laws of whole responses
    (arXiv 2405.15624, section 3.1), provided that `constant` is the same at every step: sequences a step x
    the data set's mean response length (nats a token), or sequences a step alone (nats a response). A count
    of the tokens at hand instead would weigh each response by 1 / (length of its neighbours), which favours
    short ones. Being a constant, it also makes one batch of 8 equal to 8 batches of 1, summed.

    Args:
        token_logprobs: log-probabilities of the demonstrated tokens, (sequences, tokens), EOS included.
        mask: 1 where a token counts and 0 at prompt and padding, same shape; other weights (a law over
            sequences, `prefix_weights`) are allowed. Masked entries may hold anything, -inf and NaN too.
        constant: a positive number, see above.

    Raises:
        SpecError: shapes differ, or `constant` is not positive.
    """
    same_shape(token_logprobs=token_logprobs, mask=mask)
    counted = token_logprobs.masked_fill(mask == 0, 0.0)
    return -(counted * mask).sum() / positive("constant", constant)


def prefix_weights(length: int, *, horizon: int) -> Tensor:
    """Return T - t + 1 for t = 1 ... `length`, float64: SFT's weights when all prefixes' laws are matched.

    The sum over k = 1 ... T of KL(demo || policy) between the laws of the first k tokens counts the
    choice of token t once for every k >= t (arXiv 2403.12017). T is the fixed `horizon`, not a response's
    own length: with an absorbing EOS every prefix law has all its mass, and no length is favoured.

    Raises:
        SpecError: `length` exceeds `horizon`.
    """
    if not 0 < length <= horizon:
        raise SpecError(f"length = {length} must lie between 1 and the horizon {horizon}; raise the horizon")
    return torch.arange(horizon, horizon - length, -1, dtype=torch.float64)


def discriminator_bce(
    *,
    logits_on_demo: Tensor,
    logits_on_policy: Tensor,
    constant: float | None = None,
    weights_on_demo: Tensor | None = None,
    weights_on_policy: Tensor | None = None,
) -> Tensor:
    """Return the discriminator's cross-entropy, demonstrations (logit high) against samples of a policy.

    By default both sides weigh one half whatever their counts, so that the best logit is
    log demo - log policy and the best loss log 2 - JS(demo, policy) (Goodfellow et al. 2014, theorem 1).
    With `constant` (responses a step, both sides together) it is the sum over both sides divided by it,
    which is the same number when the sides are equally many.

    Args:
        logits_on_demo: any shape.
        logits_on_policy: any shape.
        constant: a positive number, or None for the balanced mean.
        weights_on_demo: weights of the shape of `logits_on_demo`, or None.
        weights_on_policy: weights of the shape of `logits_on_policy`, or None.

    Raises:
        SpecError: shapes differ, a side is empty, or `constant` is not positive.
    """
    demo = softplus(-logits_on_demo)
    policy = softplus(logits_on_policy)
    if constant is None:
        return (averaged(demo, weights_on_demo, None) + averaged(policy, weights_on_policy, None)) / 2
    return averaged(demo, weights_on_demo, constant) + averaged(policy, weights_on_policy, constant)


def bradley_terry(
    *, preferred: Tensor, rejected: Tensor, constant: float | None = None, weights: Tensor | None = None
) -> Tensor:
    """Return -log sigmoid(preferred - rejected), averaged: the NLL of preferences under Bradley-Terry.

    Args:
        preferred: rewards of the preferred responses, any shape.
        rejected: rewards of the rejected responses, same shape.
        constant: pairs a step, or None for the mean.
        weights: weights of the pairs, same shape, or None.

    Raises:
        SpecError: shapes differ, no pairs, or `constant` is not positive.
    """
    same_shape(preferred=preferred, rejected=rejected)
    return averaged(softplus(rejected - preferred), weights, constant)


def implicit_reward(*, policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    """Return beta (log policy - log reference), the reward for which `policy` is the KL-regularised optimum.

    Rafailov et al. 2023 (arXiv 2305.18290), equation 5, up to a constant a prompt. Arguments are
    log-probabilities of whole responses, of one shape.
    """
    same_shape(policy=policy, reference=reference)
    return positive("beta", beta) * (policy - reference)


def dpo(
    *,
    preferred: Tensor,
    rejected: Tensor,
    reference_preferred: Tensor,
    reference_rejected: Tensor,
    beta: float,
    constant: float | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Return direct preference optimisation's loss: Bradley-Terry on the policy's implicit reward.

    Rafailov et al. 2023 (arXiv 2305.18290), equation 7. It is log 2 at policy = reference. On pairs
    (demonstration, sample of init) with the reference init its population optimum is
    init (demo / init)^(1 / beta), normalised: it extrapolates beyond the demonstrations for beta < 1.

    Args:
        preferred: the policy's log-probabilities of the preferred responses (whole responses), any shape.
        rejected: the same of the rejected responses.
        reference_preferred: the frozen reference's log-probabilities of the preferred responses.
        reference_rejected: the same of the rejected responses.
        beta: strength; the smaller, the further the policy goes.
        constant: pairs a step, or None for the mean.
        weights: weights of the pairs, same shape, or None.

    Raises:
        SpecError: shapes differ, no pairs, `beta` or `constant` not positive.
    """
    return bradley_terry(
        preferred=implicit_reward(policy=preferred, reference=reference_preferred, beta=beta),
        rejected=implicit_reward(policy=rejected, reference=reference_rejected, beta=beta),
        constant=constant,
        weights=weights,
    )


def spin(
    *,
    demo: Tensor,
    generated: Tensor,
    reference_demo: Tensor,
    reference_generated: Tensor,
    beta: float,
    constant: float | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Return self-play fine-tuning's loss of one round (Chen et al. 2024, arXiv 2401.01335, equation 4.7).

    DPO with a demonstration as the preferred response, and as the rejected one a response `generated` by
    the policy of the round before, which is also the reference. So the optimum of a round is
    previous (demo / previous)^(1 / beta), normalised, and policy = demo is the fixed point for every beta.
    Arguments are as in `dpo`.

    Raises:
        SpecError: shapes differ, no pairs, `beta` or `constant` not positive.
    """
    return dpo(
        preferred=demo,
        rejected=generated,
        reference_preferred=reference_demo,
        reference_rejected=reference_generated,
        beta=beta,
        constant=constant,
        weights=weights,
    )


def reinforce(
    *,
    logprobs: Tensor,
    rewards: Tensor,
    baseline: Tensor | float = 0.0,
    constant: float | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Return a loss whose gradient is minus the policy gradient (Williams 1992); its value means nothing.

    Rewards and baseline are held fixed: no gradient passes through them. A baseline that doesn't depend on
    the response itself leaves the expected gradient as it is.

    Args:
        logprobs: log-probabilities of whole sampled responses, any shape.
        rewards: their rewards, same shape.
        baseline: what is subtracted from the rewards; broadcasts.
        constant: responses a step, or None for the mean.
        weights: weights of the responses, same shape, or None. Detached policy probabilities over all
            responses give the exact policy gradient.

    Raises:
        SpecError: shapes differ, no responses, or `constant` is not positive.
    """
    same_shape(logprobs=logprobs, rewards=rewards)
    advantage = (rewards - baseline).detach()
    return averaged(-advantage * logprobs, weights, constant)


def rloo(*, logprobs: Tensor, rewards: Tensor, constant: float | None = None) -> Tensor:
    """Return REINFORCE's loss with a leave-one-out baseline (Kool et al. 2019; Ahmadian et al. 2024).

    Each response's baseline is the mean reward of the *other* samples of its prompt, independent of it, so
    the gradient stays unbiased.

    Args:
        logprobs: log-probabilities of k independent samples a prompt, (..., k).
        rewards: their rewards, same shape.
        constant: responses a step, or None for the mean.

    Raises:
        SpecError: shapes differ, k < 2, or `constant` is not positive.
    """
    same_shape(logprobs=logprobs, rewards=rewards)
    return reinforce(logprobs=logprobs, rewards=rewards, baseline=leave_one_out(rewards), constant=constant)


def leave_one_out(rewards: Tensor) -> Tensor:
    """Return for each of a prompt's k samples the mean reward of the others, shape (..., k); see `rloo`.

    Raises:
        SpecError: k < 2.
    """
    k = rewards.shape[-1] if rewards.ndim else 0
    if k < 2:
        raise SpecError(
            f"rewards has k = {k} samples a prompt on its last axis; leave-one-out needs at least 2"
        )
    return (rewards.sum(-1, keepdim=True) - rewards) / (k - 1)


def ppo_clip(
    *,
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    clip: float,
    constant: float | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Return minus PPO's clipped surrogate (Schulman et al. 2017, arXiv 1707.06347, equation 7).

    min(ratio A, clamp(ratio, 1 - clip, 1 + clip) A), ratio = policy / old policy. Where the policy still is
    the old one, its gradient is that of `reinforce`. Further on, an item stops pulling once its ratio has
    gone beyond the clip the way its advantage pulls, and never when it has gone the other way.

    Args:
        logprobs: the policy's log-probabilities of what the old policy chose (tokens, or whole responses),
            any shape.
        old_logprobs: the old policy's, same shape; held fixed.
        advantages: rewards less baselines, same shape; held fixed.
        clip: half-width of the ratios' range around 1, in (0, 1).
        constant: responses a step, or None for the mean over items.
        weights: weights of the items, same shape, or None.

    Raises:
        SpecError: shapes differ, nothing to average, `clip` outside (0, 1), or `constant` is not positive.
    """
    same_shape(logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages)
    if not 0 < clip < 1:
        raise SpecError(f"clip = {clip} must lie in (0, 1); 0.2 is usual")
    ratio, advantages = (logprobs - old_logprobs.detach()).exp(), advantages.detach()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return averaged(-surrogate, weights, constant)


def averaged(losses: Tensor, weights: Tensor | None, constant: float | None) -> Tensor:
    """Sum `weights` x `losses` over all items and divide by `constant`, or by the sum of the weights."""
    if losses.numel() == 0:
        raise SpecError("there is nothing to average: pass at least one pair (or response) on every side")
    if weights is None:
        return losses.mean() if constant is None else losses.sum() / positive("constant", constant)
    same_shape(losses=losses, weights=weights)
    # an item of weight 0 may have an infinite loss, as a response that the law never emits has
    weighted = (losses.masked_fill(weights == 0, 0.0) * weights).sum()
    return weighted / (weights.sum() if constant is None else positive("constant", constant))
