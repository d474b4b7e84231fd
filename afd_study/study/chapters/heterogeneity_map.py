"""What chapter 8 shows: the map of when the method works, frozen, and its corners computed now."""

from typing import Any

import pandas as pd

from afd_study.evaluation.claims import load_ledger
from afd_study.evaluation.heterogeneity_map import (
    map_intervals,
    matched_rows,
    measured,
    predicted,
    simple_rules,
    winners,
)
from afd_study.study.chapters import claims
from afd_study.study.chapters.words import intervals_in_words
from afd_study.study.frozen.files import read_manifest
from afd_study.study.frozen.grids import cell_name, map_cells
from afd_study.study.frozen.seed_means import frozen_values, gather

__all__ = [
    "at_matched_gain",
    "compared",
    "corners",
    "frozen_map",
    "manifest",
    "measured",
    "predicted",
    "simple_rules",
    "simple_rules_in_words",
    "winners",
]

SIMPLE = {
    "likelihood": "the answer that the policy finds likeliest",
    "longest": "the longest answer",
    "shortest": "the shortest answer",
}


def frozen_map() -> pd.DataFrame:
    """Return every cell with its intervals (map_intervals), from the frozen values.

    Raises StoreError where they are missing or do not match their manifest.
    """
    return map_intervals(frozen_values("map"))


def at_matched_gain() -> pd.DataFrame:
    """Return evaluation.heterogeneity_map.matched_rows from the ledger, whose settings are cells as well.

    Raises StoreError where they are missing or do not match their manifest.
    """
    marks, style, matched = "world.heterogeneity", "world.absorbed_style", "matched_style"
    cells = {
        name: cell_name(overrides[marks], overrides[style], matched=matched in overrides)
        for name, overrides in load_ledger().settings.items()
        if set(overrides) <= {marks, style, matched, "reward.kinds"}
    }
    values = claims.frozen_values()
    values = values[values["setting"].isin(list(cells))]
    return matched_rows(map_intervals(values.assign(setting=values["setting"].map(cells))))


def simple_rules_in_words(cells: pd.DataFrame) -> str:
    """Return in one sentence where a rule without a reward model picks better than Init-SFT, with numbers.

    `cells`: `frozen_map`. Shares are means over absorbed style, at n = 16.
    """
    table = simple_rules(cells)
    better = table[table["share"] > table["init_sft"]]
    if better.empty:
        return "No rule without a reward model picks better than Init-SFT on average over the map."
    places = [
        f"in `{row['task']}` {SIMPLE[row['rule']]} ({row['share']:.2f} of the gap, Init-SFT "
        f"{row['init_sft']:.2f}; ahead in {row['ahead']} of {row['of']} cells)"
        for row in better.to_dict("records")
    ]
    return f"**Simple rules pick better than Init-SFT** on average over the map: {'; '.join(places)}."


def manifest() -> dict[str, Any]:
    """Return how the map was computed: seeds, profile, commit, hardware, seconds."""
    return read_manifest("map")


def corners(*, profile: str, seed: int, jobs: int = 1) -> pd.DataFrame:
    """Compute the four corners of the map at one seed: the columns of `frozen_map`."""
    cells = [cell._replace(seeds=(seed,)) for cell in map_cells(corners=True)]
    return map_intervals(gather(cells, jobs=jobs, profile=profile))


def compared(frozen: pd.DataFrame, fresh: pd.DataFrame | None, *, rival: str = "init_demo") -> pd.DataFrame:
    """Return Init-SFT's lead in the corners: task, h, a, frozen (mean and interval), and now if `fresh`."""
    keys, leads = ["task", "h", "a"], _leads(frozen, rival)
    leads = leads[~leads["matched"].astype(bool)]
    at_ends = [leads[axis].isin([leads[axis].min(), leads[axis].max()]) for axis in ("h", "a")]
    rows = leads[at_ends[0] & at_ends[1]]
    table = rows[keys].assign(frozen=intervals_in_words(rows))
    if fresh is None:
        return table.reset_index(drop=True)
    now = _leads(fresh, rival)[[*keys, "mean"]].rename(columns={"mean": "now"})
    return table.merge(now, on=keys, how="left")


def _leads(cells: pd.DataFrame, rival: str) -> pd.DataFrame:
    return cells[(cells["quantity"] == "lead") & (cells["method"] == rival)]
