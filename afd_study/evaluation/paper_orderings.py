"""Which of two methods is better, by the rule that was fixed beforehand.

An effect is paired by (seed, prompt) and given as a share of the random-to-oracle gap at the same n, so
that tasks compare: 0 is no difference, 1 the whole distance from a random pick to the judge's own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from afd_study.errors import DataError, SpecError, unknown_name
from afd_study.evaluation.claims import load_ledger
from afd_study.evaluation.statistics import (
    BOOTSTRAP,
    NO_INTERVAL,
    T_OVER_SEEDS,
    Interval,
    percentile_interval,
    ratio,
    require_columns,
    resampling_weights,
    t_interval,
)
from afd_study.evaluation.verdicts import KINDS, verdict

PAIR = ("seed", "prompt_id")


@dataclass(frozen=True)
class Comparison:
    """One claim: `method` is better than (or not worse than, or equal to) `than`, by the judge at n.

    `margin` is a share of the random-to-oracle gap. A method that has outcomes at n = 1 alone (a policy's or
    the demonstrations' own score) is compared by these. Raises SpecError for an unknown kind, a negative
    margin and n below 1.
    """

    claim: str
    method: str
    than: str
    kind: str = "better"
    margin: float = 0.05
    n: int = 16

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of comparison", self.kind, KINDS)
        if not self.margin >= 0 or self.n < 1:
            raise SpecError(f"{self.claim}: margin must be >= 0 and n >= 1, got {self.margin} and {self.n}")


def _orderings_of_the_ledger() -> Iterator[Comparison]:
    """Yield what the ledger asserts of Init-SFT's share of the gap in the usual settings, then the x10."""
    ledger = load_ledger()
    own = [
        Comparison(claim.id, claim.method, claim.than, claim.kind, claim.margin, ledger.n)
        for claim in ledger.claims
        if (claim.form, claim.method, claim.settings) == ("share", "init_sft", ledger.usual)
    ]
    yield from own
    for each in own:
        if each.claim in ALSO_WITH_MORE_SAMPLES:
            yield replace(each, claim=f"{each.claim} x10", method=f"{each.method}_x10")


ALSO_WITH_MORE_SAMPLES = ("E4", "E5", "E7", "E8", "R1")  # samples are free: Init-SFT gets ten times as many
PAPER_ORDERINGS = tuple(_orderings_of_the_ledger())
"""The ledger's claims that a pool of draws alone can judge, under their ids.

With "x10" Init-SFT has ten times as many samples; the first three of these are claims P1 to P3 of the ledger.
"""


def orderings(
    outcomes: pd.DataFrame,
    comparisons: Sequence[Comparison] = PAPER_ORDERINGS,
    *,
    generator: np.random.Generator,
    by: tuple[str, ...] = ("task", "judge"),
    level: float = 0.95,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Judge every comparison in every cell of `by` (add "setting" where the outcomes have one).

    Two seeds or more have a t-interval over the shares of each seed. For one seed, effect and gap are
    bootstrapped together over prompts. The column `interval` says which.

    Returns `by`, claim, method, than, kind, n, margin, effect, low, high, verdict, difference (in the judge's
    points), gap (likewise), interval, n_seeds, n_prompts. `effect` is NaN, and the verdict inconclusive,
    where the gap of a seed is not positive: then the judge cannot tell the draws apart. Raises SpecError for
    a comparison whose method or rival is absent from all outcomes, DataError where (seed, prompt) pairs don't
    match.
    """
    require_columns(outcomes, (*by, *PAIR, "method", "n", "value"))
    rows = []
    for cell, part in outcomes.groupby(list(by), sort=True):
        for comparison in comparisons:
            table = _paired(part, comparison)
            effect = _effect(table, generator=generator, level=level, resamples=resamples)
            low, high = float(effect["low"]), float(effect["high"])
            outcome = verdict(low=low, high=high, kind=comparison.kind, margin=comparison.margin)
            rows.append(dict(zip(by, cell, strict=True)) | asdict(comparison) | effect | {"verdict": outcome})
    front = [*by, "claim", "method", "than", "kind", "n", "margin", "effect", "low", "high", "verdict"]
    columns = [*front, "difference", "gap", "interval", "n_seeds", "n_prompts"]
    return pd.DataFrame(rows, columns=columns)


def _paired(part: pd.DataFrame, comparison: Comparison) -> pd.DataFrame:
    """Return columns difference and gap, one row for each (seed, prompt), in that order."""
    names = (comparison.method, comparison.than, "random", "oracle")
    sides = {name: _at(part, name, comparison) for name in names}
    first = sides[comparison.method]
    for name, side in sides.items():
        if not side.index.equals(first.index):
            unmatched = first.index.symmetric_difference(side.index)
            raise DataError(
                f"{comparison.claim}: '{comparison.method}' and '{name}' don't share their (seed, prompt) "
                f"pairs: {len(unmatched)} are in one only, such as {tuple(map(str, unmatched[0]))}; judge "
                "both on the same ones"
            )
    gap = sides["oracle"] - sides["random"]
    return pd.DataFrame({"difference": first - sides[comparison.than], "gap": gap})


def _at(part: pd.DataFrame, method: str, comparison: Comparison) -> pd.Series:
    rows = part[part["method"] == method]
    if not len(rows):
        raise unknown_name(f"method (comparison {comparison.claim})", method, set(part["method"].unique()))
    sizes = sorted(set(rows["n"]))
    if comparison.n not in sizes and sizes != [1]:
        raise DataError(
            f"{comparison.claim}: '{method}' has no outcomes at n = {comparison.n}, only from n = {sizes[0]} "
            f"to {sizes[-1]}; compute them there, or compare at another n"
        )
    at_n = rows[rows["n"] == (comparison.n if comparison.n in sizes else 1)]
    if at_n.duplicated(list(PAIR)).any():
        raise DataError(
            f"{comparison.claim}: '{method}' has several values for one (seed, prompt); "
            "add the column that tells them apart to `by`"
        )
    return at_n.set_index(list(PAIR))["value"].sort_index()


def _effect(
    table: pd.DataFrame, *, generator: np.random.Generator, level: float, resamples: int
) -> dict[str, Any]:
    means = table.groupby(level="seed").mean()
    n_seeds, n_prompts = len(means), table.index.get_level_values("prompt_id").nunique()
    shares = ratio(means["difference"], means["gap"])
    estimate, kind = Interval(shares.mean(), np.nan, np.nan), NO_INTERVAL
    if n_seeds > 1:
        estimate, kind = t_interval(shares, level), T_OVER_SEEDS
    elif n_prompts > 1:
        weights = resampling_weights(n_prompts, generator=generator, resamples=resamples)
        resampled = weights @ table[["difference", "gap"]].to_numpy()
        estimate = percentile_interval(shares.mean(), ratio(*resampled.T), level)
        kind = BOOTSTRAP
    return {
        **dict(zip(("effect", "low", "high"), estimate, strict=True)),
        **{name: means[name].mean() for name in ("difference", "gap")},
        **{"interval": kind, "n_seeds": n_seeds, "n_prompts": n_prompts},
    }
