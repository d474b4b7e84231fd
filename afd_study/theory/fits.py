"""What a policy too small for its demonstrator becomes under each divergence: covering and seeking.

A `Family` maps a few real parameters to a law. `fit` descends a divergence over them by gradient on exact
values, from several starts, and keeps the best: what remains differs by the divergence alone, not by the
luck of an optimiser. Two settings: a Gaussian for a mixture on a grid, and a policy of few parameters for a
demonstrator with two kinds of answer on the token MDP.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import softplus

from afd_study.errors import SpecError
from afd_study.theory import checks
from afd_study.theory.divergences import Divergence, divergence, find
from afd_study.theory.token_mdp import TokenMDP

_RESTARTS = 4
_OUT_OF_REACH = 1e4
_FEW = 12


@dataclass(frozen=True)
class Family:
    """Laws that can be reached: `size` unbounded real parameters, and the law that they stand for."""

    size: int
    law: Callable[[Tensor], Tensor]
    spread: float = 1.0
    """Standard deviation of the parameters of a random start."""


@dataclass(frozen=True)
class Fit:
    """The best of several descents."""

    parameters: Tensor
    law: Tensor
    value: float
    """The divergence reached, in nats (chi-square and the like: in their own unit)."""
    values: tuple[float, ...]
    """What each start reached: where they differ there are several local optima."""


def gaussian(*, grid: ArrayLike) -> Family:
    """Return the Gaussians on an even grid of points, (points,): two parameters, for mean and width.

    The mean stays on the grid and the standard deviation above 1/35 of its span, so that no cell's
    probability underflows. `mean_and_deviation` reads the parameters of a fit.
    """
    grid = _even("grid", grid)

    def law(parameters: Tensor) -> Tensor:
        mean, deviation = _gaussian(parameters, grid)
        return (-(((grid - mean) / deviation) ** 2) / 2).softmax(-1)

    return Family(size=2, law=law)


def mean_and_deviation(fitted: Fit, *, grid: ArrayLike) -> tuple[float, float]:
    """Return mean and standard deviation of a fitted `gaussian`, as its formula has them (uncut)."""
    mean, deviation = _gaussian(fitted.parameters, _even("grid", grid))
    return mean.item(), deviation.item()


def mixture(*, grid: ArrayLike, means: ArrayLike, deviations: ArrayLike, weights: ArrayLike) -> Tensor:
    """Return a mixture of Gaussians as a law over the points of an even grid.

    Raises:
        SpecError: shapes differ, weights are no law, a deviation is not positive, the grid is not even.
    """
    grid, weights = _even("grid", grid), checks.law("weights", weights)
    means, deviations = checks.finite("means", means), checks.finite("deviations", deviations)
    checks.same_shape(means=means, deviations=deviations, weights=weights)
    checks.positive("the smallest of deviations", deviations.min().item())
    parts = (-(((grid - means[:, None]) / deviations[:, None]) ** 2) / 2).softmax(-1)
    return weights @ parts


def tabular(*, world: TokenMDP) -> Family:
    """Return all policies of a world: the control, which fits any demonstrator under any divergence."""
    shape = (world.n_states, world.vocab_size)
    return Family(
        size=shape[0] * shape[1], law=lambda logits: world.response_law(logits.view(shape).softmax(-1))
    )


def unigram(*, world: TokenMDP) -> Family:
    """Return the policies that choose every token by the same law, blind to what was said."""

    def law(logits: Tensor) -> Tensor:
        return world.response_law(logits.softmax(-1).expand(world.n_states, -1))

    return Family(size=world.vocab_size, law=law)


def low_rank(*, world: TokenMDP, rank: int) -> Family:
    """Return the policies whose logits are `rank` features of the state times `rank` of the token.

    The softmax bottleneck of a narrow network, at its smallest.
    """
    most = min(world.n_states, world.vocab_size)
    checks.counts("rank", [rank], limit=most, remedy=": full rank; use tabular(), or lower it")
    cut = world.n_states * rank

    def law(parameters: Tensor) -> Tensor:
        states, tokens = parameters[:cut].view(-1, rank), parameters[cut:].view(rank, -1)
        return world.response_law((states @ tokens).softmax(-1))

    return Family(size=cut + rank * world.vocab_size, law=law)


def two_kinds(*, world: TokenMDP, weight: float = 0.6, stay: float = 0.75, stray: float = 0.02) -> Tensor:
    """Return a demonstrator's law with two kinds of answer: one says only token 0, the other only token 1.

    Before the first token it decides which (token 0's kind with probability `weight`); it then repeats that
    token, and ends with probability 1 - `stay` after each. At every step it emits any token at all with
    probability `stray`, so that every response has some mass. A policy that forgets which kind it began
    must mix them (covering) or give one up (seeking).

    Raises:
        SpecError: fewer than two words besides EOS, or a probability outside (0, 1).
    """
    if world.vocab_size < 3:
        raise SpecError(f"vocab_size = {world.vocab_size} leaves no two words beside EOS; pass at least 3")
    for name, chance in (("weight", weight), ("stay", stay), ("stray", stray)):
        if not 0 < chance < 1:
            raise SpecError(f"{name} = {chance} must lie inside (0, 1): the demonstrator needs full support")
    laws = []
    for word in (0, 1):
        row = torch.zeros(world.vocab_size, dtype=torch.float64)
        row[word], row[world.eos] = stay, 1 - stay
        row = (1 - stray) * row + stray / world.vocab_size
        laws.append(world.response_law(row.expand(world.n_states, -1)))
    return weight * laws[0] + (1 - weight) * laws[1]


def smoothed(*, counts: ArrayLike, pseudo: float = 1.0) -> Tensor:
    """Return the law of a sample with `pseudo` made-up observations spread evenly over all outcomes.

    Unsmoothed, a sample puts no mass on most outcomes, and every divergence that forbids straying is
    infinite: what is assumed of the unseen (Laplace's rule of succession) becomes part of the method.

    Args:
        counts: how often each outcome was seen, (..., outcomes).
        pseudo: how many observations are made up, a positive number.

    Raises:
        SpecError: negative or missing counts, `pseudo` not positive.
    """
    counts = checks.finite("counts", counts)
    if counts.ndim == 0 or counts.shape[-1] == 0 or (counts < 0).any():
        raise SpecError("counts must hold how often each outcome was seen, none of them negative")
    filled = counts + checks.positive("pseudo", pseudo) / counts.shape[-1]
    return filled / filled.sum(-1, keepdim=True)


def fit(
    name_or_record: str | Divergence,
    *,
    demo: ArrayLike,
    family: Family,
    generator: torch.Generator,
    starts: int = 6,
    near: Tensor | None = None,
) -> Fit:
    """Return the law of `family` with the smallest divergence from `demo`, the best of several starts.

    L-BFGS on exact values and gradients in float64. Total variation has kinks where gradients mislead: few
    parameters are polished by Nelder and Mead's search; with many, its fit is an upper bound.

    Args:
        name_or_record: what is descended.
        demo: the demonstrator's law, (outcomes,), best with full support.
        family: what can be reached.
        generator: draws the random starts.
        starts: how many descents.
        near: parameters of one more start, such as the fit at the slider's last position, or None.

    Raises:
        SpecError: an unknown divergence, no law, a family over other outcomes, no start of finite value.
    """
    record, demo = find(name_or_record), checks.law("demo", demo)
    checks.counts("starts", [starts])
    first = [family.spread * torch.randn(family.size, generator=generator).double() for _ in range(starts)]
    first += [] if near is None else [near]
    with _one_thread():
        ends = [_descend(record, demo, family, start) for start in first]
    value, parameters = min(ends, key=lambda end: end[0])
    if not math.isfinite(value):
        raise SpecError(
            "demo gives an infinite divergence at every start; smooth it, or choose another divergence"
        )
    values = tuple(end[0] for end in ends)
    return Fit(parameters=parameters, law=family.law(parameters), value=value, values=values)


def coverage(*, demo: ArrayLike, policy: ArrayLike, factor: float = 10.0) -> Tensor:
    """Return the share of the demonstrator's mass at which policy >= demo / factor; shape (...).

    Counted by densities, not by which responses were seen.
    """
    demo, policy = checks.law("demo", demo), checks.law("policy", policy)
    checks.same_outcomes(demo=demo, policy=policy)
    checks.positive("factor", factor)
    return torch.where(policy * factor >= demo, demo, 0.0).sum(-1)


def precision(*, demo: ArrayLike, policy: ArrayLike, mass: float = 0.9) -> Tensor:
    """Return the policy's mass, (...), on the demonstrator's highest-probability set; demo: (outcomes,).

    A policy that always gives the demonstrator's likeliest outcome has precision 1.
    """
    demo, policy = checks.law("demo", demo), checks.law("policy", policy)
    checks.same_outcomes(demo=demo, policy=policy)
    return (policy * highest_probability_set(law=demo, mass=mass)).sum(-1)


def highest_probability_set(*, law: ArrayLike, mass: float = 0.9) -> Tensor:
    """Return the mask of the fewest outcomes that hold at least `mass` of one law, (outcomes,), bool.

    A highest-density region (Hyndman, The American Statistician 50, 1996). It is not the typical set of
    information theory, which leaves out what is likelier than usual.
    """
    law = checks.law("law", law)
    if not 0 < mass <= 1:
        raise SpecError(f"mass = {mass} must lie in (0, 1]; it is the share of the law that is kept")
    ranked, order = law.sort(descending=True)
    mask = ranked.cumsum(0) - ranked < mass * (1 - 1e-12)
    return torch.zeros_like(mask).scatter(0, order, mask)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit torch to one thread, because several of them and those of scipy's BLAS wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _descend(record: Divergence, demo: Tensor, family: Family, start: Tensor) -> tuple[float, Tensor]:
    """Return the value and the parameters that L-BFGS reaches from one start; inf if it cannot leave it."""

    def value_and_slope(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(numbers).requires_grad_()
        value = divergence(record, demo=demo, policy=family.law(parameters))
        # chi-squares span many orders of magnitude, so the logarithm is descended, which has the same optima
        tame = torch.log1p(value - at_equality)
        [slope] = torch.autograd.grad(tame, parameters)
        if not (torch.isfinite(tame) and torch.isfinite(slope).all()):
            return _OUT_OF_REACH, np.zeros_like(numbers)
        return tame.item(), slope.numpy()

    at_equality = record.generator(torch.ones((), dtype=torch.float64)).item()
    options = {"maxiter": 500, "maxfun": 1000, "ftol": 1e-15, "gtol": 1e-10}
    point, last = start.double().numpy(), _OUT_OF_REACH
    for _ in range(
        _RESTARTS
    ):  # a restart drops the estimate of the curvature, which helps after a failed line search
        result = minimize(value_and_slope, point, jac=True, method="L-BFGS-B", options=options)
        point, gained, last = result.x, last - result.fun, result.fun
        if gained < 1e-9:
            break
    if record.activation and family.size <= _FEW:  # a kinked divergence: gradients stop short of the optimum
        options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 400 * family.size}
        result = minimize(lambda x: value_and_slope(x)[0], point, method="Nelder-Mead", options=options)
        point, last = result.x, result.fun
    value = math.inf if last >= _OUT_OF_REACH else math.expm1(last) + at_equality
    return value, torch.from_numpy(point)


def _gaussian(parameters: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation from two unbounded parameters."""
    centre, half = (grid[0] + grid[-1]) / 2, (grid[-1] - grid[0]) / 2
    return centre + half * torch.tanh(parameters[0]), half * (2 / 35 + softplus(parameters[1] - 1.5))


def _even(name: str, grid: ArrayLike) -> Tensor:
    """Return `grid` as float64; SpecError unless it has three or more evenly spaced rising points."""
    grid = checks.finite(name, grid)
    if grid.ndim != 1 or len(grid) < 3:
        raise SpecError(f"{name} has shape {tuple(grid.shape)}; pass at least 3 points on one axis")
    step = grid.diff()
    if step.min() <= 0 or (step - step[0]).abs().max() > 1e-3 * step[0]:
        raise SpecError(f"{name} must rise in even steps; use torch.linspace")
    return grid
