"""From the tables of a study to table `values`: one number a seed, metric, method and n (means over prompts).

It is all that the ledger and the map need, and small enough to be kept.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from afd_study.evaluation.claim_effects import SIZES, VALUE_COLUMNS
from afd_study.evaluation.score_vs_kl import at_equal_kl
from afd_study.methods.arms import WAYS
from afd_study.study.frozen.grids import Cell
from afd_study.study.frozen.method_costs import cost_values
from afd_study.study.study import Study
from afd_study.study.workflow.executor import execute
from afd_study.study.workflow.store import Store, default_store

LEVELS = ("pi_init", "pi_sft", "demonstrations")  # what every other score is held against
KEYS = [name for name in VALUE_COLUMNS if name not in ("seed", "value")]


def gather(
    cells: Iterable[Cell],
    *,
    store: Store | None = None,
    jobs: int = 1,
    profile: str = "cpu",
    lines: bool = False,
) -> pd.DataFrame:
    """Compute what the cells need and the store lacks, and return table `values` of all of them."""
    chosen, kept = list(cells), store or default_store()
    studies = [cell.study(kept, jobs, profile) for cell in chosen]
    steps = [step for cell, study in zip(chosen, studies, strict=True) for step in cell.steps(study)]
    threads = studies[0].spec.threads
    execute(steps, kept, jobs=jobs, threads=threads, lines=lines)
    frames = [cell_values(cell, study) for cell, study in zip(chosen, studies, strict=True)]
    return pd.concat(frames, ignore_index=True)


def cell_values(cell: Cell, study: Study) -> pd.DataFrame:
    """Return a cell's part of table `values`."""
    frames: list[pd.DataFrame] = []
    if "coverage" in cell.wanted:
        covering = study.table("coverage").rename(columns={"policy": "method"})
        frames.append(_means(covering, "coverage", by=("metric", "method")))
    if "outcomes" in cell.wanted:
        frames += [_outcomes(study.table("outcomes")), _win_rates(study.table("win_rates"))]
    if "probes" in cell.wanted:
        ranked = study.table("rank_correlations")
        frames += [_means(ranked, "probes", by=("metric", "method")), _aucs(study.table("conditional_auc"))]
    if "arms" in cell.wanted:
        frames += [*_arms(study.table("arms"), study.table("drift")), cost_values(study)]
    found = pd.concat(frames, ignore_index=True)
    return found.assign(task=cell.task, setting=cell.setting)[list(VALUE_COLUMNS)]


def wide(values: pd.DataFrame) -> pd.DataFrame:
    """Return table `values` with a column for each seed: a quarter of the size."""
    table = values.pivot(index=KEYS, columns="seed", values="value").reset_index()
    table.columns = [str(name) for name in table.columns]
    return table


def narrow(table: pd.DataFrame) -> pd.DataFrame:
    """Undo `wide`; cells without a value at a seed are left out."""
    found = table.melt(KEYS, var_name="seed", value_name="value").dropna(subset="value")
    return found.assign(seed=found["seed"].astype(int))[list(VALUE_COLUMNS)].reset_index(drop=True)


def _outcomes(outcomes: pd.DataFrame) -> pd.DataFrame:
    found = outcomes[outcomes["n"].isin(SIZES)].assign(metric="judge")
    return _means(found, "outcomes", by=("metric", "method", "n"))


def _win_rates(won: pd.DataFrame) -> pd.DataFrame:
    found = won[won["n"].isin(SIZES)]
    found = found.assign(metric="win_rate_over_" + found["opponent"])
    return _means(found, "win_rates", by=("metric", "method", "n"))


def _aucs(aucs: pd.DataFrame) -> pd.DataFrame:
    """Return how well each discriminator tells its own sources apart, held out, with and without length."""
    names = {
        "none": "auc",
        "length": "auc_without_length",
        "length and style": "auc_without_length_and_style",
    }
    found = aucs[aucs["within"].isin(list(names))].rename(columns={"scorer": "method", "auc": "value"})
    return _means(found.assign(metric=found["within"].map(names)), "separability", by=("metric", "method"))


def _arms(arms: pd.DataFrame, drift: pd.DataFrame) -> list[pd.DataFrame]:
    """Return what policies beyond picking reach, what it costs in nats, and the ways at Best-of-n's KL."""
    reached = arms.rename(columns={"policy": "method"})
    judged, costs = reached["metric"] == "judge", reached["metric"].isin(["kl", "proxy", "ess"])
    known = reached["method"].isin(LEVELS)  # outcomes has their scores
    picks = drift["method"] != "sequence_extrapolation"
    picked = drift[picks].assign(n=drift["at"].astype(np.int64))
    spread = drift[~picks].assign(
        method=drift["method"] + "_" + drift["at"].map("{:g}".format), n=np.int64(1)
    )
    by = ("metric", "method", "n")
    frames = [
        _means(reached[judged & ~known].assign(n=np.int64(1)), "outcomes", by=by),
        _means(reached[costs].assign(n=np.int64(1)), "drift", by=by),
        _means(reached[~judged & ~costs], "coverage", by=("metric", "method")),
        _means(_long(picked, ["proxy", "kl"]), "drift", by=by),
        _means(_long(spread, ["judge"]), "outcomes", by=by),
        _means(_long(spread, ["proxy", "kl", "ess"]), "drift", by=by),
    ]
    return [*frames, _ways(reached, picked)]


def _long(drift: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    return drift.melt(["seed", "method", "n", "prompt_id"], metrics, "metric", "value")


def _ways(reached: pd.DataFrame, picked: pd.DataFrame) -> pd.DataFrame:
    """Return the judge's mean of each way at the KL of Best-of-n, where the way goes so far."""
    means = reached[reached["metric"].isin(["judge", "kl"])].groupby(["seed", "method", "metric"])["value"]
    points = means.mean().unstack("metric").dropna().reset_index()
    costs = picked.groupby(["seed", "n"])["kl"].mean()
    rows = [
        (seed, way, "judge", n, at_equal_kl(part[part["method"].isin(["pi_sft", *arms])], kl))
        for way, arms in WAYS.items()
        if set(arms) <= set(points["method"])
        for seed, part in points.groupby("seed")
        for n, kl in costs[seed].items()
    ]
    found = pd.DataFrame(rows, columns=["seed", "method", "metric", "n", "value"])
    return found.dropna(subset="value").assign(table="outcomes")


def histories(cells: Iterable[Cell], name: str, *, store: Store | None = None) -> pd.DataFrame:
    """Return how arms' training went, means over seeds, by task, setting, method and step, and n_seeds.

    `name` is history (direct methods: losses, both sides; nats) or trajectory (policy gradient, imitation).
    Steps that not every seed came to (patience) are left out.
    """
    studies = [(cell, cell.study(store or default_store())) for cell in cells]
    frames = [study.histories(name).assign(task=cell.task, setting=cell.setting) for cell, study in studies]
    every = pd.concat(frames, ignore_index=True).dropna(axis=1, how="all")
    means = every.groupby(["task", "setting", "method", "step"], sort=False).mean().drop(columns="seed")
    means["n_seeds"] = every.groupby(["task", "setting", "method", "step"]).size()
    most = means.groupby(["task", "setting", "method"])["n_seeds"].transform("max")
    return means[means["n_seeds"] == most].reset_index()


def _means(frame: pd.DataFrame, table: str, *, by: tuple[str, ...]) -> pd.DataFrame:
    found = frame.groupby(["seed", *by])["value"].mean().dropna().reset_index()
    return found.assign(table=table, n=found["n"] if "n" in by else np.int64(0))
