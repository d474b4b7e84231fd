"""Where a direct method's run is stopped: by its own validation loss, at its end, or by an oracle.

"The method does not get there" and "our run was stopped elsewhere" are told apart by the path between. The
oracle is the judge, who may choose any point of the path, its start included. The best of a dozen noisy
points looks better than it is. So the oracle chooses by the judge's mean on one half of the prompts and is
read on the other half, both ways round: its points are no maximum over noise.
"""

from collections.abc import Sequence

import pandas as pd

from afd_study.errors import DataError
from afd_study.evaluation.statistics import require_columns
from afd_study.records import TABLES

STOPS = ("validated", "last", "oracle")
_READ = ("judge", "off_grammar", "stray_share", "validation_loss")


def stops(path: pd.DataFrame, by: Sequence[str] = ("method",)) -> pd.DataFrame:
    """Return three points of each path, a row each: validated, last and oracle.

    Columns: by, stop, step, judge (points), off_grammar and stray_share (of samples), validation_loss.
    `path` is table `path`, a path for each key of `by`. The validated stop is never the start, for training
    returns none of its reference's weights. The oracle's step is the best by all prompts; its judge's points
    are those of the choice by halves.

    Raises DataError for missing columns, and for a path without a point behind its start.
    """
    require_columns(path, (*by, *TABLES["path"].columns))
    rows = []
    for key, part in path.groupby(list(by), sort=False):
        points = part.set_index("step").sort_index()
        trained = points[points.index > 0]
        if trained.empty:
            raise DataError(f"the path of {key} has no point behind its start")
        one, other = (points[half].to_numpy(dtype=float) for half in ("judge_1", "judge_2"))
        unbiased = float(other[one.argmax()] + one[other.argmax()]) / 2
        where = (trained["validation_loss"].idxmin(), trained.index[-1], points["judge"].idxmax())
        for stop, step in zip(STOPS, where, strict=True):
            told = points.loc[step, list(_READ)].to_dict()
            if stop == "oracle":
                told["judge"] = unbiased
            rows.append({**dict(zip(by, key, strict=True)), "stop": stop, "step": step, **told})
    return pd.DataFrame(rows, columns=[*by, "stop", "step", *_READ])
