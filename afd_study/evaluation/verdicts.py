"""The rule that was fixed beforehand: which verdict an interval of effects gets."""

from typing import Literal, get_args

import numpy as np

from afd_study.errors import unknown_name

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
