"""How the effect of a claim is formed in each world, from table `values`.

Every form returns a frame, a row a (world, seed), a column a replicate. Forms of unit GAP are in judge
points there; their effects become shares of each world's gap, from the random pick to the oracle at the
ledger's n, so that worlds and families compare.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.evaluation.ledger.values import ALONE, Values, minus
from afd_study.evaluation.ranking import rank_correlation
from afd_study.evaluation.sizes import SIZES

if TYPE_CHECKING:
    from afd_study.evaluation.ledger.records import Claim

METRICS: Mapping[str, tuple[str, ...]] = {
    "outcomes": ("judge",),
    "win_rates": ("win_rate_over_pi_sft",),
    "coverage": (
        *("coverage", "precision", "good_share", "precision_at_equal_length"),
        *("coverage_without_stray", "precision_without_stray", "good_share_without_stray"),
    ),
    "probes": ("rank_correlation_without_length_and_style", "rank_correlation_with_closed_form"),
    "separability": ("auc", "auc_without_length"),
    "objectives": ("objective_change",),
    "pessimism": ("judge_of_pessimism",),
    "cost": ("flops",),
}
"""Table -> the metrics that claims may name."""
GAP = "share of the gap"
EARLY, LATE = 8, 50  # a late fall is from one to the other

Make = Callable[[Values, "Claim", str, str, int], pd.DataFrame]
"""Values, claim, family, setting and n -> the effects (worlds x seeds, replicates)."""


class Form(NamedTuple):
    """How effects are formed, their unit, and the tables that the form can read."""

    make: Make
    unit: str
    tables: tuple[str, ...]


def lead(values: Values, claim: "Claim", family: str, setting: str, n: int) -> pd.DataFrame:
    """Return how far one method's pick lies above that of the other, in judge points."""
    own, other = (values.at(family, setting, "judge", name, n) for name in (claim.method, claim.than))
    return minus(own, other)


def gap(values: Values, family: str, setting: str, n: int) -> pd.DataFrame:
    """Return the distance from the random pick to the oracle at n, in judge points."""
    best, random = (values.at(family, setting, "judge", name, n) for name in ("oracle", "random"))
    return minus(best, random)


def _difference(values: Values, claim: "Claim", family: str, setting: str, n: int) -> pd.DataFrame:
    """In the metric's own unit; from zero where the claim names no rival."""
    own = values.at(family, setting, claim.metric, claim.method)
    return minus(own, values.at(family, setting, claim.metric, claim.than)) if claim.than else own


def _win_rate(values: Values, claim: "Claim", family: str, setting: str, n: int) -> pd.DataFrame:
    return values.at(family, setting, claim.metric, claim.method, n) - 0.5


def _fall(values: Values, family: str, setting: str, method: str) -> pd.DataFrame:
    return minus(*(values.at(family, setting, "judge", method, n) for n in (EARLY, LATE)))


def _late_fall(values: Values, claim: "Claim", family: str, setting: str, n: int) -> pd.DataFrame:
    """The judge's mean at n = 8 less that at n = 50, less the rival's where there is one."""
    own = _fall(values, family, setting, claim.method)
    return minus(own, _fall(values, family, setting, claim.than)) if claim.than else own


def _curves(values: Values, family: str, setting: str, method: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a frame of a curve's shape, and the curves: (sizes, worlds x seeds, replicates)."""
    frames = [values.at(family, setting, "judge", method, n) for n in SIZES]
    return frames[0], np.stack([frame.to_numpy() for frame in frames])


def _below_peak(values: Values, family: str, setting: str, method: str) -> pd.DataFrame:
    """The highest mean over n is biased upwards by noise, most for a curve that is flat."""
    shape, curves = _curves(values, family, setting, method)
    return shape * 0.0 + (curves.max(axis=0) - curves[-1])


def _fall_from_peak(values: Values, claim: "Claim", family: str, setting: str, n: int) -> pd.DataFrame:
    own, other = (_below_peak(values, family, setting, name) for name in (claim.method, claim.than))
    return minus(own, other)


def _between_settings(values: Values, claim: "Claim", family: str, setting: str, n: int) -> pd.DataFrame:
    """The lead in the claim's setting less that in the setting `against`, world by world."""
    here, there = (lead(values, claim, family, name, n) for name in (setting, claim.against))
    return minus(here, there)


def _single_extremum(values: Values, claim: "Claim", family: str, setting: str, n: int) -> pd.DataFrame:
    """How far (largest distance at any n) a curve lies from one with a single turn, or none."""
    shape, curves = _curves(values, family, setting, claim.method)
    return shape * 0.0 + np.apply_along_axis(distance_to_one_turn, 0, curves)


def distance_to_one_turn(curve: np.ndarray) -> float:
    """Return the sup-norm distance of values in order to the nearest sequence with at most one turn.

    Of a sequence that must not fall it is half of the deepest fall; the turn may stand anywhere, and be a
    peak or a dip.
    """

    def rise(part: np.ndarray) -> float:
        return float(max(0.0, (np.maximum.accumulate(part) - part).max()) / 2)

    turns = range(1, len(curve) + 1)
    return min(max(rise(s * curve[:k]), rise(-s * curve[k - 1 :])) for k in turns for s in (1.0, -1.0))


def _predicts(values: Values, claim: "Claim", family: str, setting: str, n: int) -> pd.DataFrame:
    """Within a world, the rank correlation of measured and judged lead over the settings that have both."""
    both = (claim.method, claim.than)
    cells = [
        name
        for name in values.settings
        if all(
            values.has(family, name, claim.metric, m) and values.has(family, name, "judge", m, n)
            for m in both
        )
    ]
    if len(cells) < 3:
        raise DataError(f"claim {claim.id} needs three settings or more, and table values has {len(cells)}")
    apart = [minus(*(values.at(family, name, claim.metric, m) for m in both[::-1])) for name in cells]
    leads = [lead(values, claim, family, name, n) for name in cells]
    sides = [np.stack([frame.to_numpy() for frame in side], axis=-1) for side in (apart, leads)]
    shape = leads[0]
    return pd.DataFrame(rank_correlation(*sides), index=shape.index, columns=shape.columns)


_JUDGED = ("outcomes",)
FORMS: dict[str, Form] = {
    "share": Form(lead, GAP, _JUDGED),
    "difference": Form(
        _difference, "", ("coverage", "probes", "separability", "objectives", "cost", "pessimism")
    ),
    "win_rate": Form(_win_rate, "win rate", ("win_rates",)),
    "late_fall": Form(_late_fall, GAP, _JUDGED),
    "fall_from_peak": Form(_fall_from_peak, GAP, _JUDGED),
    "between_settings": Form(_between_settings, GAP, _JUDGED),
    "between_families": Form(lead, GAP, _JUDGED),
    "between_strata": Form(lead, GAP, _JUDGED),
    "single_extremum": Form(_single_extremum, GAP, _JUDGED),
    "predicts": Form(_predicts, "rank correlation", ("separability",)),
}
"""Form -> how the effect of a world is formed, in which unit, of which tables."""
UNITS = {
    "coverage": "share",
    "probes": "rank correlation",
    "separability": "AUC",
    "objectives": "nats",
    "pessimism": "judge points",
    "cost": "FLOPs",
}
"""The unit of a difference, by table."""


def rows_of(
    effects: pd.DataFrame, gaps: pd.DataFrame | None, family: str, strata: pd.DataFrame
) -> pd.DataFrame:
    """Return a contrast's effects as rows (evaluation.world_rows): a row a world, seed and replicate.

    Args:
        effects: from a form.
        gaps: of the same worlds and seeds, None for effects that are no scores.
        family: whose worlds these are; their names hold it.
        strata: the properties of each world, indexed by its number.
    """
    long = effects.reset_index().melt(["world", "seed"], var_name="replicate", value_name="effect")
    if gaps is not None:
        widths = gaps[ALONE].rename("gap").reset_index()
        long = long.merge(widths, on=["world", "seed"], validate="many_to_one")
    long = long.join(strata, on="world")
    return long.assign(
        world=family + " " + long["world"].astype(str), replicate=long["replicate"].clip(lower=0)
    )
