"""Many verdicts at once: q-values over the family of distinct primary rows."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from afd_study.errors import DataError
from afd_study.evaluation.statistics import require_columns

Q_METHODS = {"q": "fdr_bh", "q_dependent": "fdr_by"}
"""Column -> its name in statsmodels: Benjamini and Hochberg 1995, and Benjamini and Yekutieli 2001.

The first holds for independent tests and under positive dependence, the second under any: contrasts share
Init-SFT.
"""


def q_values(rows: pd.DataFrame, *, test: Sequence[str], primary: str = "primary") -> pd.DataFrame:
    """Return the rows with columns q and q_dependent, from the column `p` of each verdict's own null.

    `test` are the columns that name a test: rows that share them are one test (marks reach no policy, so a
    claim that reads none is the same at every h), counted once, and have one q. The family are the tests of
    rows whose column `primary` is True and whose p is defined; other rows have NaN. Raises DataError for
    missing columns, for a p outside of 0 to 1, and where rows of one test differ in p.
    """
    require_columns(rows, (*test, "p", primary))
    inside = rows[primary].to_numpy(dtype=bool) & rows["p"].notna().to_numpy()
    family = rows[inside]
    if not family["p"].between(0, 1).all():
        raise DataError(f"p-values lie between 0 and 1, and some are {sorted(family['p'])[0]} or above 1")
    spread = family.groupby(list(test))["p"].agg(["first", np.ptp])
    if (spread["ptp"] > 0).any():
        raise DataError(
            f"rows of the test {spread.index[spread['ptp'] > 0][0]} differ in p: they are not one test; "
            f"name it by more columns than {list(test)}"
        )
    result = rows.assign(**dict.fromkeys(Q_METHODS, np.nan))
    for column, method in Q_METHODS.items():
        if len(spread):
            q = pd.Series(multipletests(spread["first"].to_numpy(), method=method)[1], index=spread.index)
            keys = pd.MultiIndex.from_frame(family[list(test)]) if len(test) > 1 else family[test[0]]
            result.loc[inside, column] = q.reindex(keys).to_numpy()
    return result
