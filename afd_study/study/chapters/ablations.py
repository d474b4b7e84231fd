"""What chapter 8 shows of ablations: each grid varies one thing (frozen/ablation_grids.yaml)."""

import numpy as np
import pandas as pd

from afd_study.errors import StoreError
from afd_study.evaluation import ablations as evaluation
from afd_study.study.chapters.words import intervals_in_words
from afd_study.study.frozen import ablation_grids as grids
from afd_study.study.frozen.files import read_manifest
from afd_study.study.frozen.seed_means import frozen_values

BESIDE = ("random", "demonstrations")  # shown with every line
COMPARED = ("preferences", "init_sft")  # rising with labels, and the level: what a demonstration is worth


def points(name: str, values: pd.DataFrame) -> pd.DataFrame:
    """Return table `points` of a grid (evaluation.ablations) from its table `values`.

    Beside the grid's lines it holds the random pick (`pi_SFT` itself) and the demonstrations, at every value.

    Raises StoreError where the values are those of another grid: the YAML has changed since they were frozen.
    """
    keys = ["task", "setting", "method", "n"]
    judged = values[values["metric"] == "judge"].rename(columns={"value": "judge"})
    rows = _rows(name).merge(judged[[*keys, "seed", "judge"]], on=keys, how="left")
    lacking = rows.loc[rows["judge"].isna(), keys].to_dict("records")
    if lacking:
        raise StoreError(
            f"the ablation '{name}' has no values of {lacking[0]}: compute it with "
            f"`make results WHAT=ablations ONLY={name}`"
        )
    rows = rows.rename(columns={"method": "kind", "line": "method"})
    return rows[list(evaluation.POINT_COLUMNS)]


def _rows(name: str) -> pd.DataFrame:
    """Return where table `values` holds each point: a row a task, value and line of the grid."""
    grid, usual_n = grids.ablations().grid(name), grids.ablations().n
    rows = []
    for task in grid.tasks:
        for place, value in enumerate(grid.values):
            setting, reference = grids.setting_name(grid.changes(value)), value == grid.reference
            n = value if grid.varies == "n" else usual_n
            kinds = {line: own[place] for line, own in grid.kinds.items()}
            for line, method in (kinds | dict(zip(BESIDE, BESIDE, strict=True))).items():
                size = 1 if line == "demonstrations" else n
                rows.append((name, task, place, str(value), line, reference, setting, method, size))
    columns = ["grid", "task", "place", "value", "line", "reference", "setting", "method", "n"]
    return pd.DataFrame(rows, columns=columns)


def frozen_points(*names: str) -> pd.DataFrame:
    """Return table `points` of the named grids (all, if none is named) from their frozen values.

    Raises SpecError for an unknown grid, StoreError where its values are missing, damaged or of another grid.
    """
    chosen = names or tuple(grids.ablations().grids)
    for name in chosen:
        grids.ablations().grid(name)
    frozen = (points(name, frozen_values(f"{grids.FOLDER}/{name}")) for name in chosen)
    return pd.concat(frozen, ignore_index=True)


def manifests() -> pd.DataFrame:
    """Return how each grid was computed: grid, commit, profile, seeds, step_seconds (with shared steps)."""
    columns = ("commit", "profile", "seeds", "step_seconds")
    rows = []
    for name in grids.ablations().grids:
        manifest = read_manifest(f"{grids.FOLDER}/{name}")
        rows.append({"grid": name} | {column: manifest[column] for column in columns})
    return pd.DataFrame(rows)


def questions() -> pd.DataFrame:
    """Return what each grid is for: grid, values, reference, tasks, question."""
    rows = []
    for name, grid in grids.ablations().grids.items():
        values, tasks = ", ".join(map(str, grid.values)), ", ".join(grid.tasks)
        rows.append((name.replace("_", " "), values, str(grid.reference), tasks, grid.question))
    return pd.DataFrame(rows, columns=["grid", "values", "reference", "tasks", "question"])


def responses(*names: str) -> pd.DataFrame:
    """Return evaluation.ablations.responses of the named grids (all, if none is named), and `axis`."""
    table = evaluation.responses(frozen_points(*names), level=grids.ablations().level)
    return table.assign(axis=[grids.ablations().grid(name).axis for name in table["grid"]])


def effects_of(name: str, values: pd.DataFrame) -> pd.DataFrame:
    """Return evaluation.ablations.effects of a grid from its table `values`."""
    return evaluation.effects(points(name, values), level=grids.ablations().level)


def effects(*names: str) -> pd.DataFrame:
    """Return evaluation.ablations.effects of the named grids (all, if none is named)."""
    return evaluation.effects(frozen_points(*names), level=grids.ablations().level)


def effects_in_words(*names: str) -> pd.DataFrame:
    """Return the effects of the named grids (all, if none is named) in words: varied, task, method, effects.

    "250: -0.12 [-0.20, -0.04] *": points against the reference, with the interval; a star where the interval
    leaves out zero.
    """
    table = effects(*names)
    changes = intervals_in_words(table, "effect", sign="+")
    stars = np.where(table["clear"], " *", "")
    cells = [f"{row[0]}: {row[1]}{row[2]}" for row in zip(table["value"], changes, stars, strict=True)]
    lines = table.assign(effects=cells).groupby(["grid", "task", "method"], sort=False)["effects"]
    table = lines.agg(";  ".join).reset_index()
    axes = [f"{grid.axis} (against {grid.reference})" for grid in map(grids.ablations().grid, table["grid"])]
    return table.assign(varied=axes)[["varied", "task", "method", "effects"]]


def chance() -> dict[str, float]:
    """Return how many comparisons all grids make, how many are clear, and how many would be by chance."""
    table = effects()
    table = table[~table["method"].isin(BESIDE)]
    expected = len(table) * (1 - grids.ablations().level)
    return {"comparisons": len(table), "clear": int(table["clear"].sum()), "expected_by_chance": expected}


def labels_worth() -> pd.DataFrame:
    """Return how many preference labels reach Init-SFT's score on the usual demonstrations.

    Columns task, seed ("mean" is of the means over seeds), labels, labels per demonstration. Where the lines
    cross beyond the range that was varied, it says so: "fewer than 500".
    """
    rising, level = COMPARED
    crossings = evaluation.equal_score(frozen_points("number_of_preferences"), rising=rising, level=level)
    usual = float(grids.ablations().grid("number_of_demonstrations").reference)
    counts = crossings[["count", "lowest", "highest"]].to_numpy(dtype=float)
    return crossings[["task", "seed"]].assign(
        labels=[_in_words(*row, shown="{:.0f}") for row in counts],
        **{"labels per demonstration": [_in_words(*row, shown="{:.2g}") for row in counts / usual]},
    )


def _in_words(count: float, lowest: float, highest: float, *, shown: str) -> str:
    if count == 0:
        return f"fewer than {shown.format(lowest)}"
    if count == float("inf"):
        return f"more than {shown.format(highest)}"
    return shown.format(count)
