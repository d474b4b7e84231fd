"""From the tables of a study to table `values`: one number a seed, metric, method and n (means over prompts).

The ledger, the arms, the map and the ablations need no more of a study, and it is small enough to be frozen.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from afd_study.evaluation.claim_effects import VALUE_COLUMNS
from afd_study.evaluation.score_vs_kl import at_equal_kl
from afd_study.evaluation.sizes import SIZES
from afd_study.evaluation.stops import stops
from afd_study.methods.arms import WAYS
from afd_study.study.frozen.files import read_frozen
from afd_study.study.frozen.grids import Cell
from afd_study.study.frozen.method_costs import cost_values
from afd_study.study.frozen.present_names import with_present_names
from afd_study.study.study import Study
from afd_study.study.workflow.executor import execute
from afd_study.study.workflow.store import Store, default_store

LEVELS = ("pi_init", "pi_sft", "demonstrations")  # what every other score is compared with
KEYS = [name for name in VALUE_COLUMNS if name not in ("seed", "value")]


def gather(
    cells: Iterable[Cell],
    *,
    store: Store | None = None,
    jobs: int = 1,
    profile: str = "cpu",
    lines: bool = False,
) -> pd.DataFrame:
    """Compute what the cells need and the store lacks, and return table `values` of all of them.

    Args:
        cells: one or more cells.
        store: where artefacts lie; None takes the default (AFD_STORE).
        jobs: steps at once.
        profile: of every cell.
        lines: print a line for each step, for a log.
    """
    store = store or default_store()
    studies = [(cell, cell.study(store, jobs, profile)) for cell in cells]
    steps = [step for cell, study in studies for step in cell.steps(study)]
    execute(steps, store, jobs=jobs, threads=studies[0][1].spec.threads, lines=lines)
    return pd.concat([cell_values(cell, study) for cell, study in studies], ignore_index=True)


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
        frames += [_objectives(study.table("objectives")), _stops(study.table("path"))]
    values = pd.concat(frames, ignore_index=True)
    values = values.assign(task=cell.task, setting=cell.setting)[list(VALUE_COLUMNS)]
    return values.astype({"value": float})  # a part without rows may have made them objects


def wide(values: pd.DataFrame, *, along: str = "seed") -> pd.DataFrame:
    """Return table `values` with a column for each seed (or world: `along`): a fraction of the size."""
    keys = [name for name in values.columns if name not in (along, "value")]
    table = values.pivot(index=keys, columns=along, values="value").reset_index()
    table.columns = [str(name) for name in table.columns]
    return table


def narrow(
    table: pd.DataFrame, *, along: str = "seed", columns: Sequence[str] = VALUE_COLUMNS
) -> pd.DataFrame:
    """Undo `wide`; a method without a value at a seed has no row for it."""
    keys = [name for name in columns if name not in (along, "value")]
    values = table.melt(keys, var_name=along, value_name="value").dropna(subset="value")
    return values.assign(**{along: values[along].astype(int)})[list(columns)].reset_index(drop=True)


def frozen_values(name: str) -> pd.DataFrame:
    """Return table `values` of the frozen results `name`, a row a seed, its metrics named as they are today.

    Raises StoreError where it is missing or does not match its manifest.
    """
    return with_present_names(narrow(read_frozen(name, "values")))


def histories(cells: Iterable[Cell], name: str, *, store: Store | None = None) -> pd.DataFrame:
    """Return how arms' training went, means over seeds, by task, setting, method and step, and n_seeds.

    `name` is history (direct methods: losses and both sides' log-probabilities, in nats) or trajectory
    (policy gradient, imitation). Steps that early stopping kept some seed from are left out.
    """
    studies = [(cell, cell.study(store or default_store())) for cell in cells]
    frames = [study.histories(name).assign(task=cell.task, setting=cell.setting) for cell, study in studies]
    every = pd.concat(frames, ignore_index=True).dropna(axis=1, how="all")
    means = every.groupby(["task", "setting", "method", "step"], sort=False).mean().drop(columns="seed")
    means["n_seeds"] = every.groupby(["task", "setting", "method", "step"]).size()
    most = means.groupby(["task", "setting", "method"])["n_seeds"].transform("max")
    return means[means["n_seeds"] == most].reset_index()


def arm_tables(cells: Iterable[Cell], name: str, *, store: Store | None = None) -> pd.DataFrame:
    """Return table `objectives` or `path` of all cells as it stands, a row a seed and more."""
    studies = [(cell, cell.study(store or default_store())) for cell in cells]
    frames = [study.table(name).assign(task=cell.task, setting=cell.setting) for cell, study in studies]
    table = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    first = ["task", "setting", "seed", "method"]
    return table[[*first, *(column for column in table.columns if column not in first)]]


def _objectives(objectives: pd.DataFrame) -> pd.DataFrame:
    """Return what imitation did to its own objective: at its start, its end, and the change (nats)."""
    names = {name: f"objective_{name}" for name in ("start", "end", "change")}
    rows = objectives.rename(columns=names).melt(["seed", "method"], list(names.values()), "metric", "value")
    return _means(rows.astype({"value": float}), "objectives", by=("metric", "method"))


def _stops(path: pd.DataFrame) -> pd.DataFrame:
    """Return direct methods at their validated and at the oracle's stop: METRIC_STOP, by method."""
    rows = stops(path, ("seed", "method"))
    rows = rows[rows["stop"] != "last"].rename(columns={"step": "stop_step"})
    metrics = ["judge", "off_grammar", "stray_share", "stop_step"]
    rows = rows.melt(["seed", "method", "stop"], metrics, "metric", "value")
    rows = rows.assign(metric=rows["metric"] + "_" + rows["stop"]).astype({"value": float})
    return _means(rows, "path", by=("metric", "method"))


def _outcomes(outcomes: pd.DataFrame) -> pd.DataFrame:
    judged = outcomes[outcomes["n"].isin(SIZES)].assign(metric="judge")
    return _means(judged, "outcomes", by=("metric", "method", "n"))


def _win_rates(win_rates: pd.DataFrame) -> pd.DataFrame:
    rows = win_rates[win_rates["n"].isin(SIZES)]
    rows = rows.assign(metric="win_rate_over_" + rows["opponent"])
    return _means(rows, "win_rates", by=("metric", "method", "n"))


def _aucs(aucs: pd.DataFrame) -> pd.DataFrame:
    """Return how well each discriminator tells its own sources apart, held out, with and without length."""
    names = {
        "none": "auc",
        "length": "auc_without_length",
        "length and style": "auc_without_length_and_style",
    }
    rows = aucs[aucs["within"].isin(list(names))].rename(columns={"scorer": "method", "auc": "value"})
    return _means(rows.assign(metric=rows["within"].map(names)), "separability", by=("metric", "method"))


def _arms(arms: pd.DataFrame, drift: pd.DataFrame) -> list[pd.DataFrame]:
    """Return what policies beyond picking reach, how far they drift, and the ways at Best-of-n's KL."""
    once, by = np.int64(1), ("metric", "method", "n")
    reached = arms.rename(columns={"policy": "method"})
    judged, drifted = reached["metric"] == "judge", reached["metric"].isin(["kl", "proxy", "ess"])
    elsewhere = reached["method"].isin(LEVELS)  # table `outcomes` has their scores
    is_pick = drift["method"] != "sequence_extrapolation"
    picks = drift[is_pick].assign(n=drift["at"].astype(np.int64))
    strength = drift["at"].map("{:g}".format)
    whole = drift[~is_pick].assign(method=drift["method"] + "_" + strength, n=once)
    return [
        _means(reached[judged & ~elsewhere].assign(n=once), "outcomes", by=by),
        _means(reached[drifted].assign(n=once), "drift", by=by),
        _means(reached[~judged & ~drifted], "coverage", by=("metric", "method")),
        _means(_long(picks, ["proxy", "kl"]), "drift", by=by),
        _means(_long(whole, ["judge"]), "outcomes", by=by),
        _means(_long(whole, ["proxy", "kl", "ess"]), "drift", by=by),
        _ways(reached, picks),
    ]


def _long(drift: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    return drift.melt(["seed", "method", "n", "prompt_id"], metrics, "metric", "value")


def _ways(reached: pd.DataFrame, picks: pd.DataFrame) -> pd.DataFrame:
    """Return the judge's mean of each way at the KL of Best-of-n, where the way reaches that KL."""
    means = reached[reached["metric"].isin(["judge", "kl"])].groupby(["seed", "method", "metric"])["value"]
    points = means.mean().unstack("metric").dropna().reset_index()
    kl_of_picks = picks.groupby(["seed", "n"])["kl"].mean()
    rows = [
        (seed, way, "judge", n, at_equal_kl(part[part["method"].isin(["pi_sft", *arms])], kl))
        for way, arms in WAYS.items()
        if set(arms) <= set(points["method"])
        for seed, part in points.groupby("seed")
        for n, kl in kl_of_picks[seed].items()
    ]
    values = pd.DataFrame(rows, columns=["seed", "method", "metric", "n", "value"])
    return values.dropna(subset="value").assign(table="outcomes")


def _means(frame: pd.DataFrame, table: str, *, by: tuple[str, ...]) -> pd.DataFrame:
    means = frame.groupby(["seed", *by])["value"].mean().dropna().reset_index()
    return means.assign(table=table, n=means["n"] if "n" in by else np.int64(0))
