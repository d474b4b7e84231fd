"""The grids that arms' own settings are chosen on: arm_schedules.yaml and adversarial_grid.yaml.

Each crosses exploration worlds, arms and schedules. A schedule is what differs from the settings of an arm's
method (ArmsSpec.schedules). Only what the choice reads is computed of a cell.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml
from pydantic import Field, model_validator

from afd_study.errors import SpecError, unknown_name
from afd_study.evaluation.imitation_objectives import own_objectives
from afd_study.evaluation.recipes import choice
from afd_study.evaluation.statistics import t_interval
from afd_study.evaluation.stops import stops
from afd_study.methods.arms import ARMS, DirectArm, ImitationArm
from afd_study.settings import Settings
from afd_study.study.frozen.files import read_frozen
from afd_study.study.frozen.grids import Cell, worlds_in_turn
from afd_study.study.workflow.executor import execute
from afd_study.study.workflow.store import Store
from afd_study.study.workflow.tables import read_table

Tables = dict[str, pd.DataFrame]


class ArmGrid(Settings):
    """Worlds, arms and schedules, all crossed; the first schedule is today's."""

    worlds: dict[str, tuple[int, ...]] = Field(min_length=1)
    seeds: tuple[int, ...]
    setting: dict[str, Any]
    arms: tuple[str, ...]
    follow: dict[str, str] = Field(default_factory=dict, description="arm -> the arm whose schedule it takes")
    schedules: dict[str, dict[str, Any]] = Field(min_length=2)

    @model_validator(mode="after")
    def _known_arms(self) -> "ArmGrid":
        for name in (*self.arms, *self.follow):
            if name not in ARMS:
                raise unknown_name("arm", name, ARMS)
        if len({ARMS[name].step for name in self.arms}) != 1:
            raise ValueError("the arms of a grid are made by one method, whose settings a schedule changes")
        for name, other in self.follow.items():
            if other not in self.arms:
                raise ValueError(f"{name} follows {other}, which is not among the grid's arms")
        return self


@cache
def arm_grid(name: str) -> ArmGrid:
    """Return a grid by the name of its file: arm_schedules or adversarial_grid."""
    text = files("afd_study.study.frozen").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return ArmGrid.model_validate(yaml.safe_load(text))


def grid_cells(grid: ArmGrid) -> list[tuple[str, int, Cell]]:
    """Return schedule, world and cell of a whole grid, the worlds in turn: what stands early is whole."""
    return [
        (name, world, _cell(grid, task, world, name))
        for task, world in worlds_in_turn(grid.worlds)
        for name in grid.schedules
    ]


def _cell(grid: ArmGrid, task: str, world: int, schedule: str) -> Cell:
    overrides = {
        **grid.setting,
        "world.variant": world,
        "reward.kinds": ["init_sft"],  # which scores arms, and is not computed here
        "arms.names": list(grid.arms),
        "arms.schedules": dict.fromkeys(grid.arms, grid.schedules[schedule]),
    }
    return Cell(task, schedule, overrides, grid.seeds, tuple(_roles(grid)))


def _roles(grid: ArmGrid) -> Iterator[str]:
    """Yield the roles of the steps whose tables the choice reads."""
    for name in grid.arms:
        arm = ARMS[name]
        if isinstance(arm, DirectArm):
            yield f"{name} path"
        elif isinstance(arm, ImitationArm):
            yield from (f"{name} densities", f"densities_{arm.start}")
        else:
            raise SpecError(f"there is no rule that chooses the schedule of '{name}': {arm.step}")


def grid_results(cells: list[tuple[str, int, Cell]], store: Store) -> pd.DataFrame:
    """Return a row for each schedule, world and arm, as `evaluation.recipes.choice` reads them.

    Columns: recipe (the schedule), world, kind (the arm), task, seed; of direct arms validation_loss, judge
    and off_grammar (at the validated stop), stop (its step), oracle (the judge's points at the oracle's stop)
    and oracle_stop; of imitation those of table `objectives`, objective_end (its `end`) and judge. Whatever
    the store lacks is computed.
    """
    rows = []
    for schedule, world, cell in cells:
        study = cell.study(store)
        execute(list(cell.steps(study)), store, threads=study.spec.threads, quiet=True)
        for seed, plan in study.plans().items():
            folders = {role: store.folder(plan.steps[role]) for role in cell.wanted}
            for name in cell.overrides["arms.names"]:
                made = _direct(name, folders) if f"{name} path" in folders else _imitation(name, folders)
                about = {"recipe": schedule, "world": f"{cell.task} {world}", "kind": name}
                rows.append({**about, "task": cell.task, "seed": seed, **made})
    return pd.DataFrame(rows)


def _direct(name: str, folders: Mapping[str, Any]) -> dict[str, Any]:
    at = stops(read_table(folders[f"{name} path"], "path")).set_index("stop").to_dict("index")
    validated, oracle = at["validated"], at["oracle"]
    names = ("validation_loss", "judge", "off_grammar", "stray_share")
    chosen = {**{each: validated[each] for each in names}, "stop": validated["step"]}
    return {**chosen, "oracle": oracle["judge"], "oracle_stop": oracle["step"]}


def _imitation(name: str, folders: Mapping[str, Any]) -> dict[str, Any]:
    arm = ARMS[name]
    assert isinstance(arm, ImitationArm)
    laws = {
        name: read_table(folders[f"{name} densities"], "densities"),
        arm.start: read_table(folders[f"densities_{arm.start}"], "densities"),
    }
    table = own_objectives(laws, {name: (arm.start, arm.transform)})
    (row,) = table.drop(columns="method").to_dict("records")
    judged = {each: float(law.loc[law["source"] == each, "value"].mean()) for each, law in laws.items()}
    own = {str(each): value for each, value in row.items()}
    return {**own, "objective_end": own["end"], "judge": judged[name], "judge_start": judged[arm.start]}


def schedule_choice(results: pd.DataFrame) -> Tables:
    """Return each direct arm's schedule by its own validation loss, and what the judge would choose."""
    criteria = ("validation_loss", "judge", "oracle")
    return {f"by_{name}": choice(results, name, keep_first=False) for name in criteria}


def adversarial_choice(results: pd.DataFrame, *, level: float = 0.95) -> Tables:
    """Return each imitation arm's settings by its own objective's end, and where the arm is applicable.

    Table `applicable`: kind, recipe, change (mean over worlds), low, high (t over worlds), n_worlds,
    n_lowered (worlds whose own interval lies below 0), applicable (the interval over worlds does), chosen.
    """
    chosen = choice(results, "objective_end", keep_first=False)
    best, rows = dict(zip(chosen["kind"], chosen["recipe"], strict=True)), []
    for (kind, recipe), part in results.groupby(["kind", "recipe"], sort=False):
        worlds = part.groupby("world")["change"].mean()
        change, low, high = map(float, t_interval(worlds.to_numpy(), level))
        told = {"change": change, "low": low, "high": high, "n_worlds": len(worlds)}
        lowered = {"n_lowered": int(part["lowered"].sum()), "applicable": high < 0}
        rows.append({"kind": kind, "recipe": recipe, **told, **lowered, "chosen": best[kind] == recipe})
    return {"by_objective_end": chosen, "applicable": pd.DataFrame(rows)}


CHOICES: Mapping[str, tuple[Callable[[pd.DataFrame], Tables], str]] = {
    "arm_schedules": (schedule_choice, "by_validation_loss"),
    "adversarial_grid": (adversarial_choice, "by_objective_end"),
}
"""Grid -> what chooses, and the table of the choice that counts."""


def chosen_schedules(name: str) -> dict[str, dict[str, Any]]:
    """Return arm -> its frozen schedule, for the setting `arms.schedules`; followers included.

    Raises StoreError where the grid has not been frozen.
    """
    grid, table = arm_grid(name), read_frozen(name, CHOICES[name][1])
    chosen = dict(zip(table["kind"], table["recipe"], strict=True))
    chosen |= {follower: chosen[arm] for follower, arm in grid.follow.items()}
    return {arm: dict(grid.schedules[recipe]) for arm, recipe in chosen.items()}
