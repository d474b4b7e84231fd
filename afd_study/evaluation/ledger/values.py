"""Table `values` of many worlds, and how numbers of two methods are put beside each other.

A value is a mean over prompts: of one world of a family, seed, setting, and reward model (replicate).
"""

from collections.abc import Sequence

import pandas as pd

from afd_study.errors import DataError, unknown_name
from afd_study.evaluation.statistics import require_columns

PLACE = ("family", "setting", "metric", "method", "n")
VALUE_COLUMNS = ("family", "world", "seed", "setting", "table", "metric", "method", "replicate", "n", "value")
"""n is 0 where it means nothing, replicate -1 for a method that no reward model makes."""
ALONE = -1


class Values:
    """Table `values`: each look-up returns a frame, a row a (world, seed), a column a replicate.

    Raises DataError for missing columns and repeated rows.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        require_columns(frame, VALUE_COLUMNS)
        keys = [*PLACE, "world", "seed", "replicate"]
        if frame.duplicated(keys).any():
            raise DataError(
                f"table values repeats {frame.loc[frame.duplicated(keys), keys].iloc[0].to_dict()}"
            )
        self._parts = dict(iter(frame.groupby(list(PLACE))))
        judged = frame[frame["metric"] == "judge"].groupby("method")["n"].max()
        self._levels = set(judged.index[judged <= 1])  # a policy's or the demonstrations' own score: no picks
        self.settings = sorted(set(frame["setting"]))

    def has(self, family: str, setting: str, metric: str, method: str, n: int = 0) -> bool:
        """Return whether there is any such value."""
        return self._part(family, setting, metric, method, n) is not None

    def at(self, family: str, setting: str, metric: str, method: str, n: int = 0) -> pd.DataFrame:
        """Return the values; a method that has a score at n = 1 alone has it at every n.

        Raises SpecError for a setting without any values, DataError where this one value is missing.
        """
        part = self._part(family, setting, metric, method, n)
        if part is not None:
            return part.pivot(index=["world", "seed"], columns="replicate", values="value").sort_index()
        if setting not in self.settings:
            raise unknown_name("setting (no values were computed for it)", setting, self.settings)
        raise DataError(
            f"table values holds nothing of metric '{metric}', method '{method}' at n = {n} for family "
            f"'{family}', setting '{setting}': compute it (make results), or correct the claim"
        )

    def _part(self, family: str, setting: str, metric: str, method: str, n: int) -> pd.DataFrame | None:
        for size in (n, 1, 0) if method in self._levels else (n,):
            if (family, setting, metric, method, size) in self._parts:
                return self._parts[family, setting, metric, method, size]
        return None


def minus(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return first less second, world by world, seed by seed.

    Two methods with reward models are compared replicate by replicate, over those that both have; one
    without is the same beside each of the other's. Raises DataError where worlds or seeds differ.
    """
    if not first.index.equals(second.index):
        lone = first.index.symmetric_difference(second.index)[0]
        raise DataError(f"world {lone[0]}, seed {lone[1]} has one side of a contrast only: compute both")
    alone = [list(side.columns) == [ALONE] for side in (first, second)]
    if alone == [True, True] or alone == [False, False]:
        common = first.columns.intersection(second.columns)
        return first[common] - second[common]
    if alone[0]:
        return -second.sub(first[ALONE], axis=0)
    return first.sub(second[ALONE], axis=0)


def replicates(frame: pd.DataFrame, kept: Sequence[int]) -> pd.DataFrame:
    """Return table `values` with some replicates alone, and what no reward model makes: half of a run."""
    return frame[frame["replicate"].isin([ALONE, *kept])]
