"""The parts of the frozen results that steps of studies make: which steps each one rests on.

`make results` computes one part after another by one engine, and says beforehand what is left of each.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

from afd_study.study.frozen import ablation_grids, judging, pretrained
from afd_study.study.frozen.arm_grids import CHOICES, arm_grid, grid_cells
from afd_study.study.frozen.basis import Standing, standing
from afd_study.study.frozen.grids import PROFILE, Cell, arm_cells, ledger_cells, map_cells
from afd_study.study.frozen.recipe_grid import recipe_cells
from afd_study.study.frozen.systems import NAME as SYSTEMS, frozen_steps
from afd_study.study.spec import task_names
from afd_study.study.study import open_settings
from afd_study.study.workflow.executor import steps_to_run
from afd_study.study.workflow.step import Step
from afd_study.study.workflow.store import Store, default_store
from afd_study.worlds.tasks import CONTROLLED

Steps = Callable[[], list[Step]]


class Outlook(NamedTuple):
    """What is left of a part: steps in all, those to run, and their seconds on one core, about."""

    name: str
    steps: int
    to_run: int
    core_seconds: float


def cell_steps(cells: Iterable[Cell], store: Store | None = None) -> list[Step]:
    """Return the steps that hold what is read of some cells."""
    return [step for cell in cells for step in cell.steps(cell.study(store))]


def chapter_tasks(profile: str) -> list[str]:
    """Return the tasks with chapters of their own: the controlled worlds that a profile has settings for."""
    return [task for task in CONTROLLED if task in task_names(profile)]


def _chapter_steps(task: str) -> list[Step]:
    return [step for study in open_settings(task, PROFILE, quiet=True).values() for step in study.steps()]


def parts() -> dict[str, Steps]:
    """Return all parts by the name of their frozen results, in the order in which they are computed."""
    chapters = {
        f"{kind}/{task}": lambda task=task: _chapter_steps(task)
        for kind in ("experiment", "probes")
        for task in chapter_tasks(PROFILE)
    }
    ablations = {
        f"{ablation_grids.FOLDER}/{name}": lambda name=name: cell_steps(ablation_grids.ablation_cells(name))
        for name in ablation_grids.ablations().grids
    }
    arm_choices = {
        name: lambda name=name: cell_steps(cell for _, _, cell in grid_cells(arm_grid(name)))
        for name in CHOICES
    }
    return {
        **chapters,
        "map": lambda: cell_steps(map_cells()),
        "ledger": lambda: cell_steps(ledger_cells()),
        "arms": lambda: cell_steps(arm_cells()),
        **ablations,
        "recipes": lambda: cell_steps(cell for _, _, cell in recipe_cells()),
        **arm_choices,
        **{part.name: part.steps for part in judging.parts()},
        SYSTEMS: frozen_steps,
        **{
            f"{pretrained.NAME}/{task}": partial(pretrained.frozen_steps, task) for task in pretrained.FOLDERS
        },
    }


def outlooks(names: Iterable[str] | None = None, store: Store | None = None) -> list[Outlook]:
    """Return what is left of each part, a step counted in the first part that needs it alone.

    Seconds are those that the store has measured for steps of the same name, or a rough guess without any.
    """
    store, every = store or default_store(), parts()
    seen, table = set[str](), []
    for name in names or every:
        steps = every[name]()
        todo = {key: step for key, step in steps_to_run(steps, store).items() if key not in seen}
        seconds = sum(store.seconds(step.name) or step.weight for step in todo.values())
        table.append(Outlook(name, len(steps), len(todo), seconds))
        seen |= set(todo)
    return table


def standings(names: Iterable[str], every: Mapping[str, Steps] | None = None) -> dict[str, Standing]:
    """Return how frozen parts stand to today's code: by name, of those that are frozen and made by steps."""
    every = every or parts()
    return {name: standing(name, every[name]()) for name in names if name in every}
