"""The ablations' grids (ablation_grids.yaml): what each varies, and the studies that it consists of.

Each grid is frozen by itself under ablations/NAME, and can be computed again by itself. Steps that grids
share are computed once.
"""

from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import Field, ValidationInfo, field_validator, model_validator

from afd_study.errors import unknown_name
from afd_study.evaluation.sizes import SIZES
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.settings import Settings
from afd_study.study.frozen.grids import Cell

FOLDER = "ablations"
USUAL = "usual"  # the setting in which nothing is varied
NO_SETTING = ("n", "kind")  # what can be varied within a cell

Value = int | float | str


class Grid(Settings):
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
    def _same_everywhere(cls, kinds: Any, info: ValidationInfo) -> Any:
        values = info.data.get("values", ())
        return kinds if isinstance(kinds, dict) else {name: (name,) * len(values) for name in kinds}

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
        used = {kind for kinds in self.kinds.values() for kind in kinds}
        return tuple(kind for kind in REWARD_DATA if kind in used)


class Ablations(Settings):
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
    """Return the grids of ablation_grids.yaml."""
    text = files("afd_study.study.frozen").joinpath("ablation_grids.yaml").read_text(encoding="utf-8")
    return Ablations.model_validate(yaml.safe_load(text))


def setting_name(changes: dict[str, Any]) -> str:
    """Return the name of a cell's setting: "usual", or what differs, "world.preference_noise = 0.2"."""
    return ", ".join(f"{key} = {value}" for key, value in changes.items()) or USUAL


def ablation_cells(name: str) -> list[Cell]:
    """Return the cells of a grid, each once; SpecError for an unknown grid."""
    every = ablations()
    grid = every.grid(name)
    trained = {"reward.kinds": list(grid.models)}
    changed = {setting_name(changes): changes for changes in map(grid.changes, grid.values)}
    return [
        Cell(task, setting, {**every.setting, **changes, **trained}, every.seeds, ("outcomes",))
        for task in grid.tasks
        for setting, changes in changed.items()
    ]
