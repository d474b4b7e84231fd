"""The map of when the method works: frozen, and its corners computed now."""

from typing import Any

import pandas as pd

from afd_study.evaluation.claims import load_ledger
from afd_study.evaluation.heterogeneity_map import atlas, matched_rows, measured, predicted, winners
from afd_study.study.chapters import claims
from afd_study.study.frozen.files import read_frozen, read_manifest
from afd_study.study.frozen.grids import cell_name, map_cells
from afd_study.study.frozen.seed_means import gather, narrow

__all__ = [
    "at_matched_gain",
    "compared",
    "corners",
    "frozen_map",
    "manifest",
    "measured",
    "predicted",
    "winners",
]


def frozen_map() -> pd.DataFrame:
    """Return every cell of the map with its intervals (evaluation.atlas), from the frozen values.

    Raises StoreError where they are missing or do not match their manifest.
    """
    return atlas(narrow(read_frozen("map", "values")))


def at_matched_gain() -> pd.DataFrame:
    """Return evaluation.atlas.matched_rows from the ledger's frozen values: its settings are cells as well.

    Raises StoreError where they are missing or do not match their manifest.
    """
    marks, style, matched = "world.heterogeneity", "world.absorbed_style", "matched_style"
    named = {
        name: cell_name(given[marks], given[style], matched=matched in given)
        for name, given in load_ledger().settings.items()
        if set(given) <= {marks, style, matched, "reward.kinds"}
    }
    values = claims.frozen_values()
    values = values[values["setting"].isin(list(named))]
    return matched_rows(atlas(values.assign(setting=values["setting"].map(named))))


def manifest() -> dict[str, Any]:
    """Return how the map was computed: seeds, profile, commit, hardware, seconds."""
    return read_manifest("map")


def corners(*, profile: str, seed: int, jobs: int = 1) -> pd.DataFrame:
    """Compute the four corners of the map at one seed: the columns of `frozen_map`."""
    cells = [cell._replace(seeds=(seed,)) for cell in map_cells(corners=True)]
    return atlas(gather(cells, jobs=jobs, profile=profile))


def compared(frozen: pd.DataFrame, fresh: pd.DataFrame | None, *, rival: str = "init_demo") -> pd.DataFrame:
    """Return Init-SFT's lead in the corners: task, h, a, frozen (mean and interval), and now, if given."""
    keys = ["task", "h", "a"]
    leads = frozen[
        (frozen["quantity"] == "lead") & (frozen["method"] == rival) & ~frozen["matched"].astype(bool)
    ]
    ends = leads["h"].isin([leads["h"].min(), leads["h"].max()]) & leads["a"].isin(
        [leads["a"].min(), leads["a"].max()]
    )
    rows = leads[ends]
    told = [f"{row['mean']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" for row in rows.to_dict("records")]
    table = rows[keys].assign(frozen=told)
    if fresh is None:
        return table.reset_index(drop=True)
    now = fresh[(fresh["quantity"] == "lead") & (fresh["method"] == rival)][[*keys, "mean"]]
    return table.merge(now.rename(columns={"mean": "now"}), on=keys, how="left")
