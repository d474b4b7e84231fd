"""Would a verdict come out again with other replicates? Flips between halves, predicted and actual."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.statistics import require_columns
from afd_study.evaluation.verdicts import REVERSED, YES, decide


def flip_chances(
    rows: pd.DataFrame,
    *,
    seeds: int,
    replicates: int,
    generator: np.random.Generator,
    draws: int = 2000,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the rows with the chance that two halves of their replicates differ in verdict.

    Needs columns kind, margin, effect, error, df, n_worlds (of the whole, with all K `replicates` of a seed)
    and `replicate_sd`, the contrast's component in the effect's unit. The halves share worlds and seeds, and
    so differ by replicates alone: given the whole's mean of a world, theirs lie d above and below it, d with
    variance replicate_sd^2 / (S K). Both halves' effects and errors follow without the worlds' means, exactly
    in a balanced design.

    Adds `flip` and `opposite`, the chances of any flip and of one between yes and reversed. Their sums are
    the numbers to be expected; rows that share reward models flip together, so that the number varies more
    around its expectation than that of independent rows. Raises SpecError unless the replicates are even in
    number, DataError for missing columns.
    """
    if seeds < 1 or replicates < 2 or replicates % 2:
        raise SpecError(f"halves need 2, 4, ... replicates and a seed, got {replicates} and {seeds}")
    require_columns(rows, ("kind", "margin", "effect", "error", "df", "n_worlds", "replicate_sd"))
    result = rows.assign(flip=np.nan, opposite=np.nan)
    for kind in rows["kind"].unique():
        here = (rows["kind"] == kind).to_numpy()
        part = rows[here]
        halves = _halves(part, seeds * replicates, generator, draws)
        df, margin = (part[name].to_numpy(dtype=float) for name in ("df", "margin"))
        first, second = (decide(*half, df, kind=str(kind), margin=margin, level=level)[0] for half in halves)
        result.loc[here, "flip"] = (first != second).mean(axis=0)
        result.loc[here, "opposite"] = _opposite(first, second).mean(axis=0)
    return result


def _halves(
    rows: pd.DataFrame, reward_models: int, generator: np.random.Generator, draws: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw effect and error (draws, rows) of both halves, for the rows (R,) of the whole."""
    names = ("effect", "error", "df", "n_worlds", "replicate_sd")
    effect, error, df, worlds, replicate = (rows[name].to_numpy(dtype=float) for name in names)
    shape, noise = (draws, len(rows)), replicate / np.sqrt(reward_models)  # sd of d in one world
    shift = noise / np.sqrt(worlds) * generator.standard_normal(shape)
    along = noise * generator.standard_normal(shape)  # of the residuals' change, the part along them
    across = noise**2 * generator.chisquare(np.maximum(np.nan_to_num(df) - 1, 1e-9), shape)
    residual = error * np.sqrt(worlds * df)
    return [
        (effect + side * shift, np.sqrt(((residual + side * along) ** 2 + across) / (df * worlds)))
        for side in (1, -1)
    ]


def _opposite(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    one_way, other_way = (first == YES) & (second == REVERSED), (first == REVERSED) & (second == YES)
    return one_way | other_way


def flips(first: pd.DataFrame, second: pd.DataFrame, *, key: Sequence[str]) -> pd.DataFrame:
    """Return the rows whose verdicts differ between two runs, such as replicates {1, 2} and {3, 4}.

    Both tables have `key` (which names a row), verdict, effect, and margin. Columns: key, first, second
    (verdicts), effect_first, effect_second, margin, distance (of the mean of both effects to the nearest of
    +margin and -margin, the lines that verdicts turn on; in the effect's unit), opposite (yes against
    reversed), the farthest from its line first. Raises DataError where the tables' rows are not the same.
    """
    names = list(key)
    for table in (first, second):
        require_columns(table, (*key, "verdict", "effect", "margin"))
        if table.duplicated(names).any():
            raise DataError(f"a run repeats {table.loc[table.duplicated(names), names].iloc[0].to_dict()}")
    both = first[[*names, "verdict", "effect", "margin"]].merge(
        second[[*names, "verdict", "effect"]],
        on=names,
        how="outer",
        suffixes=("_first", "_second"),
        indicator=True,
    )
    if (both["_merge"] != "both").any():
        row = both.loc[both["_merge"] != "both", names].iloc[0].to_dict()
        raise DataError(f"{row} is in one of the two runs only; compare the same rows")
    distance = np.abs(np.abs(both[["effect_first", "effect_second"]].mean(axis=1)) - both["margin"])
    opposite = _opposite(both["verdict_first"].to_numpy(), both["verdict_second"].to_numpy())
    table = both.rename(columns={"verdict_first": "first", "verdict_second": "second"})
    table = table.assign(distance=distance, opposite=opposite)
    differ = table[(table["first"] != table["second"]).to_numpy()]
    columns = ["first", "second", "effect_first", "effect_second", "margin", "distance", "opposite"]
    return differ.sort_values("distance", ascending=False, ignore_index=True)[[*names, *columns]]
