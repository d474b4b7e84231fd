"""Which of two methods is better, by the rule that was fixed beforehand.

An effect is paired by (seed, prompt) and given as a share of the random-to-oracle gap at the same n, so
that tasks compare: 0 is no difference, 1 the whole distance from a random pick to the judge's own.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import DataError, SpecError, unknown_name
from afd_study.evaluation.statistics import (
    BOOTSTRAP,
    NO_INTERVAL,
    T_OVER_SEEDS,
    Interval,
    percentile_interval,
    require_columns,
    resampling_weights,
    t_interval,
)

KINDS = ("better", "not_worse", "equal")
VERDICTS = ("supported", "contradicted", "inconclusive")
PAIR = ("seed", "prompt_id")


@dataclass(frozen=True)
class Comparison:
    """One claim: `method` is better than (or not worse than, or equal to) `than`, by the judge at n.

    `margin` is a share of the random-to-oracle gap. A method that has outcomes at n = 1 alone (a policy's
    level, the demonstrations') is taken at n = 1.
    """

    claim: str
    method: str
    than: str
    kind: str = "better"
    margin: float = 0.05
    n: int = 16

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("kind of contrast", self.kind, KINDS)
        if not self.margin >= 0 or self.n < 1:
            raise SpecError(f"{self.claim}: margin must be >= 0 and n >= 1, got {self.margin} and {self.n}")


PAPER_ORDERINGS = (
    Comparison("E4", "init_sft", "init_demo"),
    Comparison("E5", "init_sft", "sft_demo"),
    Comparison("E7", "init_sft", "preferences", kind="not_worse"),
    Comparison("E8", "init_sft", "demonstrations"),
    Comparison("R1", "init_sft", "closed_form", kind="not_worse"),
    Comparison("R2a", "init_sft", "random"),
    Comparison("R2b", "init_sft", "likelihood"),
    Comparison("R2c", "init_sft", "longest"),
    Comparison("R2d", "init_sft", "shortest"),
    # samples are free: the second contrast gives Init-SFT ten times as many
    Comparison("E4 x10", "init_sft_x10", "init_demo"),
    Comparison("E5 x10", "init_sft_x10", "sft_demo"),
    Comparison("E7 x10", "init_sft_x10", "preferences", kind="not_worse"),
    Comparison("E8 x10", "init_sft_x10", "demonstrations"),
    Comparison("R1 x10", "init_sft_x10", "closed_form", kind="not_worse"),
)
"""The orderings that a Best-of-N pool alone can judge, under the ledger's ids (x10: its P1 to P3)."""


def verdict(*, low: float, high: float, kind: str, margin: float) -> str:
    """Judge an interval of effects by the rule of its kind.

    better: supported if low > margin, contradicted if high < margin. not_worse: the same with -margin.
    equal: supported inside +-margin, contradicted wholly outside. Otherwise, or where a bound is NaN,
    inconclusive.
    """
    if kind not in KINDS:
        raise unknown_name("kind of contrast", kind, KINDS)
    if np.isnan(low) or np.isnan(high):
        return "inconclusive"
    if kind == "equal":
        inside, outside = -margin < low and high < margin, low > margin or high < -margin
        return "supported" if inside else "contradicted" if outside else "inconclusive"
    line = margin if kind == "better" else -margin
    return "supported" if low > line else "contradicted" if high < line else "inconclusive"


def orderings(
    outcomes: pd.DataFrame,
    contrasts: Sequence[Comparison] = PAPER_ORDERINGS,
    *,
    generator: np.random.Generator,
    by: tuple[str, ...] = ("task", "judge"),
    level: float = 0.95,
    resamples: int = 2000,
) -> pd.DataFrame:
    """Judge every contrast in every cell of `by` (add "setting" where the outcomes have one).

    Two seeds or more: t over per-seed shares; one seed: effect and gap bootstrapped together over prompts;
    the column `interval` says which. Returns `by`, claim, method, than, kind, n, margin, effect, low, high,
    verdict, difference (in the judge's points), gap (likewise), interval, n_seeds, n_prompts. `effect` is
    NaN, and the verdict inconclusive, where the gap of a seed is not positive: then the judge cannot tell
    the draws apart. Contrasts whose method or rival is absent from all outcomes raise SpecError; pairs that
    don't match, DataError.
    """
    require_columns(outcomes, (*by, *PAIR, "method", "n", "value"))
    rows = []
    for cell, part in outcomes.groupby(list(by), sort=True):
        for contrast in contrasts:
            table = _paired(part, contrast)
            found = _effect(table, generator=generator, level=level, resamples=resamples)
            judged = verdict(low=found["low"], high=found["high"], kind=contrast.kind, margin=contrast.margin)
            rows.append(dict(zip(by, cell, strict=True)) | asdict(contrast) | found | {"verdict": judged})
    front = [*by, "claim", "method", "than", "kind", "n", "margin", "effect", "low", "high", "verdict"]
    return pd.DataFrame(rows)[[*front, "difference", "gap", "interval", "n_seeds", "n_prompts"]]


def gap_shares(
    outcomes: pd.DataFrame, *, n: int = 16, by: tuple[str, ...] = ("task", "judge")
) -> pd.DataFrame:
    """Return the share of the random-to-oracle gap at n that each method reaches, for each seed.

    Columns `by`, seed, method, n, value: 0 is the random pick, 1 the oracle; NaN where a seed's gap is not
    positive. Feed it to statistics.interval(by=(*by, "method")) for an interval over seeds.
    """
    require_columns(outcomes, (*by, *PAIR, "method", "n", "value"))
    rows = []
    for (*cell, seed), part in outcomes.groupby([*by, "seed"], sort=True):
        at_n = part[part["n"] == n]
        for needed in ("random", "oracle"):
            if needed not in set(at_n["method"]):
                raise DataError(
                    f"no outcomes of '{needed}' at n = {n} for seed {seed}; the gap needs both ends"
                )
        means = at_n.groupby("method")["value"].mean()
        share = _share(means - means["random"], means["oracle"] - means["random"])
        rows += [(*cell, seed, name, n, value) for name, value in zip(means.index, share, strict=True)]
    return pd.DataFrame(rows, columns=[*by, "seed", "method", "n", "value"])


def _share(difference: object, gap: object) -> NDArray[np.float64]:
    top, bottom = np.asarray(difference, dtype=float), np.asarray(gap, dtype=float)
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), np.nan)


def _paired(part: pd.DataFrame, contrast: Comparison) -> pd.DataFrame:
    """Return columns difference and gap, one row for each (seed, prompt), in that order."""
    sides = {name: _at(part, name, contrast) for name in (contrast.method, contrast.than, "random", "oracle")}
    first = sides[contrast.method]
    for name, side in sides.items():
        if not side.index.equals(first.index):
            unmatched = first.index.symmetric_difference(side.index)
            raise DataError(
                f"{contrast.claim}: '{contrast.method}' and '{name}' don't share their (seed, prompt) pairs: "
                f"{len(unmatched)} are in one only, such as "
                f"{tuple(map(str, unmatched[0]))}; judge both on the same ones"
            )
    gap = sides["oracle"] - sides["random"]
    return pd.DataFrame({"difference": first - sides[contrast.than], "gap": gap})


def _at(part: pd.DataFrame, method: str, contrast: Comparison) -> pd.Series:
    rows = part[part["method"] == method]
    if not len(rows):
        raise unknown_name(f"method (contrast {contrast.claim})", method, set(part["method"].unique()))
    known = sorted(set(rows["n"]))
    if contrast.n not in known and known != [1]:
        raise DataError(
            f"{contrast.claim}: '{method}' has no outcomes at n = {contrast.n}, only from n = {known[0]} to "
            f"{known[-1]}; compute them there, or compare at another n"
        )
    at_n = rows[rows["n"] == (contrast.n if contrast.n in known else 1)]
    if at_n.duplicated(list(PAIR)).any():
        raise DataError(
            f"{contrast.claim}: '{method}' has several values for one (seed, prompt); "
            "add the column that tells them apart to `by`"
        )
    return at_n.set_index(list(PAIR))["value"].sort_index()


def _effect(
    table: pd.DataFrame, *, generator: np.random.Generator, level: float, resamples: int
) -> dict[str, Any]:
    means = table.groupby(level="seed").mean()
    n_seeds, n_prompts = len(means), table.index.get_level_values("prompt_id").nunique()
    shares = _share(means["difference"], means["gap"])
    found, kind = Interval(shares.mean(), np.nan, np.nan), NO_INTERVAL
    if n_seeds > 1:
        found, kind = t_interval(shares, level), T_OVER_SEEDS
    elif n_prompts > 1:
        weights = resampling_weights(n_prompts, generator=generator, resamples=resamples)
        resampled = weights @ table[["difference", "gap"]].to_numpy()
        found = percentile_interval(shares.mean(), _share(resampled[:, 0], resampled[:, 1]), level)
        kind = BOOTSTRAP
    return {
        "effect": found.mean,
        "low": found.low,
        "high": found.high,
        "difference": means["difference"].mean(),
        "gap": means["gap"].mean(),
        "interval": kind,
        "n_seeds": n_seeds,
        "n_prompts": n_prompts,
    }
