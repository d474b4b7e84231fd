"""How chapters show several reward models of one kind: as their mean."""

from collections.abc import Sequence

import pandas as pd

from afd_study.study.frozen.judging import replicate_of


def averaged(
    table: pd.DataFrame, values: Sequence[str] = ("value",), *, column: str = "method"
) -> pd.DataFrame:
    """Return a table in which the replicates of each kind are one row: the mean of `values`.

    Rows are alike in all columns but `column` and `values`. What replicates pick together (ensembles) is left
    out: it is a scorer of its own, and the ledger judges it. A table without replicates comes back as it is.
    """
    own = _without_ensembles(table, column)
    named = own[column].map(_kind)
    if named.equals(own[column]):
        return own
    keys = [name for name in own.columns if name not in values]
    groups = own.assign(**{column: named}).groupby(keys, sort=False, dropna=False)
    return groups[list(values)].mean().reset_index()[list(own.columns)]


def first_of_each(table: pd.DataFrame, *, column: str) -> pd.DataFrame:
    """Return the rows of each kind's first replicate, and of all that has none."""
    own = _without_ensembles(table, column)
    return own[own[column].map(_kind) == own[column]]


def _kind(name: str) -> str:
    return replicate_of(name)[0]


def _without_ensembles(table: pd.DataFrame, column: str) -> pd.DataFrame:
    together = {name for name in table[column].unique() if "_ensemble" in name}
    return table[~table[column].isin(together)]
