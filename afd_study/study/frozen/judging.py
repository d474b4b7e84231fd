"""The ledger's runs: studies of its worlds, in parts that take under two hours, and their values.

A part is one run of the ledger (evaluation/ledger/claims.yaml) in a third of a family's worlds, as they stand
in the design. It is frozen by itself as soon as it is done.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import pandas as pd

from afd_study.errors import unknown_name
from afd_study.evaluation.ledger.judging import Judged, Runs
from afd_study.evaluation.ledger.records import Ledger, load_ledger
from afd_study.evaluation.ledger.values import ALONE, VALUE_COLUMNS, Values
from afd_study.evaluation.when import DIAGNOSTICS
from afd_study.evaluation.world_rows import STRATA
from afd_study.methods.arms import ARMS, WAYS
from afd_study.methods.best_of_n import WITHOUT_LENGTH
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.study.frozen.files import is_frozen, read_frozen
from afd_study.study.frozen.grids import Cell
from afd_study.study.frozen.seed_means import cell_values, narrow
from afd_study.study.study import Study
from afd_study.study.workflow.step import Step
from afd_study.study.workflow.store import Store
from afd_study.worlds.variants import cell as place_of, numbers

FOLDERS = ("judging", "exploration")
FRESH, AGAIN = "fresh", "scorers"  # a run of the ledger's again, with as many further reward models
FRESH_FAMILY, FRESH_SETTING, FRESH_REPLICATES = "harmless", "h = 0", 8
WORLDS_A_PART = 8
BETA = 1.0  # the strength of pessimism that claims are judged at: a standard deviation of rewards in a prompt
PESSIMISM, WHEN = "_pessimism", "study"  # ends a method's name; the method of what is said of a whole study


class Part(NamedTuple):
    """One run in some worlds of one family."""

    run: str
    family: str
    number: int
    worlds: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of the part's frozen results."""
        folder = FOLDERS[self.run not in (*load_ledger().judging_runs, FRESH)]
        return f"{folder}/{self.run}-{self.family}-{self.number}"

    def cells(self) -> list[tuple[int, Cell]]:
        """Return the part's cells with their worlds, world by world: what stands early is whole."""
        ledger = load_ledger()
        if self.run == FRESH:
            return [(world, fresh_cell(ledger, self.family, world)) for world in self.worlds]
        return [
            (world, world_cell(ledger, self.run, self.family, world, setting))
            for world in self.worlds
            for setting in ledger.runs[self.run].settings
        ]

    def steps(self, store: Store | None = None) -> list[Step]:
        """Return the steps that hold what is read of the part's studies."""
        return [step for _, cell in self.cells() for step in cell.steps(cell.study(store))]


def world_cell(ledger: Ledger, run: str, family: str, world: int, setting: str) -> Cell:
    """Return the study of one world in one setting of a run."""
    plan = ledger.runs[run]
    overrides: dict[str, Any] = {**ledger.overrides(run, setting), "world.variant": world}
    if "arms" in plan.wanted:
        overrides.setdefault("arms.names", claimed_arms(ledger, run))
    return Cell(family, setting, overrides, plan.seeds, plan.wanted)


def fresh_cell(ledger: Ledger, family: str, world: int) -> Cell:
    """Return a cell of the run AGAIN with as many fresh reward models beside those that it has.

    Only kinds with all of the run's replicates are trained: half of one model is no second answer.
    """
    cell = world_cell(ledger, AGAIN, family, world, FRESH_SETTING)
    recipes = cell.overrides["reward.recipes"]
    kinds = [kind for kind in cell.overrides["reward.kinds"] if "replicates" not in recipes.get(kind, {})]
    more = {"reward.replicates": FRESH_REPLICATES, "reward.kinds": kinds}
    kept = {"reward.recipes": {kind: own for kind, own in recipes.items() if kind in kinds}}
    return cell._replace(overrides={**cell.overrides, **more, **kept}, wanted=("outcomes",))


def claimed_arms(ledger: Ledger, run: str) -> list[str]:
    """Return the arms that claims on a run name, by themselves or as a way whose points they are."""
    named = {name for claim in ledger.claims if claim.run == run for name in (claim.method, claim.than)}
    points = {point for way, arms in WAYS.items() if way in named for point in arms}
    return [name for name in ARMS if name in named | points]


@cache
def strata_of(family: str, role: str = "judging") -> pd.DataFrame:
    """Return the properties of a family's worlds of a role: STRATA, indexed by the world's number."""
    places = {world: place_of(family, world) for world in numbers(role)}
    rows = [[getattr(place, name) for name in STRATA] for place in places.values()]
    return pd.DataFrame(rows, index=pd.Index(places, name="world"), columns=list(STRATA))


def worlds_of(ledger: Ledger, run: str, family: str) -> pd.DataFrame:
    """Return the worlds that a run asks for: their strata, indexed by number, in the design's order."""
    plan = ledger.runs[run]
    if isinstance(plan.worlds, tuple):
        worlds = strata_of(family, "exploration")
        for world in set(plan.worlds) - set(worlds.index):
            raise unknown_name(f"world for exploration (run {run})", str(world), map(str, worlds.index))
        worlds = worlds.loc[list(plan.worlds)]
    else:
        worlds = strata_of(family)
        worlds = worlds if plan.worlds == "all" else worlds[~worlds.duplicated(list(STRATA))]
    for stratum, value in plan.where.items():
        worlds = worlds[worlds[stratum] == value]
    return worlds


def parts(ledger: Ledger | None = None) -> list[Part]:
    """Return all parts of all judging runs, in the order in which they are computed."""
    ledger = ledger or load_ledger()
    every = []
    for run in ledger.runs:
        for family in ledger.families:
            worlds = tuple(map(int, worlds_of(ledger, run, family).index))
            blocks = [worlds[i : i + WORLDS_A_PART] for i in range(0, len(worlds), WORLDS_A_PART)]
            every += [Part(run, family, i + 1, block) for i, block in enumerate(blocks)]
    again = [part._replace(run=FRESH) for part in every if (part.run, part.family) == (AGAIN, FRESH_FAMILY)]
    order = [*ledger.runs, FRESH]
    return sorted([*every, *again], key=lambda part: (order.index(part.run), part.number))


def world_values(cells: Iterable[tuple[int, Cell]], store: Store) -> pd.DataFrame:
    """Return table `values` (VALUE_COLUMNS) of cells that have been computed."""
    frames = [_values_of(cell, cell.study(store)).assign(world=world) for world, cell in cells]
    values = pd.concat(frames, ignore_index=True).rename(columns={"task": "family"})
    named = {name: replicate_of(name) for name in values["method"].unique()}
    values["replicate"] = values["method"].map({name: each[1] for name, each in named.items()})
    values["method"] = values["method"].map({name: each[0] for name, each in named.items()})
    return values[list(VALUE_COLUMNS)]


def _values_of(cell: Cell, study: Study) -> pd.DataFrame:
    """Return a cell's values, with what only worlds are asked for: pessimism, and the diagnostics of when."""
    frames = [cell_values(cell, study)]
    if "outcomes" in cell.wanted:
        cautious = study.table("pessimism").query("beta == @BETA")
        means = cautious.groupby(["seed", "method", "n"])["value"].mean().reset_index()
        frames.append(means.assign(method=means["method"] + PESSIMISM, table="outcomes", metric="judge"))
    if "when" in cell.wanted:
        row = study.table("when").melt(["task", "seed"], list(DIAGNOSTICS), "metric", "value").dropna()
        frames.append(row.assign(table="when", method=WHEN, n=0))
    return pd.concat(frames, ignore_index=True).assign(task=cell.task, setting=cell.setting)


def replicate_of(name: str) -> tuple[str, int]:
    """Return the method of a scorer's name and its replicate, ALONE where no reward model makes it.

    >>> replicate_of("init_sft#2_without_length")
    ('init_sft_without_length', 2)
    """
    numbered = re.fullmatch(r"([^#]+)#(\d+)(.*)", name)
    if numbered:
        return numbered[1] + numbered[3], int(numbered[2])
    stems = (name, *(name.removesuffix(end) for end in (WITHOUT_LENGTH, PESSIMISM)))
    return name, 0 if any(stem in REWARD_DATA for stem in stems) else ALONE


def frozen_values(run: str) -> pd.DataFrame | None:
    """Return table `values` of all parts of a run that are frozen, None where there are none.

    Raises StoreError where a part is damaged.
    """
    names = [part.name for part in parts() if part.run == run and is_frozen(part.name)]
    if not names:
        return None
    tables = (read_frozen(name, "values") for name in names)
    return pd.concat(
        [narrow(table, along="world", columns=VALUE_COLUMNS) for table in tables], ignore_index=True
    )


def frozen_runs(names: Sequence[str] | None = None) -> Runs:
    """Return the runs of the ledger that have been computed, as far as they have been."""
    ledger = load_ledger()
    runs = {}
    for run in names or ledger.runs:
        values = frozen_values(run)
        if values is not None:
            worlds = {family: worlds_of(ledger, run, family) for family in ledger.families}
            runs[run] = Judged(Values(values), worlds)
    return runs
