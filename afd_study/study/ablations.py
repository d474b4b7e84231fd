"""Ablations: grids that vary one thing each (ablations.yaml), their cells, and what was found.

Each grid is frozen by itself under ablations/NAME, and can be computed again by itself; steps that grids
share are computed once.
"""

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pydantic import Field, field_validator, model_validator

from afd_study.errors import StoreError, unknown_name
from afd_study.evaluation import ablations as evaluation
from afd_study.evaluation.effects import SIZES
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.models.specs import Frozen
from afd_study.study.cells import Cell
from afd_study.study.frozen import read_frozen, read_manifest
from afd_study.study.values import narrow

FOLDER = "ablations"
USUAL = "usual"  # the setting that nothing is varied in
NO_SETTING = ("n", "kind")  # what can be varied within a cell
BESIDE = ("random", "demonstrations")  # shown with every line
COMPARED = ("preferences", "init_sft")  # whose score, reaching whose, tells what a demonstration is worth
Value = int | float | str


class Grid(Frozen):
    """One thing that is varied, its values, and the reward models whose picks are looked at."""

    question: str
    axis: str = Field(description="what the values are, in a few words")
    varies: str = Field(description="a dotted setting, or one of NO_SETTING")
    values: tuple[Value, ...] = Field(min_length=2)
    reference: Value
    kinds: dict[str, tuple[str, ...]] = Field(description="line -> the reward model at each value")
    tasks: tuple[str, ...] = Field(min_length=1)
    common: dict[str, Any] = Field(default_factory=dict)

    @field_validator("kinds", mode="before")
    @classmethod
    def _same_everywhere(cls, given: Any, info: Any) -> Any:
        values = info.data.get("values", ())
        return given if isinstance(given, dict) else {name: (name,) * len(values) for name in given}

    @model_validator(mode="after")
    def _fits(self) -> "Grid":
        if self.reference not in self.values:
            raise ValueError(f"the reference {self.reference} must be one of the values {list(self.values)}")
        for line, kinds in self.kinds.items():
            if len(kinds) != len(self.values):
                raise ValueError(f"line {line} must name a reward model for each of {list(self.values)}")
            for kind in (line, *kinds):
                if kind not in REWARD_DATA:
                    raise unknown_name("reward model", kind, REWARD_DATA)
        if self.varies == "n" and not set(self.values) <= set(SIZES):
            raise ValueError(f"curves are kept at n = {list(SIZES)} alone")
        return self

    def changes(self, value: Value) -> dict[str, Any]:
        """Return the overrides at a value, beside those of every cell."""
        if self.varies in NO_SETTING or (value == self.reference and not self.common):
            return {}
        return {**self.common, self.varies: value}

    @property
    def models(self) -> tuple[str, ...]:
        """Every reward model that the grid needs, in the table's order."""
        wanted = {kind for kinds in self.kinds.values() for kind in kinds}
        return tuple(kind for kind in REWARD_DATA if kind in wanted)


class Ablations(Frozen):
    """All grids, and what they share."""

    setting: dict[str, Any]
    seeds: tuple[int, ...]
    n: int
    level: float
    grids: dict[str, Grid]

    def grid(self, name: str) -> Grid:
        """Return a grid; SpecError with the nearest name for an unknown one."""
        if name not in self.grids:
            raise unknown_name("ablation", name, self.grids)
        return self.grids[name]


@cache
def ablations() -> Ablations:
    """Return the grids of ablations.yaml."""
    text = files("afd_study.study").joinpath("ablations.yaml").read_text(encoding="utf-8")
    return Ablations.model_validate(yaml.safe_load(text))


def setting_name(changes: dict[str, Any]) -> str:
    """Return the name of a cell's setting: "usual", or what differs, "world.preference_noise = 0.2"."""
    return ", ".join(f"{key} = {value}" for key, value in changes.items()) or USUAL


def ablation_cells(name: str, given: Ablations | None = None) -> list[Cell]:
    """Return the cells of a grid, each once; SpecError for an unknown grid."""
    every = given or ablations()
    grid = every.grid(name)
    changed = {setting_name(changes): changes for changes in map(grid.changes, grid.values)}
    return [
        Cell(
            task, setting, {**every.setting, **changes, "reward.kinds": list(grid.models)}, every.seeds,
            ("outcomes",),
        )
        for task in grid.tasks
        for setting, changes in changed.items()
    ]  # fmt: skip


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


def told(*names: str) -> pd.DataFrame:
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
