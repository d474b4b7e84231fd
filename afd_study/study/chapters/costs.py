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
from afd_study.study.frozen.files import read_frozen
from afd_study.study.frozen.method_costs import AMOUNTS, LABELS, break_even

UNITS = {
    "tokens": ("thousand tokens", 1e3), "flops": ("GFLOP", 1e9), "seconds": ("seconds", 1.0),
    "tokens_per_answer": ("tokens an answer", 1.0), "flops_per_answer": ("MFLOP an answer", 1e6),
    "seconds_per_answer": ("ms an answer", 1e-3),
    "demonstrations": ("demonstrations", 1.0), "preference_labels": ("preference labels", 1.0),
}  # fmt: skip
"""Metric -> the heading of its column, and what one of its unit is."""


def costs() -> pd.DataFrame:
    """Return every method's costs, over seeds: task, method, metric, mean, low, high.

    Controls with the exact logit are left out: nobody has the demonstrators' law, which costs nothing here.

    Raises StoreError where they have not been computed, or do not match their manifest.
    """
    try:
        found = read_frozen("arms", "costs")
    except SpecError as fault:
        raise StoreError(
            "the frozen arms hold no costs, so they are older than this code: compute them with "
            "`make results WHAT=arms`"
        ) from fault
    exact = [name for name, arm in ARMS.items() if DEMONSTRATORS in arm.sources]
    return found[~found["method"].isin(exact)].reset_index(drop=True)


def means() -> pd.DataFrame:
    """Return costs with a column each, means over seeds, in the methods' order: task, method, metrics."""
    order = {name: place for place, name in enumerate(("pi_sft", *REWARD_DATA, *ARMS))}
    wide = costs().pivot(index=["task", "method"], columns="metric", values="mean").reset_index()
    wide.columns.name = None
    wide = wide.sort_values("method", key=lambda column: column.map(order), kind="stable")
    return wide.sort_values("task", kind="stable").reset_index(drop=True)


def making() -> pd.DataFrame:
    """Return what making each method took, without any answer: in thousands of tokens, GFLOP, seconds."""
    found = means()[["task", "method", *(f"making_{name}" for name in AMOUNTS), *LABELS]]
    found = found.astype(dict.fromkeys(LABELS, int))
    return _in_units(found.rename(columns=lambda name: name.removeprefix("making_")))


def answering() -> pd.DataFrame:
    """Return what one answer takes: tokens, MFLOP, milliseconds."""
    return _in_units(means()[["task", "method", *(f"{name}_per_answer" for name in AMOUNTS)]])


def _in_units(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(
        **{name: table[name] / unit for name, (_, unit) in UNITS.items() if name in table and unit != 1}
    ).rename(columns={name: heading for name, (heading, _) in UNITS.items()})


def judged() -> pd.DataFrame:
    """Return what the judge gives each method's answers: task, method, mean, low, high (points), n_seeds.

    Of a policy its own samples, of Best-of-n by a reward model the pick at the ledger's n.
    """
    found, n = arms.values(), load_ledger().n
    methods = set(costs()["method"])
    size = np.where(found["method"].isin(list(REWARD_DATA)), n, 1)
    chosen = found[(found["metric"] == "judge") & (found["n"] == size) & found["method"].isin(methods)]
    return t_intervals(chosen, ("task", "method"))


def against(*metrics: str) -> pd.DataFrame:
    """Return judge against costs: task, method, metric, cost, and the columns of `judged`.

    Raises SpecError for a metric that costs are not told in.
    """
    found = costs()
    for metric in metrics:
        if metric not in set(found["metric"]):
            raise unknown_name("metric of costs", metric, set(found["metric"]))
    spent = found[found["metric"].isin(metrics)].rename(columns={"mean": "cost"})
    both = spent[["task", "method", "metric", "cost"]].merge(judged(), on=["task", "method"])
    return both.sort_values(["metric", "task", "cost"], kind="stable").reset_index(drop=True)


def frontier(metric: str = "flops") -> pd.DataFrame:
    """Return the methods whose mean score no method of equal or lower cost reaches, a task's cheapest first.

    Columns: task, method, the cost in its unit (UNITS), mean, low, high (points), n_seeds.
    """
    rows = against(metric).sort_values(["task", "cost", "mean"], ascending=[True, True, False], kind="stable")
    before = rows.groupby("task")["mean"].transform(lambda means: means.cummax().shift())
    kept = rows[(rows["mean"] > before) | before.isna()].rename(columns={"cost": metric})
    columns = ["task", "method", metric, "mean", "low", "high", "n_seeds"]
    return _in_units(kept[columns].reset_index(drop=True))


def totals(methods: Iterable[str], *, most: float = 1e7, metric: str = "flops") -> pd.DataFrame:
    """Return what making a method and answering so many prompts costs: task, method, prompts, total.

    `most` is the largest number of prompts, `metric` one of tokens, flops, seconds.

    Raises SpecError for an unknown method.
    """
    found, prompts = means(), np.geomspace(1, most, 57)
    for name in methods:
        if name not in set(found["method"]):
            raise unknown_name("method with a cost", name, set(found["method"]))
    rows = [
        pd.DataFrame({
            "task": row["task"], "method": row["method"], "prompts": prompts,
            "total": row[f"making_{metric}"] + prompts * row[f"{metric}_per_answer"],
        })
        for row in found[found["method"].isin(list(methods))].to_dict("records")
    ]  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def crossings(than: str = "init_sft", metric: str = "flops") -> pd.DataFrame:
    """Return where methods have cost as much as Best-of-n by `than`: task, method, making, answer, prompts.

    `making` and `answer` are ratios of its cost to the other's, from means over seeds; `prompts` is how many
    answers level them, NaN where one of the two is never the dearer.
    """
    names, rows = (f"making_{metric}", f"{metric}_per_answer"), []
    for _, part in means().groupby("task", sort=True):
        other = part[part["method"] == than]
        if other.empty:
            raise unknown_name("method with a cost", than, set(part["method"]))
        base = [float(other[name].iloc[0]) for name in names]
        for row in part[part["method"] != than].to_dict("records"):
            made, asked = (float(row[name]) for name in names)
            level = break_even(making=made, answer=asked, than_making=base[0], than_answer=base[1])
            rows.append((row["task"], row["method"], made / base[0], asked / base[1], level))
    return pd.DataFrame(rows, columns=["task", "method", "making", "answer", "prompts"])
