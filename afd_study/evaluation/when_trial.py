"""The law of when, tried on worlds that it has not seen: errors, calibration, regret.

`cells` have the actual leads (lead_over_RIVAL, shares of the gap); `predictions` are those of `Law.predict`
or `when_fit.leave_worlds_out`, with the same index. Cells without a prediction count as such and are left out
of all else. Intervals are over world means: the cells of one world are one unit.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from afd_study.errors import DataError, unknown_name
from afd_study.evaluation.statistics import require_columns, seed_interval
from afd_study.evaluation.when import METHOD, RIVALS, RuleInWords, best_choice

NAIVE = {"always SFT": "random", "always Init-SFT": METHOD, "always longest": "longest"}
"""A rule that looks at nothing -> whom it picks by."""


def lead_errors(
    cells: pd.DataFrame, predictions: pd.DataFrame, *, rivals: Sequence[str] = RIVALS
) -> pd.DataFrame:
    """Return how far predicted leads lie from actual ones, a row a rival.

    Columns rival, error (root mean square, share of the gap), bias (predicted less actual), error_of_mean
    (that of the fitted cells' mean lead, which knows no diagnostic), n_cells, n_worlds, n_no_prediction.
    """
    both, without = _inside(cells, predictions)
    rows = []
    for rival in rivals:
        miss = both[f"predicted_{rival}"] - both[f"lead_over_{rival}"]
        usual = both[f"usual_{rival}"] - both[f"lead_over_{rival}"]
        errors = (np.sqrt((miss**2).mean()), miss.mean(), np.sqrt((usual**2).mean()))
        rows.append((rival, *errors, len(both), both["world"].nunique(), without))
    columns = ["rival", "error", "bias", "error_of_mean", "n_cells", "n_worlds", "n_no_prediction"]
    return pd.DataFrame(rows, columns=columns)


def calibration(
    cells: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    rival: str = "random",
    edges: Sequence[float] = (0, 0.2, 0.4, 0.6, 0.8, 1),
) -> pd.DataFrame:
    """Compare the chance that Init-SFT beats a rival with how often it does, in bins of the chance.

    Columns from, to, chance (mean), observed (share of cells with a lead above 0), n_cells, n_worlds, and
    brier (the mean square of chance less outcome in the bin; weighted by n_cells it adds up to the whole's).
    Empty bins are left out.
    """
    both, _ = _inside(cells, predictions)
    chance = both[f"chance_{rival}"].to_numpy(dtype=float)
    won = (both[f"lead_over_{rival}"] > 0).to_numpy(dtype=float)
    number = np.clip(np.searchsorted(edges, chance, side="right") - 1, 0, len(edges) - 2)
    rows = []
    for i in sorted(set(number)):
        here = number == i
        scores = (chance[here].mean(), won[here].mean(), here.sum(), both.loc[here, "world"].nunique())
        rows.append((edges[i], edges[i + 1], *scores, ((chance[here] - won[here]) ** 2).mean()))
    columns = ["from", "to", "chance", "observed", "n_cells", "n_worlds", "brier"]
    return pd.DataFrame(rows, columns=columns)


def regrets(
    cells: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    rule: RuleInWords | None = None,
    rivals: Sequence[str] = RIVALS,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return what each rule loses against the best choice of each cell, judged afterwards.

    Choices are Init-SFT and `rivals`. Columns rule (the law, the rule in words, and `NAIVE`), regret (mean
    over worlds, share of the gap), low, high (t over worlds), best (share of cells in which it took the
    best), n_cells, n_worlds, n_no_prediction. All rules are compared on the cells that the law predicts.
    Raises SpecError where a rule picks by a method that is not among them.
    """
    both, without = _inside(cells, predictions)
    leads = {name: both[f"lead_over_{name}"].to_numpy(dtype=float) for name in rivals}
    score = {METHOD: np.zeros(len(both))} | {name: -lead for name, lead in leads.items()}
    names, table = list(score), np.column_stack(list(score.values()))
    best = best_choice(leads)
    choices = {
        "the law": both["choice"].to_numpy(dtype=str),
        "the rule in words": (rule or RuleInWords()).choose(both),
    }
    choices |= {label: np.full(len(both), name) for label, name in NAIVE.items()}
    rows = []
    for label, choice in choices.items():
        for name in sorted(set(choice) - set(names)):
            raise unknown_name(f"choice of {label} (add it to `rivals`)", name, names)
        pick = table[np.arange(len(both)), [names.index(name) for name in choice]]
        regret = pd.Series(table.max(axis=1) - pick, index=both.index)
        by_world = regret.groupby(both["world"]).mean()
        counts = (float((choice == best).mean()), len(both), len(by_world), without)
        rows.append((label, *map(float, seed_interval(by_world, level)), *counts))
    columns = ["rule", "regret", "low", "high", "best", "n_cells", "n_worlds", "n_no_prediction"]
    return pd.DataFrame(rows, columns=columns)


def _inside(cells: pd.DataFrame, predictions: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return cells beside their predictions, and the number of cells without one."""
    require_columns(cells, ("world",))
    require_columns(predictions, ("no_prediction", "choice"))
    if not cells.index.is_unique or set(cells.index) != set(predictions.index):
        raise DataError("cells and predictions are not of the same cells: their indices differ, or repeat")
    both = cells.join(predictions)
    inside = (both["no_prediction"] == "").to_numpy()
    return both[inside], int((~inside).sum())
