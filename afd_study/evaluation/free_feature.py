"""What theory says of marked demonstrations, beside what worlds measured: leads over h, weights in training.

`theory.free_feature` derives how much of Init-Demo's ranking is left at each h. Here that share meets the
cells of the map. It is never fitted to them: a column of the map at h = 0 fixes where a curve begins, and
nothing else does.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from afd_study.errors import DataError

KEYS = ["task", "a", "h"]


def predicted_leads(
    cells: pd.DataFrame, kept: Mapping[str, Mapping[float, float]], *, rival: str = "init_demo"
) -> pd.DataFrame:
    """Return Init-SFT's lead over a rival in each cell, beside what each law predicts from h = 0 alone.

    Init-SFT's share and the rival's at h = 0 are measured, S and R. A law says which part k(h) of the rival's
    share is left, so that the lead is S - k(h) R.

    Args:
        cells: `heterogeneity_map.map_intervals`; cells at matched gain are left out.
        kept: by the name of a law, k at every h of the map.
        rival: whose demonstrations are marked.

    Returns:
        Columns task, a, h, mean, low, high (the measured lead, shares of the gap), law, predicted, error
        (predicted - mean), inside (whether the interval holds the prediction).

    Raises:
        DataError: no cell at h = 0, or a law that leaves out an h of the map.
    """
    plain = cells[~cells["matched"].astype(bool)]
    leads = plain[(plain["quantity"] == "lead") & (plain["method"] == rival)]
    shares = plain[(plain["quantity"] == "share") & (plain["h"] == 0)]
    ends = shares.pivot(index=["task", "a"], columns="method", values="mean")
    if ends.empty:
        raise DataError("a prediction begins at h = 0, and the map has no such cells")
    rows = leads[[*KEYS, "mean", "low", "high"]].join(ends[["init_sft", rival]], on=["task", "a"])
    parts = []
    for name, law in kept.items():
        if lacking := sorted(set(rows["h"]) - set(law)):
            raise DataError(f"the law '{name}' has no value at h = {lacking}; compute it there")
        predicted = rows["init_sft"] - rows["h"].map(dict(law)) * rows[rival]
        inside = (rows["low"] <= predicted) & (predicted <= rows["high"])
        error = predicted - rows["mean"]
        parts.append(rows.assign(law=name, predicted=predicted, error=error, inside=inside))
    table = pd.concat(parts, ignore_index=True).drop(columns=["init_sft", rival])
    return table.sort_values(["law", *KEYS], kind="stable", ignore_index=True)


def prediction_errors(leads: pd.DataFrame) -> pd.DataFrame:
    """Return how far each law is from the cells beyond h = 0: task, law, then by h the mean error, and rmse.

    `inside` is the share of these cells whose interval holds the prediction. Errors are shares of the gap,
    predicted minus measured.
    """
    beyond = leads[leads["h"] > 0]
    by_h = beyond.pivot_table(index=["task", "law"], columns="h", values="error", aggfunc="mean")
    by_h = by_h.rename(columns=lambda h: f"h = {h:g}")
    groups = beyond.groupby(["task", "law"])
    rmse = groups["error"].agg(lambda errors: float(np.sqrt(np.mean(np.square(errors)))))
    return by_h.assign(rmse=rmse, inside=groups["inside"].mean()).reset_index()


def weights_left(
    evaluations: pd.DataFrame, *, models: Sequence[str] = ("init_demo", "sft_demo", "init_sft")
) -> pd.DataFrame:
    """Return how much weight a training loss leaves to a response, as bounds: means over seeds.

    A response with margin m has the loss log(1 + e^-m) and the weight sigmoid(-m) = 1 - e^-loss. That is
    concave in the loss, so that responses of mean loss l have a mean weight of at most 1 - e^-l. It is 1/2
    before training.

    Args:
        evaluations: model, seed, step, training_loss (nats a response, the mean since the evaluation before).
        models: which of them.

    Returns:
        Columns method, step, weight (the bound, as a share of 1/2, at most 1) and effective (steps of weight
        1/2 that give as much in sum).
    """
    rows = evaluations[evaluations["model"].isin(list(models))].sort_values(["model", "seed", "step"])
    if rows.empty:
        raise DataError(
            f"no evaluations of {', '.join(models)}; there are {sorted(set(evaluations['model']))}"
        )
    weight = (-2 * np.expm1(-rows["training_loss"])).clip(upper=1.0)
    length = rows.groupby(["model", "seed"])["step"].diff().fillna(rows["step"])
    summed = (weight * length).groupby([rows["model"], rows["seed"]]).cumsum()
    table = rows.assign(method=rows["model"], weight=weight, effective=summed)
    return table.groupby(["method", "step"], as_index=False)[["weight", "effective"]].mean()
