"""The rules that were fixed beforehand: which verdict an effect with its error gets.

`verdict` is the first ledger's rule, which stays as long as that ledger is judged by it. All else here is the
second ledger's: five verdicts by one table, `RULES`, which `verdict_table` puts into words for the page.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from afd_study.errors import SpecError, unknown_name
from afd_study.evaluation.statistics import check_level, require_columns

Kind = Literal["better", "not_worse", "equal"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def verdict(*, low: float, high: float, kind: str, margin: float) -> str:
    """Judge an interval of effects by the rule of its kind: supported, contradicted or inconclusive.

    better: supported if low > margin, contradicted if high < margin. not_worse: the same with -margin.
    equal: supported inside +-margin, contradicted wholly outside. Otherwise, or where a bound is NaN,
    inconclusive. Raises SpecError for an unknown kind.
    """
    if kind not in KINDS:
        raise unknown_name("kind of comparison", kind, KINDS)
    if np.isnan(low) or np.isnan(high):
        return "inconclusive"
    if kind == "equal":
        inside, outside = -margin < low and high < margin, low > margin or high < -margin
        return "supported" if inside else "contradicted" if outside else "inconclusive"
    line = margin if kind == "better" else -margin
    return "supported" if low > line else "contradicted" if high < line else "inconclusive"


YES, REVERSED, NEGLIGIBLE = "yes", "reversed", "negligible"
OPEN, NOT_APPLICABLE = "open", "not applicable"
VERDICTS = (YES, REVERSED, NEGLIGIBLE, OPEN, NOT_APPLICABLE)


class OneSided(NamedTuple):
    """A one-sided test: the effect lies above (side 1) or below (side -1) a line, given in margins."""

    side: int
    line: int


ABOVE, ABOVE_MINUS = OneSided(1, 1), OneSided(1, -1)  # above the margin, above minus the margin
BELOW, BELOW_MINUS = OneSided(-1, 1), OneSided(-1, -1)


class Rule(NamedTuple):
    """A kind of claim gets a verdict where all `tests` hold.

    `tails`: 2 where the data choose the side, so that each side has half of the error (a 95 % interval wholly
    beyond the line); 1 for two one-sided tests, each at the whole of it (a 90 % interval; Schuirmann 1987).
    """

    kind: Kind
    verdict: str
    tests: tuple[OneSided, ...]
    tails: int
    where: str
    null: str


RULES = (
    Rule("better", YES, (ABOVE,), 2, "{wide} interval above the margin", "effect <= margin"),
    Rule("better", REVERSED, (BELOW_MINUS,), 2, "{wide} interval below -margin", "effect >= -margin"),
    Rule("better", NEGLIGIBLE, (ABOVE_MINUS, BELOW), 1, "{narrow} interval inside +-margin, which is above 0",
         "|effect| >= margin"),
    Rule("not_worse", YES, (ABOVE_MINUS,), 2, "{wide} interval above -margin", "effect <= -margin"),
    Rule("not_worse", REVERSED, (BELOW_MINUS,), 2, "{wide} interval below -margin", "effect >= -margin"),
    Rule("equal", YES, (ABOVE_MINUS, BELOW), 1, "{narrow} interval inside +-margin", "|effect| >= margin"),
    Rule("equal", REVERSED, (ABOVE,), 2, "{wide} interval above the margin", "effect <= margin"),
    Rule("equal", REVERSED, (BELOW_MINUS,), 2, "{wide} interval below -margin", "effect >= -margin"),
)  # fmt: skip
"""Kind x interval -> verdict. No two verdicts of a kind hold at once; where none holds the row is open."""


def verdict_table(level: float = 0.95) -> pd.DataFrame:
    """Return the rules in words, as the page prints them: columns kind, verdict, where, null hypothesis.

    The kind is "any" for open and not applicable, which hold for all; these have no null hypothesis.
    """
    check_level(level)
    sizes = {"wide": f"{level:.0%}", "narrow": f"{2 * level - 1:.0%}"}
    rows = [(rule.kind, rule.verdict, rule.where.format(**sizes), rule.null) for rule in RULES]
    rest = [
        ("any", OPEN, "no other verdict holds", ""),
        ("any", NOT_APPLICABLE, "a stated premise fails", ""),
    ]
    return pd.DataFrame([*rows, *rest], columns=["kind", "verdict", "where", "null hypothesis"])


def decide(
    effect: ArrayLike,
    error: ArrayLike,
    df: ArrayLike,
    *,
    kind: str,
    margin: ArrayLike,
    level: float = 0.95,
) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Judge effects of one kind of claim: verdicts and p-values, each of the arguments' common shape.

    `effect`, its standard error and the margin are in one unit, `df` are the degrees of freedom of the error.
    p is that of the verdict's own null hypothesis, with the margin in it; it lies below 1 - level exactly
    where a verdict other than open stands. The one-sided p counts twice where the data choose the side
    (yes and reversed), and once for the two one-sided tests, whose larger p it is. An open row has that of
    its claim, which is the null of yes. Where error or df is NaN there is nothing to test: open, p is NaN.

    Raises SpecError for an unknown kind and a negative margin.
    """
    check_level(level)
    if kind not in KINDS:
        raise unknown_name("kind of comparison", kind, KINDS)
    if not (np.asarray(margin, dtype=float) >= 0).all():
        raise SpecError(f"a margin must be at least 0, got {np.min(margin)}")
    values = np.broadcast_arrays(*(np.asarray(each, dtype=float) for each in (effect, error, df, margin)))
    rules = [rule for rule in RULES if rule.kind == kind]
    p_values = [np.minimum(1, rule.tails * _largest_p(rule.tests, *values)) for rule in rules]
    holds = [p < 1 - level for p in p_values]
    verdicts = np.select(
        holds, [np.full(p.shape, rule.verdict) for rule, p in zip(rules, p_values, strict=True)], OPEN
    )
    return verdicts, np.select(holds, p_values, p_values[0])


def _largest_p(
    tests: tuple[OneSided, ...],
    effect: NDArray[np.float64],
    error: NDArray[np.float64],
    df: NDArray[np.float64],
    margin: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the p-value of the statement that all tests hold: the largest of theirs."""
    ahead = [test.side * (effect - test.line * margin) for test in tests]
    distance = np.minimum.reduce(ahead)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = stats.t.sf(distance / error, df)
    exact = np.where(distance > 0, 0.0, 1.0)  # without any spread the effect is where it is
    return np.where((error == 0) & ~np.isnan(df), exact, p)


def with_verdicts(rows: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Return the rows with their verdict and its p-value (`decide`) as columns `verdict` and `p`.

    Needs columns kind, margin, effect, error, df. A row whose column `applicable` (all are, without it) is
    False is not applicable: a premise of its claim fails, and p is NaN. Raises SpecError for an unknown kind,
    DataError for missing columns.
    """
    require_columns(rows, ("kind", "margin", "effect", "error", "df"))
    result = rows.assign(verdict=OPEN, p=np.nan)
    for kind in rows["kind"].unique():
        here = (rows["kind"] == kind).to_numpy()
        part = rows[here]
        sides = (part[name].to_numpy(dtype=float) for name in ("effect", "error", "df"))
        outcome = decide(*sides, kind=str(kind), margin=part["margin"].to_numpy(dtype=float), level=level)
        result.loc[here, "verdict"], result.loc[here, "p"] = outcome
    if "applicable" in rows.columns:
        fails = ~rows["applicable"].to_numpy(dtype=bool)
        result.loc[fails, "verdict"], result.loc[fails, "p"] = NOT_APPLICABLE, np.nan
    return result
