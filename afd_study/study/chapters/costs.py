"""What chapter 11 shows of costs: what methods reach for what they spend, from frozen values."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from afd_study.errors import SpecError, StoreError, unknown_name
from afd_study.evaluation.claims import load_ledger
from afd_study.evaluation.statistics import t_intervals
from afd_study.methods.arms import ARMS, DEMONSTRATORS
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.study.chapters import arms
from afd_study.study.chapters.words import by_task_and_method
from afd_study.study.frozen.files import read_frozen
from afd_study.study.frozen.method_costs import AMOUNTS, LABELS, break_even

UNITS = {
    "tokens": ("thousand tokens", 1e3),
    "flops": ("GFLOP", 1e9),
    "seconds": ("seconds", 1.0),
    "tokens_per_answer": ("tokens an answer", 1.0),
    "flops_per_answer": ("MFLOP an answer", 1e6),
    "seconds_per_answer": ("ms an answer", 1e-3),
    "demonstrations": ("demonstrations", 1.0),
    "preference_labels": ("preference labels", 1.0),
}
"""Metric -> the heading of its column, and how much one of the heading's units is."""


def costs() -> pd.DataFrame:
    """Return every method's costs, over seeds: task, method, metric, mean, low, high.

    Controls with the exact logit are left out. Nobody has the demonstrators' law, and here it costs nothing.

    Raises StoreError where they have not been computed, or do not match their manifest.
    """
    try:
        table = read_frozen("arms", "costs")
    except SpecError as fault:
        raise StoreError(
            "the frozen arms hold no costs, so they are older than this code: compute them with "
            "`make results WHAT=arms`"
        ) from fault
    exact = [name for name, arm in ARMS.items() if DEMONSTRATORS in arm.sources]
    return table[~table["method"].isin(exact)].reset_index(drop=True)


def means() -> pd.DataFrame:
    """Return costs with a column each, means over seeds, in the methods' order: task, method, metrics."""
    wide = costs().pivot(index=["task", "method"], columns="metric", values="mean").reset_index()
    wide.columns.name = None
    return by_task_and_method(wide)


def making() -> pd.DataFrame:
    """Return what making each method took, without any answer: in thousands of tokens, GFLOP, seconds."""
    table = means()[["task", "method", *(f"making_{name}" for name in AMOUNTS), *LABELS]]
    table = table.astype(dict.fromkeys(LABELS, int))
    return _in_units(table.rename(columns=lambda name: name.removeprefix("making_")))


def answering() -> pd.DataFrame:
    """Return what one answer takes: tokens, MFLOP, milliseconds."""
    return _in_units(means()[["task", "method", *(f"{name}_per_answer" for name in AMOUNTS)]])


def _in_units(table: pd.DataFrame) -> pd.DataFrame:
    scaled = {name: table[name] / unit for name, (_, unit) in UNITS.items() if name in table and unit != 1}
    return table.assign(**scaled).rename(columns={name: heading for name, (heading, _) in UNITS.items()})


def judged() -> pd.DataFrame:
    """Return what the judge gives each method's answers: task, method, mean, low, high (points), n_seeds.

    A policy's answers are its own samples, those of a reward model its picks at the ledger's n.
    """
    values, n = arms.values(), load_ledger().n
    methods = set(costs()["method"])
    size = np.where(values["method"].isin(list(REWARD_DATA)), n, 1)
    rows = values[(values["metric"] == "judge") & (values["n"] == size) & values["method"].isin(methods)]
    return t_intervals(rows, ("task", "method"))


def against(*metrics: str) -> pd.DataFrame:
    """Return judge against costs: task, method, metric, cost, and the columns of `judged`.

    Raises SpecError for an unknown metric of costs.
    """
    table = costs()
    for metric in metrics:
        if metric not in set(table["metric"]):
            raise unknown_name("metric of costs", metric, set(table["metric"]))
    spent = table[table["metric"].isin(metrics)].rename(columns={"mean": "cost"})
    both = spent[["task", "method", "metric", "cost"]].merge(judged(), on=["task", "method"])
    return both.sort_values(["metric", "task", "cost"], kind="stable").reset_index(drop=True)


def frontier(metric: str = "flops") -> pd.DataFrame:
    """Return the methods whose mean score no method of equal or lower cost reaches, a task's cheapest first.

    Columns: task, method, the cost in its unit (UNITS), mean, low, high (points), n_seeds.
    """
    rows = against(metric).sort_values(["task", "cost", "mean"], ascending=[True, True, False], kind="stable")
    before = rows.groupby("task")["mean"].transform(lambda means: means.cummax().shift())
    best = rows[(rows["mean"] > before) | before.isna()].rename(columns={"cost": metric})
    columns = ["task", "method", metric, "mean", "low", "high", "n_seeds"]
    return _in_units(best[columns].reset_index(drop=True))


def totals(methods: Iterable[str], *, most: float = 1e7, metric: str = "flops") -> pd.DataFrame:
    """Return what making a method and answering so many prompts costs: task, method, prompts, total.

    `most` is the largest number of prompts, `metric` one of tokens, flops, seconds.

    Raises SpecError for an unknown method.
    """
    table, prompts = means(), np.geomspace(1, most, 57)
    for name in methods:
        if name not in set(table["method"]):
            raise unknown_name("method with a cost", name, set(table["method"]))
    lines = []
    for row in table[table["method"].isin(list(methods))].to_dict("records"):
        total = row[f"making_{metric}"] + prompts * row[f"{metric}_per_answer"]
        line = pd.DataFrame({"prompts": prompts, "total": total}).assign(
            task=row["task"], method=row["method"]
        )
        lines.append(line[["task", "method", "prompts", "total"]])
    return pd.concat(lines, ignore_index=True)


def crossings(than: str = "init_sft", metric: str = "flops") -> pd.DataFrame:
    """Return where methods have cost as much as Best-of-n by `than`: task, method, making, answer, prompts.

    `making` and `answer` are ratios of its cost to the other's, from means over seeds; `prompts` is how many
    answers level them, NaN where one of the two always costs less.

    Raises SpecError for an unknown method.
    """
    names, rows = (f"making_{metric}", f"{metric}_per_answer"), []
    for _, part in means().groupby("task", sort=True):
        other = part[part["method"] == than]
        if other.empty:
            raise unknown_name("method with a cost", than, set(part["method"]))
        than_making, than_answer = (float(other[name].iloc[0]) for name in names)
        for row in part[part["method"] != than].to_dict("records"):
            making, answer = (float(row[name]) for name in names)
            level = break_even(making=making, answer=answer, than_making=than_making, than_answer=than_answer)
            rows.append((row["task"], row["method"], making / than_making, answer / than_answer, level))
    return pd.DataFrame(rows, columns=["task", "method", "making", "answer", "prompts"])
