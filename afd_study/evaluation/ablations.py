"""Ablations: the judge's mean at each value of a setting, its distance from a reference, and equal scores.

Table `points` has a row for each grid, task, place (of the value, from 0), value, method (the line of the
figure) and seed. Its further columns are `kind` (the reward model that stands for the line at that value),
`judge` (the judge's mean of what this model picks, in points) and `reference` (whether the other values are
compared with this one).
"""

from collections.abc import Hashable, Iterator

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.evaluation.statistics import require_columns, t_interval, t_intervals

POINT_COLUMNS = ("grid", "task", "place", "value", "reference", "method", "kind", "seed", "judge")
SAME = 1e-6  # judge points: picks that differ in one response of one prompt differ by more
_LINE = ["grid", "task", "method"]


def responses(points: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Return the mean over seeds at every value, in judge points, with the bounds of its t-interval.

    Columns grid, task, method, place, value, kind, mean, low, high, n_seeds. Raises DataError for missing
    columns or fewer than two seeds.
    """
    require_columns(points, POINT_COLUMNS)
    by = [*_LINE, "place", "value", "kind"]
    return t_intervals(points, by, value="judge", level=level, sort=False)


def effects(points: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Return what each value changes: the judge's mean minus that at the reference, paired by seed (points).

    Columns grid, task, method, place, value, effect, low, high, n_seeds, clear; `clear` where the t-interval
    excludes zero. A method whose picks are the same at every value has no rows: what is varied does not reach
    it. Raises DataError for missing columns, for a line without its reference, and for fewer than two
    seeds.
    """
    require_columns(points, POINT_COLUMNS)
    lines = points.groupby(_LINE, sort=False)
    rows = [(*key, *row) for key, line in lines for row in _line_effects(line, level)]
    columns = [*_LINE, "place", "value", "effect", "low", "high", "n_seeds", "clear"]
    return pd.DataFrame(rows, columns=columns)


def _line_effects(line: pd.DataFrame, level: float) -> Iterator[tuple[object, ...]]:
    reference = line[line["reference"]].set_index("seed")["judge"]
    if reference.empty:
        line_name = line[_LINE].iloc[0].to_dict()
        raise DataError(f"the points of {line_name} lack their reference: compute its cell too")
    extremes = line.groupby("seed")["judge"].agg(["min", "max"])
    if (extremes["max"] - extremes["min"]).max() < SAME:
        return
    for (place, value), part in line[~line["reference"]].groupby(["place", "value"], sort=False):
        changes = (part.set_index("seed")["judge"] - reference).dropna().to_numpy(float)
        mean, low, high = map(float, t_interval(changes, level))
        yield (place, value, mean, low, high, len(changes), low > 0 or high < 0)


def equal_score(points: pd.DataFrame, *, rising: str, level: str) -> pd.DataFrame:
    """Return the smallest count at which the line `rising` is not below the line `level`, task by task.

    Columns task, seed ("mean" for the mean over seeds), count, lowest, highest (the range of counts in
    `points`). Between two counts the distance of the lines is taken to be linear in the logarithm of the
    count. The count is 0 where `rising` lies above at the lowest count, and infinite where it lies below at
    all: beyond the range nothing more is known.

    Raises DataError for missing columns, or where the two lines share no counts.
    """
    require_columns(points, POINT_COLUMNS)
    rows = []
    for task, part in points.groupby("task", sort=True):
        wide = part.assign(count=part["value"].astype(float)).pivot(
            index="count", columns=["method", "seed"], values="judge"
        )
        lacking = {rising, level} - set(wide.columns.get_level_values("method"))
        if lacking:
            raise DataError(f"the points of {task} hold no line {min(lacking)} to compare")
        ahead = (wide[rising] - wide[level]).dropna()
        counts = ahead.index.to_numpy(float)
        if not len(counts):
            raise DataError(f"the lines {rising} and {level} share no counts in {task}")
        crossings: dict[Hashable, float] = {
            seed: _crossing(counts, ahead[seed].to_numpy(float)) for seed in ahead
        }
        crossings["mean"] = _crossing(counts, ahead.to_numpy(float).mean(axis=1))
        rows += [(task, str(seed), count, counts[0], counts[-1]) for seed, count in crossings.items()]
    return pd.DataFrame(rows, columns=["task", "seed", "count", "lowest", "highest"])


def _crossing(counts: np.ndarray, ahead: np.ndarray) -> float:
    """Return the first count, ascending, at which `ahead` is not negative; 0 or infinity beyond the range."""
    reached = np.flatnonzero(ahead >= 0)
    if not len(reached):
        return float("inf")
    at = int(reached[0])
    if at == 0:
        return 0.0 if ahead[0] > 0 else float(counts[0])
    share = -ahead[at - 1] / (ahead[at] - ahead[at - 1])
    return float(np.exp((1 - share) * np.log(counts[at - 1]) + share * np.log(counts[at])))
