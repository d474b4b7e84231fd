"""The map of when the method works: frozen, and its corners computed now."""

from typing import Any

import pandas as pd

from afd_study.evaluation.atlas import atlas, matched_rows, measured, predicted, winners
from afd_study.study.cells import map_cells
from afd_study.study.frozen import read_frozen, read_manifest
from afd_study.study.values import gather, narrow

__all__ = [
    "compared",
    "corners",
    "frozen_map",
    "manifest",
    "matched_rows",
    "measured",
    "predicted",
    "winners",
]


def frozen_map() -> pd.DataFrame:
    """Return every cell of the map with its intervals (evaluation.atlas), from the frozen values.

    Raises StoreError where they are missing or do not match their manifest.
    """
    return atlas(narrow(read_frozen("map", "values")))


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
