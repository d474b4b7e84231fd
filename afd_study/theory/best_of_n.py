"""Best-of-N: what keeping the best-scored of n draws is worth, and how far it goes from the policy.

There are two settings, both exact in float64. For a finite **pool** of scored draws, `expected_best` gives
the mean value of the best of n of them, which is the Best-of-N curve. For a finite **law**, `law_of_best`
gives the law of the best of n draws, and `kl_of_best` its KL from the law in nats. Equal scores share the
win.
"""

import math

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from afd_study.errors import SpecError
from afd_study.theory import checks


def expected_best(*, values: ArrayLike, scores: ArrayLike, n: ArrayLike) -> Tensor:
    """Return the mean value of the best-scored of n draws, over all subsets of n out of the N in a pool.

    Unbiased for the value of Best-of-n under the law that the pool was drawn from, without the noise of
    picking one subset. The draw of rank i (1 = lowest score) is the best of
    C(i - 1, n - 1) of the C(N, n) subsets. Draws of equal score share their group's chances equally.

    Args:
        values: what a pick is worth (the judge's score), (..., N), finite.
        scores: what picks it (a reward model's score), same shape; infinite scores are allowed.
        n: a whole number from 1 to N, or a one-dimensional list of them.

    Returns:
        Shape (...) for a single n, (..., len(n)) for a list; float64.

    Raises:
        SpecError: NaN, shapes differ, n < 1 or n > N.
    """
    values, scores = checks.finite("values", values), checks.numbers("scores", scores)
    checks.same_shape(values=values, scores=scores)
    size = _pool_size("values", values)
    n_list, single = checks.counts(
        "n", n, limit=size, remedy=", the draws a prompt; draw more or ask for fewer"
    )
    ranked, order = _sorted(scores)
    shared = _mean_over_ties(values.gather(-1, order), ranked)
    best = shared @ _rank_weights(size, n_list).to(shared)
    return best.squeeze(-1) if single else best


def win_rate_in_pool(*, values: ArrayLike, scores: ArrayLike, n: ArrayLike) -> Tensor:
    """Return how often the best-scored of n draws is worth more than another draw of the pool, ties half.

    The opponent is none of the n: the mean over all subsets of n and all draws outside of each. Let the draw
    of rank i (0 = lowest score) win more than A_i of those above it in score and B_i of those below. It is
    the best of C(i, n - 1) of the C(N, n) subsets. All draws above are outside of these, and one below is in
    a share 1 - (n - 1) / i of them, so that

        rate = sum over i of  C(i, n - 1) / C(N, n)  (A_i + (1 - (n - 1) / i) B_i) / (N - n).

    Draws of equal score take every order of rank equally often. Among themselves they win half.

    Args:
        values: what a draw is worth, (..., N), finite; leading axes broadcast against those of `scores`.
        scores: what picks, (..., N); infinite scores are allowed.
        n: a whole number from 1 to N - 1, or a one-dimensional list of them.

    Returns:
        Shape (...) for a single n, (..., len(n)) for a list; float64, in [0, 1].

    Raises:
        SpecError: NaN, other numbers of draws, n < 1 or n >= N.
    """
    values, scores = checks.finite("values", values), checks.numbers("scores", scores)
    checks.same_outcomes(values=values, scores=scores)
    size = _pool_size("scores", scores)
    n_list, single = checks.counts("n", n, limit=size - 1, remedy=", the draws but one; draw more")
    wins = ((values[..., :, None] - values[..., None, :]).sign().float() + 1) / 2  # halves, and so exact
    ranked, order = _sorted(scores)
    rank, (place, ties) = torch.arange(size, dtype=torch.float64), _places(ranked)
    lower = wins * (scores[..., None, :] < scores[..., :, None])
    below = _mean_over_ties(lower.sum(-1).double().gather(-1, order), ranked)
    every = (wins.sum(-1).double() - 0.5).expand_as(scores).gather(-1, order)  # the rivals but itself
    above = _mean_over_ties(every, ranked) - below - ties / 2
    chances, sizes = _rank_weights(size, n_list), torch.tensor(n_list, dtype=torch.float64)
    outside = ((rank[:, None] - sizes + 1) / rank.clamp(min=1)[:, None]).clamp(min=0)
    rates = (above + (ties - place) / 2) @ chances + (below + place / 2) @ (chances * outside)
    rates = rates / (size - sizes)
    return rates.squeeze(-1) if single else rates


def law_of_best(*, law: ArrayLike, scores: ArrayLike, n: int) -> Tensor:
    """Return the law of the best-scored of n independent draws from `law`, ties broken by a fair lot.

    A score level with mass m, and mass F at or below it, wins with F^n - (F - m)^n; within a level
    responses keep their proportions under `law`.

    Args:
        law: probabilities, (..., outcomes).
        scores: their scores, same shape.
        n: a whole number from 1.

    Returns:
        Probabilities, shape of `law`, float64.

    Raises:
        SpecError: not a law, NaN, shapes differ, n < 1.
    """
    law, mass, wins = _levels(law, scores, n)
    share = torch.where(mass > 0, law / mass.where(mass > 0, 1.0), 0.0)
    return share * wins


def kl_of_best(*, law: ArrayLike, scores: ArrayLike, n: int) -> Tensor:
    """Return KL(best of n || law) in nats, exact: the sum over score levels of b log(b / m).

    Arguments and errors as in `law_of_best`; shape (...). At most `kl_bound(n)`, reached where no two
    draws score equal.
    """
    law, mass, wins = _levels(law, scores, n)
    ratio = torch.where(mass > 0, wins / mass.where(mass > 0, 1.0), 0.0)
    return torch.special.xlogy(law * ratio, ratio).sum(-1)


def kl_of_pool(*, scores: ArrayLike, n: int) -> Tensor:
    """Return the Best-of-n KL in nats with a pool of draws standing in for their law; shape (...).

    `kl_of_best` of the pool's own frequencies. Repeated responses must score alike, which they do under any
    deterministic scorer. Where no draws repeat it understates `kl_bound(n)`, the truth then, by under
    0.07 nats at N = n and 0.006 from N = 4 n on.

    Args:
        scores: scores of the pool's draws, (..., N).
        n: a whole number from 1 to N.

    Raises:
        SpecError: NaN, an empty pool, n < 1 or n > N.
    """
    scores = checks.numbers("scores", scores)
    size = _pool_size("scores", scores)
    checks.counts(
        "n", n, limit=size, remedy=", the draws a prompt; draw more (4 n at least) or ask for fewer"
    )
    return kl_of_best(law=torch.full_like(scores, 1 / size), scores=scores, n=n)


def kl_bound(n: ArrayLike) -> Tensor:
    """Return log n - (n - 1) / n in nats: an upper bound of the Best-of-n KL, loose where scores repeat.

    Equality needs a law without ties (Beirami et al. 2024, arXiv 2401.01879). `n` is a whole number or a
    list of them; the shape follows.
    """
    n_list, single = checks.counts("n", n)
    bound = torch.tensor([math.log(k) - (k - 1) / k for k in n_list], dtype=torch.float64)
    return bound[0] if single else bound


def win_shares(*, values: ArrayLike, opponents: ArrayLike) -> Tensor:
    """Return for each value the share of opponents it beats, a tie counting half.

    With these as `values`, `expected_best` gives the win rate of Best-of-n.

    Args:
        values: (..., N), no NaN.
        opponents: (..., M), the same leading axes.

    Returns:
        Shape of `values`, in [0, 1].

    Raises:
        SpecError: NaN, no opponents, or leading axes that differ.
    """
    values, opponents = checks.numbers("values", values), checks.numbers("opponents", opponents)
    _pool_size("values", values)
    size = _pool_size("opponents", opponents)
    if values.shape[:-1] != opponents.shape[:-1]:
        shapes = f"values {tuple(values.shape)}, opponents {tuple(opponents.shape)}"
        raise SpecError(f"leading axes differ: {shapes}; give each prompt its own row on both sides")
    ranked, _ = _sorted(opponents)
    below = torch.searchsorted(ranked, values.contiguous(), side="left")
    not_above = torch.searchsorted(ranked, values.contiguous(), side="right")
    return (below + not_above).double() / (2 * size)


def win_rate(*, values: ArrayLike, opponents: ArrayLike) -> Tensor:
    """Return the share of all (value, opponent) pairs that the value wins, a tie counting half; shape (...).

    Arguments and errors as in `win_shares`.
    """
    return win_shares(values=values, opponents=opponents).mean(-1)


def _pool_size(name: str, pool: Tensor) -> int:
    """Return the length of the last axis; SpecError if there is none, or it is empty."""
    if pool.ndim == 0 or pool.shape[-1] == 0:
        raise SpecError(f"{name} has shape {tuple(pool.shape)}; its last axis must hold at least one draw")
    return pool.shape[-1]


def _sorted(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Sort along the last axis: by NumPy, which takes a fifth of the time that torch does (book/log.md)."""
    order = torch.from_numpy(scores.detach().numpy().argsort(-1))
    return scores.gather(-1, order), order


def _rank_weights(size: int, n_list: list[int]) -> Tensor:
    """Return w[i, j] = C(i, n_j - 1) / C(size, n_j), the chance that rank i of 0 ... size - 1 is the best.

    From the top rank downwards, w(size - 1) = n / size and w(i - 1) = w(i) (i - n + 1) / i: a product of
    numbers in [0, 1] without cancellation, exactly 0 once fewer than n - 1 ranks lie below.
    """
    n = torch.tensor(n_list, dtype=torch.float64)
    rank = torch.arange(size - 1, 0, -1, dtype=torch.float64)[:, None]
    steps = ((rank - n + 1) / rank).clamp(min=0)
    return torch.cat([n[None] / size, steps]).cumprod(0).flip(0)


def _mean_over_ties(values: Tensor, ranked: Tensor) -> Tensor:
    """Replace each value by the mean over the draws of equal score; both sorted by score, (..., N)."""
    if not (ranked[..., 1:] == ranked[..., :-1]).any():
        return values  # scores of models hardly ever tie, and averaging over ties doubles the time
    group = _group_of(ranked)
    empty = torch.zeros_like(values)
    total = empty.scatter_add(-1, group, values)
    number = empty.scatter_add(-1, group, torch.ones_like(values))
    return (total / number.clamp(min=1)).gather(-1, group)


def _places(ranked: Tensor) -> tuple[Tensor, Tensor]:
    """Return each draw's place (from 0) among those of its score, and how many others there are of it."""
    group = _group_of(ranked)
    number = torch.zeros_like(ranked).scatter_add(-1, group, torch.ones_like(ranked))
    first = (number.cumsum(-1) - number).gather(-1, group)
    return torch.arange(ranked.shape[-1]) - first, number.gather(-1, group) - 1


def _group_of(ranked: Tensor) -> Tensor:
    """Return the index of each entry's score level, from 0, for scores sorted along the last axis."""
    starts = torch.zeros_like(ranked, dtype=torch.int64)
    starts[..., 1:] = (ranked[..., 1:] != ranked[..., :-1]).long()
    return starts.cumsum(-1)


def _levels(law: ArrayLike, scores: ArrayLike, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return `law`, and for each outcome the mass of its score level and the chance that its level wins."""
    law, scores = checks.law("law", law), checks.numbers("scores", scores)
    checks.same_shape(law=law, scores=scores)
    [draws], _ = checks.counts("n", [n])
    ranked, order = _sorted(scores)
    group = _group_of(ranked)
    mass = torch.zeros_like(law).scatter_add(-1, group, law.gather(-1, order))
    reached = mass.cumsum(-1)
    share = torch.where(reached > 0, mass / reached.where(reached > 0, 1.0), 0.0).clamp(max=1)
    # F^n - (F - m)^n = F^n (1 - (1 - m / F)^n), which keeps its digits where m is small
    wins = reached**draws * -torch.expm1(draws * torch.log1p(-share))
    back = order.argsort(dim=-1)
    return law, mass.gather(-1, group).gather(-1, back), wins.gather(-1, group).gather(-1, back)
