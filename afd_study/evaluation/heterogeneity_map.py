"""The map of when the method works: each cell of heterogeneity x absorbed style, from table `values`.

A cell's setting reads "h = 0.33, a = 0.4", or "h = 0.33, a = 0.1, matched gain".
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.evaluation.claim_effects import Values
from afd_study.evaluation.ranking import rank_correlation
from afd_study.evaluation.statistics import seed_interval

_SETTING = re.compile(r"h = ([\d.]+), a = ([\d.]+)(, matched gain)?")
RIVALS = ("init_demo", "sft_demo", "preferences", "closed_form")


def coordinates(setting: str) -> tuple[float, float, bool]:
    """Return heterogeneity, absorbed style, and whether SFT's gain was matched, from a cell's name.

    Raises DataError for a name that is none of a cell's.
    """
    match = _SETTING.fullmatch(setting)
    if not match:
        raise DataError(f"'{setting}' names no cell of the map; a cell reads 'h = 0.33, a = 0.4'")
    return float(match[1]), float(match[2]), bool(match[3])


def map_intervals(values: pd.DataFrame, *, n: int = 16, level: float = 0.95) -> pd.DataFrame:
    """Return what every cell shows, with t-intervals over seeds.

    Columns task, h, a, matched, quantity, method, mean, low, high, n_seeds. Quantities: share (of the way
    from the random pick to the oracle at n), lead (Init-SFT's share minus the method's), score (judge's
    points of a policy, or of the demonstrations), gain (pi_SFT over pi_init, points), auc, auc_without_length
    (of a discriminator at its own sources).
    """
    table, rows = Values(values, n=n), []
    cells = values[["task", "setting"]].drop_duplicates().itertuples(index=False, name=None)
    for task, setting in cells:
        cell = values[(values["task"] == task) & (values["setting"] == setting)]
        for (quantity, method), effects in _quantities(table, cell, task, setting).items():
            estimate = seed_interval(effects, level)
            rows.append((task, *coordinates(setting), quantity, method, *estimate, effects.notna().sum()))
    columns = ["task", "h", "a", "matched", "quantity", "method", "mean", "low", "high", "n_seeds"]
    return pd.DataFrame(rows, columns=columns)


def _quantities(
    table: Values, cell: pd.DataFrame, task: str, setting: str
) -> "dict[tuple[str, str], pd.Series[float]]":
    picks = set(cell.loc[(cell["metric"] == "judge") & (cell["n"] == table.n), "method"])
    effects = {("share", method): table.lead(task, setting, method, "random") for method in sorted(picks)}
    for rival in RIVALS:
        if rival in picks:
            effects["lead", rival] = table.lead(task, setting, "init_sft", rival)
    for name in ("pi_init", "pi_sft", "demonstrations"):
        effects["score", name] = table.judge(task, setting, name, 1)
    effects["gain", "pi_sft"] = effects["score", "pi_sft"] - effects["score", "pi_init"]
    for metric in ("auc", "auc_without_length"):
        for method in sorted(set(cell.loc[cell["metric"] == metric, "method"])):
            effects[metric, method] = table.at(task, setting, metric, method)
    return effects


def winners(
    cells: pd.DataFrame, methods: Sequence[str] = ("init_sft", "init_demo", "sft_demo")
) -> pd.DataFrame:
    """Return who picks best in each cell: task, h, a, matched, winner, share, decided.

    `decided` where Init-SFT's lead over the best rival (or the rival's over it) excludes zero.
    """
    names = ["task", "h", "a", "matched"]
    shares = cells[(cells["quantity"] == "share") & cells["method"].isin(list(methods))]
    leads = cells[cells["quantity"] == "lead"]
    rows = []
    for key, part in shares.groupby(names, sort=True):
        ranked = part.sort_values("mean", ascending=False)
        best = ranked.iloc[0]
        rival = best if best["method"] != "init_sft" else ranked.iloc[1]
        here = leads[(leads[names] == list(key)).all(axis=1) & (leads["method"] == rival["method"])].iloc[0]
        rows.append((*key, best["method"], best["mean"], bool(here["low"] > 0 or here["high"] < 0)))
    return pd.DataFrame(rows, columns=[*names, "winner", "share", "decided"])


def measured(cells: pd.DataFrame) -> pd.DataFrame:
    """Return what each cell shows besides leads: the policies' own scores, and what needs no judge.

    Columns task, h, a, matched, pi_sft and demonstrations (mean scores, judge's points), and for each
    discriminator its held-out AUC at its own sources: over all pairs (over those alike in length).
    """
    keys = ["task", "h", "a", "matched"]
    means = cells.pivot(index=keys, columns=["quantity", "method"], values="mean").sort_index()
    table = means["score"][["pi_sft", "demonstrations"]]
    for method in [name for name in ("init_sft", "init_demo", "sft_demo") if name in means["auc"]]:
        both = zip(means["auc"][method], means["auc_without_length"][method], strict=True)
        table = table.assign(**{method: [f"{plain:.2f} ({alike:.2f})" for plain, alike in both]})
    return table.reset_index()


def matched_rows(cells: pd.DataFrame, *, rival: str = "init_demo") -> pd.DataFrame:
    """Return Init-SFT's lead at the lowest a as trained, at the lowest a at matched gain, at the highest a.

    A row for each h that has a matched cell. Columns task, h, then for each of the three the lead with its
    interval and pi_SFT's gain (judge points).
    """
    first, last = cells["a"].min(), cells["a"].max()
    kinds = {
        f"a = {first:g}": (first, False),
        f"a = {first:g}, matched": (first, True),
        f"a = {last:g}": (last, False),
    }
    rows = []
    matched_cells = cells[cells["matched"].astype(bool)]
    for (task, h), part in cells[cells["h"].isin(set(matched_cells["h"]))].groupby(["task", "h"], sort=True):
        row: dict[str, object] = {"task": task, "h": h}
        for label, (a, matched) in kinds.items():
            some = part[(part["a"] == a) & (part["matched"].astype(bool) == matched)]
            lead = some[(some["quantity"] == "lead") & (some["method"] == rival)].iloc[0]
            gain = some[some["quantity"] == "gain"].iloc[0]
            row[f"lead, {label}"] = f"{lead['mean']:.2f} [{lead['low']:.2f}, {lead['high']:.2f}]"
            row[f"gain, {label}"] = round(float(gain["mean"]), 2)
        rows.append(row)
    return pd.DataFrame(rows)


def predicted(cells: pd.DataFrame, *, rival: str = "init_demo") -> pd.DataFrame:
    """Return how well AUCs, which need no judge, rank the cells by Init-SFT's lead, task by task.

    Columns: task; metric (auc, auc_without_length); n_cells; correlation, which is Spearman's, over cells,
    between the rival's AUC minus Init-SFT's and Init-SFT's lead; "by h", the same with h in the AUCs' place,
    which nobody with real demonstrations knows; "within h", the mean of the correlations among cells of equal
    h.
    """
    keys, rows = ["h", "a", "matched"], []
    for task, part in cells.groupby("task", sort=True):
        lead = part[(part["quantity"] == "lead") & (part["method"] == rival)].set_index(keys)["mean"]
        for metric in ("auc", "auc_without_length"):
            auc = part[part["quantity"] == metric].pivot(index=keys, columns="method", values="mean")
            both = pd.DataFrame({"auc": auc[rival] - auc["init_sft"], "lead": lead}).dropna().reset_index()
            within = [_ranks_alike(some, "auc") for _, some in both.groupby("h")]
            overall = (_ranks_alike(both, "auc"), _ranks_alike(both, "h"))
            rows.append((task, metric, len(both), *overall, float(np.mean(within))))
    return pd.DataFrame(rows, columns=["task", "metric", "n_cells", "correlation", "by h", "within h"])


def _ranks_alike(cells: pd.DataFrame, column: str) -> float:
    return float(rank_correlation(cells[column].to_numpy(float), cells["lead"].to_numpy(float)))


def simple_rules(
    cells: pd.DataFrame, rules: Sequence[str] = ("likelihood", "longest", "shortest")
) -> pd.DataFrame:
    """Return how rules that need no reward model do beside Init-SFT, which reads no marks either.

    Only the lowest h is used: the rules and Init-SFT are the same at every h. Columns task, rule, share and
    init_sft (means over a of the shares of the gap), ahead (in how many cells the rule's share is above
    Init-SFT's), of (how many cells there are).
    """
    rows = cells[(cells["quantity"] == "share") & ~cells["matched"].astype(bool)]
    rows = rows[rows["h"] == rows["h"].min()]
    shares = rows.pivot(index=["task", "a"], columns="method", values="mean")
    tables = []
    for task, part in shares.groupby("task", sort=True):
        for rule in [rule for rule in rules if rule in part]:
            ahead = int((part[rule] > part["init_sft"]).sum())
            means = part[rule].mean(), part["init_sft"].mean()
            tables.append((task, rule, *means, ahead, len(part)))
    return pd.DataFrame(tables, columns=["task", "rule", "share", "init_sft", "ahead", "of"])
