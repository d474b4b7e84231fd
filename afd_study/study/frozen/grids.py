"""Which studies the frozen results consist of: the cells of the ledger, of the arms and of the map.

Each cell is a study of its own settings and seeds; cells share every step that does not differ. The ledger's
tasks (claims.yaml) have ledger cells and arms, those of heterogeneity_map.yaml a map: a further world has
cells once it is named there.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

from afd_study.evaluation.claims import load_ledger
from afd_study.methods.arms import ARMS, WAYS
from afd_study.settings import Settings
from afd_study.study.study import Study, open_study
from afd_study.study.workflow.step import Step
from afd_study.study.workflow.store import Store

PROFILE = "cpu"
N_EXPLORED = 3  # of the ledger's seeds: those at which every arm is made, not only those of claims
ARMS_SETTING = "h = 1"  # of the ledger; marks reach no policy, and no arm but the one named for them
SMALL = "small policy"  # the setting in which imitation alone is measured
IMITATION = ("adversarial_reverse_kl", "true_reverse_kl")
EVERYTHING = ("coverage", "outcomes", "probes")


class Cell(NamedTuple):
    """One task in one setting, and the steps whose tables are wanted of it."""

    task: str
    setting: str
    overrides: Mapping[str, Any]
    seeds: tuple[int, ...]
    wanted: tuple[str, ...] = EVERYTHING

    def study(self, store: Store | None = None, jobs: int | None = None, profile: str = PROFILE) -> Study:
        """Return the cell's study; nothing is computed yet."""
        opened = open_study(
            self.task, profile, self.seeds[0], 1, overrides=self.overrides, store=store, jobs=jobs, quiet=True
        )
        return Study(self.task, opened.spec, self.seeds, opened.store, opened.jobs, quiet=True)

    def steps(self, study: Study) -> Iterator[Step]:
        """Yield the steps that hold what the frozen results need of this cell, seed by seed."""
        for plan in study.plans().values():
            yield from (plan.steps[name] for name in self.wanted)


class MapSpec(Settings):
    """The axes of the map, read from heterogeneity_map.yaml."""

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    heterogeneity: tuple[float, ...]
    absorbed_style: tuple[float, ...]
    kinds: tuple[str, ...]
    corner_kinds: tuple[str, ...]


@cache
def map_spec() -> MapSpec:
    """Return the axes of the map."""
    text = files("afd_study.study.frozen").joinpath("heterogeneity_map.yaml").read_text(encoding="utf-8")
    return MapSpec.model_validate(yaml.safe_load(text))


def worlds_in_turn(worlds: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, int]]:
    """Yield (task, world) of several tasks' worlds: the first of each, then the second of each."""
    for place in range(max(map(len, worlds.values()))):
        yield from ((task, own[place]) for task, own in worlds.items() if place < len(own))


def ledger_cells() -> list[Cell]:
    """Return the ledger's cells: every setting of each of its tasks, at the ledger's seeds."""
    ledger = load_ledger()
    tables = {name: ("coverage",) if name in ledger.coverage_only else EVERYTHING for name in ledger.settings}
    return [
        Cell(task, name, ledger.overrides(task, name), ledger.seeds, wanted)
        for task in ledger.tasks
        for name, wanted in tables.items()
    ]


def arm_cells() -> list[Cell]:
    """Return the cells with policies beyond picking, for each of the ledger's tasks.

    Arms that some claim names are made at every ledger seed, the rest at the first N_EXPLORED.
    """
    ledger = load_ledger()
    explored, others = ledger.seeds[:N_EXPLORED], ledger.seeds[N_EXPLORED:]
    groups = (
        (ARMS_SETTING, tuple(ARMS), explored),
        (ARMS_SETTING, claimed_arms(), others),
        (SMALL, IMITATION, explored),
        (SMALL, IMITATION[:1], others),
    )
    return [_arm_cell(task, *each) for task in ledger.tasks for each in groups]


def _arm_cell(task: str, setting: str, names: Sequence[str], seeds: tuple[int, ...]) -> Cell:
    arms = {"reward.kinds": ["init_sft"], "arms.names": list(names)}
    return Cell(task, setting, load_ledger().overrides(task, setting) | arms, seeds, ("outcomes", "arms"))


def claimed_arms() -> tuple[str, ...]:
    """Return the arms that some claim names, as a policy or as a point of its way, in the order of ARMS."""
    named = {
        name for claim in load_ledger().claims if claim.run == "arms" for name in (claim.method, claim.than)
    }
    points = {point for way, arms in WAYS.items() if way in named for point in arms}
    return tuple(name for name in ARMS if name in named | points)


def map_cells(*, corners: bool = False) -> list[Cell]:
    """Return the map's cells; with `corners` only the four corners, and of them what the lead shown needs."""
    spec = map_spec()
    kinds, wanted = (spec.corner_kinds, ("outcomes",)) if corners else (spec.kinds, EVERYTHING)
    return [
        Cell(task, cell_name(h, a), _overrides(h, a, kinds), spec.seeds, wanted)
        for task in spec.tasks
        for h in (_ends(spec.heterogeneity) if corners else spec.heterogeneity)
        for a in (_ends(spec.absorbed_style) if corners else spec.absorbed_style)
    ]


def cell_name(h: float, a: float, *, matched: bool = False) -> str:
    """Return the name of a cell: "h = 0.33, a = 0.4", with ", matched gain" where SFT was stopped for it."""
    return f"h = {h:g}, a = {a:g}" + (", matched gain" if matched else "")


def _ends(axis: tuple[float, ...]) -> tuple[float, float]:
    return axis[0], axis[-1]


def _overrides(h: float, a: float, kinds: Sequence[str]) -> dict[str, Any]:
    return {"world.heterogeneity": h, "world.absorbed_style": a, "reward.kinds": list(kinds)}
