"""Frozen tables of before 2026-11-29, in today's words.

Until then `precision` was the share of good answers, and `coverage` that of good demonstrations alone. Both
words have since had chapter 3's meaning, and what they counted has names of its own: the numbers are as they
were.
"""

import pandas as pd

FIRST_NAMES = {
    "coverage": "coverage_of_good",
    "precision": "good_share",
    "demonstration_precision": "demonstration_good_share",
    "precision_at_equal_length": "good_share_at_equal_length",
}
"""Metric of an old table -> its name today."""


def with_present_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return a frozen table with its metrics named as they are today; a table of today is left as it is.

    An old one measures demonstrations by what was called their precision, and has no good share of theirs.
    """
    if "metric" not in table.columns:
        return table
    metrics = set(table["metric"])
    if "demonstration_precision" not in metrics or "demonstration_good_share" in metrics:
        return table
    return table.assign(metric=table["metric"].replace(FIRST_NAMES))
