r"""Self-play by least squares: a squared loss on pairs (demonstration, own sample) bounds the rewards.

SPIN's loss (objectives.spin) is logistic: a demonstration that the last policy hardly says pulls without
bound, for the best implicit reward is the log ratio itself. The squared loss asks for a margin of 1 instead.

Let p be the demonstrator's law and q the last policy's, and h(y) = beta (log policy(y) - log q(y)) the
implicit reward, of which the pairs see differences alone. The loss E_{y ~ p, y' ~ q} (h(y) - h(y') - 1)^2 is
convex in h. Its derivative by h(y) is 0 where

    p(y) (h(y) - E_q h - 1) + q(y) (h(y) - E_p h + 1) = 0.

With the free constant such that E_q h = -E_p h this is h(y) (p + q) = (p - q) (1 - E_p h), that is

    h* = tanh(L / 2) / (1 + D),   L = log p - log q,   D = chi2(p || m) = \sum (p - m)^2 / m, m = (p + q) / 2:

tanh(L / 2) = (p - q) / (p + q), whose mean under p is D and under q is -D, hence E_p h* = D / (1 + D). The
least loss is (1 - D) / (1 + D): the loss fits a chi-square divergence between the demonstrator and the
mixture of both, as the logistic one fits Jensen-Shannon. The optimal policy is q exp(h* / beta), normalised:
no two responses' log odds differ from those of q by more than 2 / beta nats, and p = q is the fixed point.

Li et al. 2026 (arXiv 2602.01357) propose self-play by a chi-square divergence with bounded rewards. Only
their abstract was read. This loss is derived here, with the pair's difference in place of two single terms
because a normalised policy can't have the constant that single terms would ask for. It has the form of IPO's
(Azar et al. 2023, arXiv 2310.12036, equation 17), and the mixture is that of LS-IQ (Al-Hafez et al. 2023,
arXiv 2303.00599).
"""

from torch import Tensor

from afd_study.theory.checks import same_shape
from afd_study.theory.objectives import averaged, implicit_reward


def squared_pairs(
    *,
    preferred: Tensor,
    rejected: Tensor,
    reference_preferred: Tensor,
    reference_rejected: Tensor,
    beta: float,
    constant: float | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Return (margin of implicit rewards - 1)^2, averaged: 1 at policy = reference. No nats: rewards squared.

    Arguments are as in `objectives.dpo`.

    Raises:
        SpecError: shapes differ, no pairs, `beta` or `constant` not positive.
    """
    high = implicit_reward(policy=preferred, reference=reference_preferred, beta=beta)
    low = implicit_reward(policy=rejected, reference=reference_rejected, beta=beta)
    same_shape(preferred=high, rejected=low)
    return averaged((high - low - 1).square(), weights, constant)
