r"""Every divergence between a demonstrator and a policy, with what it takes to estimate and to descend it.

All are f-divergences, D_f = sum policy f(u) with u = demo / policy and f convex (Csiszar 1967). From f alone
follow the rest, so that no two columns of the table can disagree about conventions:

* the **conjugate** f*(t) = sup over u >= 0 of u t - f(u), and with it the variational bound
  D_f >= E_demo[T] - E_policy[f*(T)] for every critic T (Nguyen et al. 2010; Nowozin et al. 2016);
* the **optimal critic** T = f'(u), where the bound is an equality;
* the **policy reward** f*(f'(u)): with it held fixed, the policy gradient ascends where D_f descends, for
  d/dpolicy of policy f(demo / policy) is f(u) - u f'(u) = -f*(f'(u)).

The log ratio L = log u = log demo - log policy is the logit of the best discriminator of demonstrations
(high) against samples of the policy (low). Critics and rewards are functions of L.

Every f here but that of `gan` is normalised by f(1) = f'(1) = 0, which changes no divergence: it makes each
summand non-negative and each critic 0 where the laws agree. Laws are float64 tensors whose last axis holds
the outcomes; values are in nats.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from afd_study.errors import SpecError, unknown_name
from afd_study.theory import checks

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Divergence:
    """One f-divergence. All functions are elementwise on tensors and differentiable inside their domains."""

    formula: str
    """Its definition in LaTeX, with p the demonstrator's law and q the policy's."""
    generator: Function
    """f(u) for u = demo / policy in [0, inf); f(0) is the limit."""
    mirror: Function
    """u f(1 / u): the generator of the same divergence with the two laws swapped."""
    conjugate: Function
    """f*(t); inf outside its domain."""
    optimal_critic: Function
    """f'(e^L) of the log ratio L: the critic that makes the variational bound an equality."""
    policy_reward: Function
    """The reward, of the logit L, whose policy gradient descends this divergence: f*(f'(e^L)) + constant."""
    activation: Function | None = None
    """A smooth map from all reals into the domain of f*, where `optimal_critic` is not one."""

    def critic_activation(self, value: Tensor) -> Tensor:
        """Map a network's output, any real, into the domain of f*.

        The best output is the log ratio for every divergence but total variation. There the critic is a
        step, and the best output is infinite with the log ratio's sign.
        """
        return (self.activation or self.optimal_critic)(value)


def _log_at_least(value: Tensor) -> Tensor:
    """Return log(value), and -inf at and below 0, so that a conjugate is inf outside its domain."""
    return value.clamp(min=0).log()


DIVERGENCES: dict[str, Divergence] = {
    "forward_kl": Divergence(
        formula=r"\sum p \log (p / q)",
        generator=lambda u: torch.xlogy(u, u) - u + 1,
        mirror=lambda u: -u.log() + u - 1,
        conjugate=torch.expm1,
        optimal_critic=lambda L: L,
        policy_reward=torch.exp,
    ),
    "reverse_kl": Divergence(
        formula=r"\sum q \log (q / p)",
        generator=lambda u: -u.log() + u - 1,
        mirror=lambda u: torch.xlogy(u, u) - u + 1,
        conjugate=lambda t: -_log_at_least(1 - t),
        optimal_critic=lambda L: -torch.expm1(-L),
        policy_reward=lambda L: L,
    ),
    "jensen_shannon": Divergence(
        formula=r"\tfrac12 \sum p \log (p / m) + \tfrac12 \sum q \log (q / m), \quad m = (p + q) / 2",
        generator=lambda u: (torch.xlogy(u, u) - (1 + u) * ((1 + u) / 2).log()) / 2,
        mirror=lambda u: (torch.xlogy(u, u) - (1 + u) * ((1 + u) / 2).log()) / 2,
        conjugate=lambda t: -_log_at_least(2 - (2 * t).exp()) / 2,
        optimal_critic=lambda L: (math.log(2) + logsigmoid(L)) / 2,
        policy_reward=lambda L: softplus(L) / 2,
    ),
    "gan": Divergence(  # what the saddle point of Goodfellow et al. 2014 descends: 2 JS - log 4
        formula=r"2 \, \mathrm{JS}(p, q) - \log 4",
        generator=lambda u: torch.xlogy(u, u) - (1 + u) * (1 + u).log(),
        mirror=lambda u: torch.xlogy(u, u) - (1 + u) * (1 + u).log(),
        conjugate=lambda t: -_log_at_least(-torch.expm1(t)),
        optimal_critic=logsigmoid,
        policy_reward=softplus,
    ),
    "pearson_chi2": Divergence(
        formula=r"\sum (p - q)^2 / q",
        generator=lambda u: (u - 1) ** 2,
        mirror=lambda u: (u - 1) ** 2 / u,
        conjugate=lambda t: (t.clamp(min=-2) / 2 + 1) ** 2 - 1,
        optimal_critic=lambda L: 2 * torch.expm1(L),
        policy_reward=lambda L: (2 * L).exp(),
    ),
    "neyman_chi2": Divergence(
        formula=r"\sum (p - q)^2 / p",
        generator=lambda u: (u - 1) ** 2 / u,
        mirror=lambda u: (u - 1) ** 2,
        conjugate=lambda t: torch.where(t <= 1, 2 - 2 * (1 - t).clamp(min=0).sqrt(), torch.inf),
        optimal_critic=lambda L: -torch.expm1(-2 * L),
        policy_reward=lambda L: -2 * (-L).exp(),
    ),
    "squared_hellinger": Divergence(
        formula=r"1 - \sum \sqrt{p q}",
        generator=lambda u: (1 - u.sqrt()) ** 2 / 2,
        mirror=lambda u: (1 - u.sqrt()) ** 2 / 2,
        conjugate=lambda t: torch.where(t < 0.5, t / (1 - 2 * t), torch.inf),
        optimal_critic=lambda L: -torch.expm1(-L / 2) / 2,
        policy_reward=lambda L: (L / 2).exp() / 2,
    ),
    "total_variation": Divergence(
        formula=r"\tfrac12 \sum |p - q|",
        generator=lambda u: (u - 1).abs() / 2,
        mirror=lambda u: (u - 1).abs() / 2,
        conjugate=lambda t: torch.where(t <= 0.5, t.clamp(min=-0.5), torch.inf),
        optimal_critic=lambda L: L.sign() / 2,
        policy_reward=lambda L: L.sign() / 2,
        activation=lambda v: (v / 2).tanh() / 2,
    ),
}


def alpha_divergence(a: float) -> Divergence:
    """Return the alpha-divergence, f(u) = (u^a - a u - (1 - a)) / (a (a - 1)), for any real `a`.

    a = 1 is forward KL, a = 0 reverse KL, 2 and -1 half Pearson and half Neyman, 1/2 four times squared
    Hellinger: from covering to seeking as `a` falls (Amari 1985; Minka 2005). Swapping the laws turns a into
    1 - a. Raises SpecError unless `a` is finite.
    """
    if not math.isfinite(a):
        raise SpecError(f"a = {a} must be a finite number; forward KL is a = 1, reverse KL a = 0")
    return Divergence(
        formula=rf"\frac{{\sum p^{{{a:g}}} q^{{{1 - a:g}}} - 1}}{{{a:g} ({a:g} - 1)}}",
        generator=lambda u: _alpha_generator(u, a),
        mirror=lambda u: _alpha_generator(u, 1 - a),
        conjugate=lambda t: _alpha_conjugate(t, a),
        optimal_critic=lambda L: _power(L, a - 1),
        policy_reward=lambda L: _power(L, a),
    )


def generalized_jensen_shannon(w: float) -> Divergence:
    """Return w KL(demo || m) + (1 - w) KL(policy || m) with m = w demo + (1 - w) policy, for 0 < w < 1.

    w = 1/2 is Jensen-Shannon. It vanishes at both ends: it is the quotient by w (1 - w) that tends to
    forward KL as w -> 0 and to reverse KL as w -> 1 (other texts swap w and 1 - w, or divide differently).
    Raises SpecError for other `w`.
    """
    if not 0 < w < 1:
        raise SpecError(f"w = {w} must lie inside (0, 1); for the ends use forward_kl (0) or reverse_kl (1)")
    return Divergence(
        formula=rf"{w:g} \sum p \log (p / m) + {1 - w:g} \sum q \log (q / m), \; m = {w:g} p + {1 - w:g} q",
        generator=lambda u: w * torch.xlogy(u, u) - (1 + w * (u - 1)) * torch.log1p(w * (u - 1)),
        mirror=lambda u: (1 - w) * torch.xlogy(u, u) - (w + (1 - w) * u) * torch.log1p((1 - w) * (u - 1)),
        conjugate=lambda t: (1 - w) * (math.log1p(-w) - _log_at_least(1 - w * (t / w).exp())),
        optimal_critic=lambda L: w * (L - _log_mixture(L, w)),
        policy_reward=lambda L: (1 - w) * _log_mixture(L, w),
    )


FAMILIES: dict[str, Callable[[float], Divergence]] = {
    "alpha_divergence": alpha_divergence,
    "generalized_jensen_shannon": generalized_jensen_shannon,
}


def find(name_or_record: str | Divergence) -> Divergence:
    """Return the record of a name, or the record given; SpecError with the nearest name if unknown."""
    if isinstance(name_or_record, Divergence):
        return name_or_record
    if name_or_record in FAMILIES:
        raise SpecError(f"'{name_or_record}' is a family; pass a member, such as {name_or_record}(0.5)")
    if name_or_record not in DIVERGENCES:
        raise unknown_name("divergence", name_or_record, DIVERGENCES)
    return DIVERGENCES[name_or_record]


def divergence(name_or_record: str | Divergence, *, demo: ArrayLike, policy: ArrayLike) -> Tensor:
    """Return D_f between two laws in nats, exact and differentiable, `inf` where it is infinite.

    Outcomes that neither law emits count nothing. Where one law is zero the summand is its limit:
    policy f(0) where demo = 0, and demo times the limit of f(u) / u at infinity where policy = 0. To keep
    all digits each summand is computed from the smaller of the two ratios.

    Args:
        name_or_record: a key of `DIVERGENCES`, or a record, such as `alpha_divergence(0.5)`.
        demo: the demonstrator's probabilities, (..., outcomes).
        policy: the policy's probabilities; leading axes broadcast.

    Returns:
        Shape (...), float64.

    Raises:
        SpecError: an unknown name; a law with NaN, negative or not summing to 1; unequal numbers of outcomes.
    """
    record = find(name_or_record)
    demo, policy = checks.law("demo", demo), checks.law("policy", policy)
    checks.same_outcomes(demo=demo, policy=policy)
    p, q = torch.broadcast_tensors(demo, policy)
    below, above = _summand(record.generator, p, q), _summand(record.mirror, q, p)
    return torch.where(p <= q, below, above).sum(-1)


def variational_bound(
    name_or_record: str | Divergence,
    *,
    critic_on_demo: ArrayLike,
    critic_on_policy: ArrayLike,
    weights_on_demo: ArrayLike | None = None,
    weights_on_policy: ArrayLike | None = None,
) -> Tensor:
    """Return E_demo[T] - E_policy[f*(T)]: at most D_f for any critic T, equal to it at the optimal one.

    Args:
        name_or_record: a key of `DIVERGENCES`, or a record.
        critic_on_demo: T at samples of the demonstrator, last axis averaged.
        critic_on_policy: T at samples of the policy, last axis averaged; the numbers may differ.
        weights_on_demo: the demonstrator's law over the last axis where all outcomes are listed, or None.
        weights_on_policy: the policy's law over the last axis where all outcomes are listed, or None.

    Raises:
        SpecError: an unknown name, NaN, weights that are no law.
    """
    record = find(name_or_record)
    critic_on_demo = checks.numbers("critic_on_demo", critic_on_demo)
    critic_on_policy = checks.numbers("critic_on_policy", critic_on_policy)
    gain = checks.mean("critic_on_demo", critic_on_demo, weights_on_demo)
    return gain - checks.mean("critic_on_policy", record.conjugate(critic_on_policy), weights_on_policy)


def _summand(generator: Function, small: Tensor, large: Tensor) -> Tensor:
    """Return large x generator(small / large) where small <= large; anything elsewhere, without NaN."""
    inside, only_large = (small > 0) & (small <= large), (small == 0) & (large > 0)
    ratio = small.where(inside, 1.0) / large.where(inside, 1.0)
    # zeros are handled apart: through the ratio their gradient would be the slope at 0, which is inf, times 0
    at_zero = large.where(only_large, 1.0) * generator(torch.zeros_like(large))
    return torch.where(inside, large * generator(ratio), at_zero.where(only_large, 0.0))


def _power(log_u: Tensor, a: float) -> Tensor:
    """Return (u^a - 1) / a from log u, and its limit log u at a = 0."""
    return torch.expm1(a * log_u) / a if a else log_u


def _alpha_generator(u: Tensor, a: float) -> Tensor:
    """Return (u^a - a u - (1 - a)) / (a (a - 1)), without cancellation as a tends to 0 or 1."""
    if a <= 0.5:
        return (u - 1 - _power(u.log(), a)) / (1 - a)
    safe = u.where(u > 0, 1.0)
    return torch.where(u > 0, (1 - u + safe * _power(safe.log(), a - 1)) / a, 1 / a)


def _alpha_conjugate(t: Tensor, a: float) -> Tensor:
    """Return ((1 + (a - 1) t)^(a / (a - 1)) - 1) / a: -log(1 - t) at a = 0, e^t - 1 at a = 1."""
    if a == 1:
        return torch.expm1(t)
    log_u = torch.log1p(((a - 1) * t).clamp(min=-1)) / (a - 1)
    value = _power(log_u, a)
    return value if a > 1 else torch.where(1 + (a - 1) * t >= 0, value, torch.inf)


def _log_mixture(log_ratio: Tensor, w: float) -> Tensor:
    """Return log(w e^L + 1 - w) for any L."""
    return torch.logaddexp(log_ratio + math.log(w), torch.full_like(log_ratio, math.log1p(-w)))
