"""Covering against seeking, as tables: the same fits, varied over the divergence, the task and the data.

What chapter 3 draws and prints. Everything is fitted on exact laws by `fits.fit`; the only chance is which
demonstrations a small sample holds, drawn by the generator that is passed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from afd_study.theory import checks, fits
from afd_study.theory.divergences import alpha_divergence

ENDS = ("forward_kl", "reverse_kl")


def fit_each(
    names: Sequence[str],
    *,
    demo: ArrayLike,
    family: fits.Family,
    generator: torch.Generator,
    starts: int = 12,
) -> dict[str, fits.Fit]:
    """Return the best fit of a family under each of the named divergences."""
    options: dict[str, Any] = {"family": family, "generator": generator, "starts": starts}
    return {name: fits.fit(name, demo=demo, **options) for name in names}


def fit_along_alpha(
    alphas: Sequence[float],
    *,
    demo: ArrayLike,
    family: fits.Family,
    generator: torch.Generator,
    anchors: Sequence[Tensor] = (),
) -> dict[float, fits.Fit]:
    """Return the best fit under each alpha-divergence, followed from both ends of the list.

    There may be two local optima, one that covers and one that seeks. Each is followed from the end where it
    is the best, and at every alpha the lower of the two is kept. `anchors` are parameters to begin with at
    the ends, such as those of fits under forward and reverse KL, beside random ones.
    """
    best: dict[float, fits.Fit] = {}
    for way in (alphas, alphas[::-1]):
        near: list[Tensor | None] = [*anchors, None]
        for alpha in way:
            options: dict[str, Any] = {"family": family, "generator": generator, "starts": 1}
            record = alpha_divergence(alpha)
            tried = [fits.fit(record, demo=demo, **options, near=start) for start in near]
            here = min(tried, key=lambda fit: fit.value)
            near = [here.parameters]
            if alpha not in best or here.value < best[alpha].value:
                best[alpha] = here
    return best


def judged(fitted: Mapping[Any, fits.Fit], *, demo: ArrayLike, by: str = "divergence") -> pd.DataFrame:
    """Return value, coverage and precision of each fit, named in the column `by`.

    `demo` is the true demonstrator, who need not be whom the fits were made to.
    """
    rows = [
        {
            by: name,
            "value": fit.value,
            "coverage": fits.coverage(demo=demo, policy=fit.law).item(),
            "precision": fits.precision(demo=demo, policy=fit.law).item(),
        }
        for name, fit in fitted.items()
    ]
    return pd.DataFrame(rows)


def by_kinds(
    numbers: Sequence[int], *, grid: ArrayLike, span: float, deviation: float, generator: torch.Generator
) -> pd.DataFrame:
    """Return how Gaussians fitted by forward and reverse KL fare as the kinds of good answer multiply.

    The demonstrator is a mixture of that many equal hills, spread evenly from -span to span. Columns: kinds,
    divergence, value, coverage, precision.
    """
    tables = []
    for number in numbers:
        means = torch.linspace(-span, span, number).tolist() if number > 1 else [0.0]
        demo = fits.mixture(
            grid=grid,
            means=means,
            deviations=[deviation] * number,
            weights=torch.full((number,), 1.0).double() / number,
        )
        fitted = fit_each(ENDS, demo=demo, family=fits.gaussian(grid=grid), generator=generator)
        tables.append(judged(fitted, demo=demo).assign(kinds=number))
    return pd.concat(tables, ignore_index=True)


def by_data(
    sizes: Sequence[int],
    *,
    demo: ArrayLike,
    family: fits.Family,
    pseudo: Sequence[float],
    draws: int,
    generator: torch.Generator,
) -> pd.DataFrame:
    """Return how fits to n demonstrations fare against the true law, `draws` samples a size.

    A sample is smoothed by each number of `pseudo` observations before both KLs are fitted to it; the same
    samples serve both. Columns: size, pseudo, draw, divergence, value, coverage, precision.
    """
    demo, tables = checks.law("demo", demo), []
    for size in sizes:
        for draw in range(draws):
            seen = torch.multinomial(demo, size, replacement=True, generator=generator)
            counts = torch.bincount(seen, minlength=len(demo))
            for amount in pseudo:
                guess = fits.smoothed(counts=counts, pseudo=amount)
                fitted = fit_each(ENDS, demo=guess, family=family, generator=generator, starts=3)
                place = {"size": size, "pseudo": amount, "draw": draw}
                tables.append(judged(fitted, demo=demo).assign(**place))
    return pd.concat(tables, ignore_index=True)


def by_draws(
    fitted: Mapping[str, fits.Fit], *, kinds: ArrayLike, shares: ArrayLike, draws: Sequence[int]
) -> pd.DataFrame:
    """Return the chance that k draws of a fitted policy hold a good answer of the kind that was wanted.

    Args:
        fitted: policies' fits by name.
        kinds: a mask of the good outcomes of each kind, (kinds, outcomes).
        shares: how often each kind is wanted, a law over kinds.
        draws: the numbers k.

    Returns:
        Columns divergence, draws, any_kind (one of the k is good) and wanted_kind (one of the k is good and
        of the kind that was wanted).
    """
    masks, shares = checks.finite("kinds", kinds), checks.law("shares", shares)
    any_good = masks.amax(0)
    rows = []
    for name, fit in fitted.items():
        good, each = fit.law @ any_good, masks @ fit.law
        for k in draws:
            one, right_kind = _within(good, k), (shares * _within(each, k)).sum()
            rows.append((name, k, one.item(), right_kind.item()))
    return pd.DataFrame(rows, columns=["divergence", "draws", "any_kind", "wanted_kind"])


def _within(chance: Tensor, draws: int) -> Tensor:
    """Return the chance that at least one of `draws` independent tries succeeds."""
    return -torch.expm1(draws * torch.log1p(-chance.clamp(max=1 - 1e-15)))
