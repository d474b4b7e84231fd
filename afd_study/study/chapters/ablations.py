"""Ablations: grids that vary one thing each (frozen/ablation_grids.yaml), their cells, and what was found.

Each grid is frozen by itself under ablations/NAME, and can be computed again by itself; steps that grids
share are computed once.
"""

from typing import Any

import numpy as np
import pandas as pd

from afd_study.errors import StoreError
from afd_study.evaluation import ablations as evaluation
from afd_study.study.frozen.ablation_grids import FOLDER, Ablations, ablations, setting_name
from afd_study.study.frozen.files import read_frozen, read_manifest
from afd_study.study.frozen.seed_means import narrow

BESIDE = ("random", "demonstrations")  # shown with every line
COMPARED = ("preferences", "init_sft")  # whose score, reaching whose, tells what a demonstration is worth


def points(name: str, values: pd.DataFrame, given: Ablations | None = None) -> pd.DataFrame:
    """Return table `points` of a grid (evaluation.ablations) from its table `values`.

    Beside the lines: the random pick (`pi_SFT` itself) and the demonstrations, at every value.

    Raises StoreError where the values are those of another grid: the YAML has changed since they were frozen.
    """
    every = given or ablations()
    grid = every.grid(name)
    wanted = pd.DataFrame([
        {"grid": name, "task": task, "place": place, "value": str(value), "line": line,
         "reference": value == grid.reference, "setting": setting_name(grid.changes(value)),
         "method": grid.kinds[line][place] if line in grid.kinds else line,
         "n": 1 if line == "demonstrations" else value if grid.varies == "n" else every.n}
        for task in grid.tasks
        for place, value in enumerate(grid.values)
        for line in (*grid.kinds, *BESIDE)
    ])  # fmt: skip
    judged = values[values["metric"] == "judge"].rename(columns={"value": "judge"})
    keys = ["task", "setting", "method", "n"]
    found = wanted.merge(judged[[*keys, "seed", "judge"]], on=keys, how="left")
    if found["judge"].isna().any():
        lacking = found.loc[found["judge"].isna(), keys].iloc[0].to_dict()
        raise StoreError(
            f"the ablation '{name}' has no values of {lacking}: compute it with "
            f"`make results WHAT=ablations ONLY={name}`"
        )
    found = found.rename(columns={"method": "kind", "line": "method"})
    return found[list(evaluation.POINT_COLUMNS)]


def frozen_points(*names: str) -> pd.DataFrame:
    """Return table `points` of the named grids (all, if none is named) from their frozen values.

    Raises SpecError for an unknown grid, StoreError where its values are missing, damaged or of another grid.
    """
    chosen = names or tuple(ablations().grids)
    for name in chosen:
        ablations().grid(name)
    frozen = (points(name, narrow(read_frozen(f"{FOLDER}/{name}", "values"))) for name in chosen)
    return pd.concat(frozen, ignore_index=True)


def manifests() -> pd.DataFrame:
    """Return how each grid was computed: grid, commit, profile, seeds, step_seconds (with shared steps)."""
    columns = ("commit", "profile", "seeds", "step_seconds")
    made = {name: read_manifest(f"{FOLDER}/{name}") for name in ablations().grids}
    return pd.DataFrame([
        {"grid": name, **{column: found[column] for column in columns}} for name, found in made.items()
    ])  # fmt: skip


def questions() -> pd.DataFrame:
    """Return what was asked: grid, values, reference, tasks, question."""
    return pd.DataFrame([
        {
            "grid": name.replace("_", " "), "values": ", ".join(map(str, grid.values)),
            "reference": str(grid.reference), "tasks": ", ".join(grid.tasks), "question": grid.question,
        }
        for name, grid in ablations().grids.items()
    ])  # fmt: skip


def responses(*names: str) -> pd.DataFrame:
    """Return evaluation.ablations.responses of the named grids (all, if none is named), and `axis`."""
    found = evaluation.responses(frozen_points(*names), level=ablations().level)
    return found.assign(axis=[ablations().grid(name).axis for name in found["grid"]])


def effects_of(name: str, values: pd.DataFrame, given: Ablations | None = None) -> pd.DataFrame:
    """Return evaluation.ablations.effects of a grid from its table `values`."""
    return evaluation.effects(points(name, values, given), level=(given or ablations()).level)


def effects(*names: str) -> pd.DataFrame:
    """Return evaluation.ablations.effects of the named grids (all, if none is named)."""
    return evaluation.effects(frozen_points(*names), level=ablations().level)


def effects_in_words(*names: str) -> pd.DataFrame:
    """Return the effects of the named grids (all, if none is named) in words: varied, task, method, effects.

    "250: -0.12 [-0.20, -0.04] *": points against the reference, with the interval; a star where it is clear.
    """
    found = effects(*names)
    marks = np.where(found["clear"], " *", "")
    cells = zip(found["value"], found["effect"], found["low"], found["high"], marks, strict=True)
    words = [
        f"{value}: {mean:+.2f} [{low:+.2f}, {high:+.2f}]{mark}" for value, mean, low, high, mark in cells
    ]
    lines = found.assign(effects=words).groupby(["grid", "task", "method"], sort=False)["effects"]
    table = lines.agg(";  ".join).reset_index()
    axes = [f"{grid.axis} (against {grid.reference})" for grid in map(ablations().grid, table["grid"])]
    return table.assign(varied=axes)[["varied", "task", "method", "effects"]]


def chance() -> dict[str, float]:
    """Return the comparisons of all grids, how many are clear, and how many would be without any effect."""
    found = effects()
    found = found[~found["method"].isin(BESIDE)]
    expected = len(found) * (1 - ablations().level)
    return {"comparisons": len(found), "clear": int(found["clear"].sum()), "expected_by_chance": expected}


def labels_worth() -> pd.DataFrame:
    """Return how many preference labels reach Init-SFT's score on the usual demonstrations.

    Columns task, seed ("mean": of the means over seeds), labels, labels per demonstration; in words where the
    lines cross beyond the range: "fewer than 500".
    """
    found = evaluation.equal_score(
        frozen_points("number_of_preferences"), rising=COMPARED[0], level=COMPARED[1]
    )
    usual = float(ablations().grid("number_of_demonstrations").reference)
    rows = [
        {"task": row["task"], "seed": row["seed"], "labels": _worth(row, 1.0, "{:.0f}"),
         "labels per demonstration": _worth(row, usual, "{:.2g}")}
        for row in found.to_dict("records")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _worth(row: dict[Any, Any], unit: float, shown: str) -> str:
    if row["count"] == 0:
        return f"fewer than {shown.format(row['lowest'] / unit)}"
    if row["count"] == float("inf"):
        return f"more than {shown.format(row['highest'] / unit)}"
    return shown.format(row["count"] / unit)
