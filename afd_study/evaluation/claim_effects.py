"""One claim, and how its effect is formed for each seed, from table `values`: means over prompts.

A lead is the distance between two methods' picks by the judge, as a share of the random-to-oracle gap at
the ledger's n, so that tasks compare.
"""

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from afd_study.errors import DataError, unknown_name
from afd_study.evaluation.ranking import rank_correlation
from afd_study.evaluation.sizes import SIZES
from afd_study.evaluation.statistics import require_columns
from afd_study.evaluation.verdicts import Kind
from afd_study.settings import Settings

VALUE_COLUMNS = ("task", "setting", "seed", "table", "metric", "method", "n", "value")
"""Means over prompts; n is 0 where it means nothing."""


class Claim(Settings):
    """One claim and the rule that judges it; `claims.yaml` says what the fields mean.

    A claim without `tasks` is judged in all tasks of its ledger (claims.load_ledger fills them in).
    """

    id: str
    sentence: str
    source: str
    kind: Literal[Kind, "identity"]
    form: str
    metric: str
    margin: float = Field(ge=0)
    table: str = ""
    method: str = ""
    than: str = ""
    against: str = ""
    tasks: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    run: Literal["ledger", "arms"] = "ledger"
    post_hoc: bool = False


class Values:
    """Table `values` by cell: each look-up returns one number a seed.

    Raises DataError for missing columns and repeated rows. `n` is where picks are compared.
    """

    def __init__(self, frame: pd.DataFrame, *, n: int) -> None:
        require_columns(frame, VALUE_COLUMNS)
        self.n = n
        keys = ["task", "setting", "metric", "method", "n"]
        if frame.duplicated([*keys, "seed"]).any():
            row = frame[frame.duplicated([*keys, "seed"])].iloc[0]
            raise DataError(f"table values repeats {row[[*keys, 'seed']].to_dict()}")
        seeded = frame.sort_values("seed").set_index("seed")
        self._cells = dict(iter(seeded.groupby(keys)["value"]))
        self._seeds = {method: set(part) for method, part in frame.groupby("method")["seed"]}
        sizes = frame[frame["metric"] == "judge"].groupby("method")["n"].max()
        self.levels = set(sizes.index[sizes <= 1])  # a policy's or the demonstrations' own score: no picks
        self.tasks = set(frame["task"])
        self.settings = list(dict.fromkeys(frame["setting"]))

    def complete(self, methods: Iterable[str], seeds: Iterable[int]) -> bool:
        """Return whether each of the methods has values at every one of the seeds, in some cell."""
        return all(set(seeds) <= self._seeds.get(method, set()) for method in methods)

    def has(self, task: str, setting: str, metric: str, method: str) -> bool:
        """Return whether there is any value of a method in a cell."""
        return any(key[:4] == (task, setting, metric, method) for key in self._cells)

    def at(self, task: str, setting: str, metric: str, method: str, n: int = 0) -> "pd.Series[float]":
        """Return the values by seed; a method that has a score at n = 1 alone has it at every n.

        Raises SpecError for a setting without any values, DataError where this one value is missing.
        """
        for size in (n, 1, 0) if method in self.levels else (n,):
            if (task, setting, metric, method, size) in self._cells:
                return self._cells[task, setting, metric, method, size]
        if not any(key[1] == setting for key in self._cells):
            raise unknown_name("setting (no values were computed for it)", setting, self.settings)
        raise DataError(
            f"table values holds nothing of metric '{metric}', method '{method}' at n = {n} for task "
            f"'{task}', setting '{setting}': compute it (make results), or correct the claim"
        )

    def judge(self, task: str, setting: str, method: str, n: int) -> "pd.Series[float]":
        """Return the judge's mean of a method's best of n, by seed."""
        return self.at(task, setting, "judge", method, n)

    def gap(self, task: str, setting: str) -> "pd.Series[float]":
        """Return the distance from the random pick to the oracle at n, by seed; NaN where not positive."""
        n = self.n
        gap = self.judge(task, setting, "oracle", n) - self.judge(task, setting, "random", n)
        return gap.where(gap > 0)

    def lead(self, task: str, setting: str, method: str, than: str) -> "pd.Series[float]":
        """Return how far one method's pick lies above that of the other, as a share of the gap."""
        n = self.n
        ahead = self.judge(task, setting, method, n) - self.judge(task, setting, than, n)
        return ahead / self.gap(task, setting)


def same_h(setting: str, style: str) -> str:
    """Return the name of the setting with the same marks and another style.

    >>> same_h("h = 1, matched gain", "style absorbed")
    'h = 1, style absorbed'
    """
    return f"{setting.split(',')[0]}, {style}"


Form = Callable[[Values, Claim, str, str], "pd.Series[float]"]


def _difference(values: Values, claim: Claim, task: str, setting: str) -> "pd.Series[float]":
    """In the metric's own unit; from zero where the claim names no rival."""
    own = values.at(task, setting, claim.metric, claim.method)
    return own - values.at(task, setting, claim.metric, claim.than) if claim.than else own


def _late_fall(values: Values, task: str, setting: str, method: str) -> "pd.Series[float]":
    fall = values.judge(task, setting, method, 8) - values.judge(task, setting, method, 50)
    return fall / values.gap(task, setting)


def _below_peak(values: Values, task: str, setting: str, method: str) -> "pd.Series[float]":
    """The best mean over n = 1, 2, 4, ..., 50 is biased upwards by noise, most for a curve that is flat."""
    curve = pd.concat([values.judge(task, setting, method, n) for n in SIZES], axis=1)
    return (curve.max(axis=1) - curve.iloc[:, -1]) / values.gap(task, setting)


def _between_tasks(values: Values, claim: Claim, task: str, setting: str) -> "pd.Series[float]":
    """The lead in the claim's task minus that in the task `against`, in the same setting."""
    here, there = (values.lead(name, setting, claim.method, claim.than) for name in (task, claim.against))
    return here - there


def _between_settings(values: Values, claim: Claim, task: str, setting: str) -> "pd.Series[float]":
    """The lead in the claim's setting minus that in the setting `against`, in the same task."""
    here, there = (values.lead(task, name, claim.method, claim.than) for name in (setting, claim.against))
    return here - there


def _lost_lead(values: Values, claim: Claim, task: str, setting: str) -> "pd.Series[float]":
    """The lead in the matched setting minus that at the same h with the style absorbed."""
    styled = same_h(setting, claim.against)
    here, there = (values.lead(task, name, claim.method, claim.than) for name in (setting, styled))
    return here - there


def _predicts(values: Values, claim: Claim, task: str, setting: str) -> "pd.Series[float]":
    """Within a seed, the rank correlation of measured and judged lead over the settings that have both."""
    both = (claim.method, claim.than)
    cells = [
        name
        for name in values.settings
        if all(values.has(task, name, metric, m) for metric in (claim.metric, "judge") for m in both)
    ]
    if len(cells) < 3:
        raise DataError(f"claim {claim.id} needs three settings or more, and table values has {len(cells)}")
    separations = [
        values.at(task, name, claim.metric, claim.than) - values.at(task, name, claim.metric, claim.method)
        for name in cells
    ]
    leads = [values.lead(task, name, *both) for name in cells]
    sides = [pd.concat(side, axis=1).dropna() for side in (separations, leads)]
    seeds = sides[0].index.intersection(sides[1].index)
    correlations = rank_correlation(*(side.loc[seeds].to_numpy() for side in sides))
    return pd.Series(np.atleast_1d(correlations), index=seeds)


FORMS: dict[str, Form] = {
    "share": lambda v, c, task, setting: v.lead(task, setting, c.method, c.than),
    "difference": _difference,
    "win_rate": lambda v, c, task, setting: v.at(task, setting, c.metric, c.method, v.n) - 0.5,
    "late_fall": lambda v, c, task, setting: _late_fall(v, task, setting, c.method),
    "late_fall_difference": lambda v, c, task, setting: (
        _late_fall(v, task, setting, c.method) - _late_fall(v, task, setting, c.than)
    ),
    "fall_from_peak": lambda v, c, task, setting: (
        _below_peak(v, task, setting, c.method) - _below_peak(v, task, setting, c.than)
    ),
    "between_tasks": _between_tasks,
    "between_settings": _between_settings,
    "lost_lead": _lost_lead,
    "predicts": _predicts,
}
"""Form -> how the effect of a seed is formed, a share of the gap unless its function says otherwise."""
