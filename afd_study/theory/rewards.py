r"""Which transform of the discriminator's logit serves as the reward decides what is descended.

With the logit L = log demo - log policy held fixed, the policy gradient of a reward g(e^L) is that of
-D_f for the f with u f''(u) = g'(u), since f* o f' has the slope u f''(u). So an increasing g belongs to
exactly one divergence (f'' > 0), and a g that falls somewhere belongs to none: there f would be concave, and
the "divergence" could be negative. The names are those of the imitation papers that use them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from afd_study.errors import unknown_name
from afd_study.theory.divergences import DIVERGENCES, Function


@dataclass(frozen=True)
class RewardTransform:
    """One way to turn the logit L = log D - log(1 - D), high on demonstrations, into a reward."""

    formula: str
    """In LaTeX, of D."""
    reward: Function
    """The reward of the logit."""
    descends: str | None
    """What its policy gradient descends; None if no divergence."""
    generator: Function | None
    """The f of that divergence, up to f + c (u - 1) + const; None if there is none."""
    sign: str
    """Whether it pays for every further token (positive), charges for it (negative), or either (both)."""
    source: str


def _log_d_generator(u: Tensor) -> Tensor:
    """Return the f of 2 KL(m || demo), m = (demo + policy) / 2: (1 + u) log((1 + u) / (2 u))."""
    return (1 + u) * ((1 + u) / (2 * u)).log()


REWARD_TRANSFORMS: dict[str, RewardTransform] = {
    "airl": RewardTransform(
        formula=r"\log D - \log(1 - D)",
        reward=lambda L: L,
        descends="reverse_kl",
        generator=DIVERGENCES["reverse_kl"].generator,
        sign="both",
        source="Fu, Luo and Levine 2018, arXiv 1710.11248",
    ),
    "gail": RewardTransform(
        formula=r"-\log(1 - D)",
        reward=softplus,
        descends="gan",
        generator=DIVERGENCES["gan"].generator,
        sign="positive",
        source="Ho and Ermon 2016, arXiv 1606.03476",
    ),
    "log_d": RewardTransform(
        formula=r"\log D",
        reward=logsigmoid,
        descends="2 KL(m || demo), m = (demo + policy) / 2",
        generator=_log_d_generator,
        sign="negative",
        source="the non-saturating loss of Goodfellow et al. 2014, arXiv 1406.2661",
    ),
    "density_ratio": RewardTransform(
        formula=r"D / (1 - D)",
        reward=torch.exp,
        descends="forward_kl",
        generator=DIVERGENCES["forward_kl"].generator,
        sign="positive",
        source="design of this study: the reward that descends what FAIRL's was meant to",
    ),
    "fairl": RewardTransform(
        formula=r"-\frac{D}{1 - D} \log \frac{D}{1 - D}",
        reward=lambda L: -L * L.exp(),
        descends=None,
        generator=None,
        sign="both",
        source="Ghasemipour, Zemel and Gu 2019, arXiv 1911.02256",
    ),
}


def find(name: str) -> RewardTransform:
    """Return the transform of a name; SpecError with the nearest name if unknown."""
    if name not in REWARD_TRANSFORMS:
        raise unknown_name("reward transform", name, REWARD_TRANSFORMS)
    return REWARD_TRANSFORMS[name]


def implied_curvature(reward: Callable[[Tensor], Tensor], *, log_ratio: Tensor) -> Tensor:
    """Return g'(u) / u at u = e^L for a reward g(e^L): the f''(u) of whatever its policy gradient descends.

    Negative values show that the reward descends no divergence. (As L = log u, g'(u) / u is the slope of the
    reward in L, over u squared.)

    Args:
        reward: a function of the logit, elementwise.
        log_ratio: where to look, any shape.
    """
    at = log_ratio.detach().double().requires_grad_()
    [slope] = torch.autograd.grad(reward(at).sum(), at)
    return slope * (-2 * at.detach()).exp()
