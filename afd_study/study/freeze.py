"""Computing what is frozen: ledger, map, ablations, arms, the chapters' tables. Hours, and resumable."""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from afd_study.errors import SpecError, StoreError, unknown_name
from afd_study.evaluation.claims import check_methods, load_ledger
from afd_study.evaluation.heterogeneity_map import map_intervals
from afd_study.models import distributed
from afd_study.study.chapters.ablations import effects_of
from afd_study.study.chapters.chapter import KINDS, freeze_chapter
from afd_study.study.chapters.claims import METHODS, judged
from afd_study.study.freeze_pretrained import freeze_pretrained
from afd_study.study.frozen import ablation_grids as grids, judging
from afd_study.study.frozen.arm_grids import CHOICES, arm_grid, grid_cells, grid_results
from afd_study.study.frozen.basis import basis_of
from afd_study.study.frozen.files import freeze
from afd_study.study.frozen.grids import ARMS_SETTING, PROFILE, Cell, arm_cells, ledger_cells, map_cells
from afd_study.study.frozen.method_costs import cost_table
from afd_study.study.frozen.parts import cell_steps, chapter_tasks
from afd_study.study.frozen.recipe_grid import recipe_cells, recipe_choice, recipe_grid, recipe_results
from afd_study.study.frozen.seed_means import arm_tables, gather, histories, wide
from afd_study.study.frozen.systems import DIGEST, NAME as SYSTEMS, WEIGHTS, system_tables
from afd_study.study.pipeline.systems import systems_of
from afd_study.study.study import open_settings
from afd_study.study.workflow.executor import execute
from afd_study.study.workflow.step import Step, closure
from afd_study.study.workflow.store import Store, default_store
from afd_study.worlds.tasks import CONTROLLED
from afd_study.worlds.variants import numbers
from afd_study.worlds.world_summary import variant_table

SUMMED_UP = 50  # variants for exploration of each family
Tables = Mapping[str, pd.DataFrame]


IN_ALL = (*KINDS, "map", "ledger", "arms", grids.FOLDER, "recipes", *judging.FOLDERS)


def freeze_all(*, jobs: int) -> None:
    """Compute everything that is frozen, except what needs a GPU."""
    first = (freeze_worlds, freeze_chapters, freeze_map, freeze_ledger, freeze_arms, freeze_ablations)
    for freeze_one in (*first, freeze_recipes, freeze_exploration, freeze_judging):
        freeze_one(jobs=jobs)


def freeze_worlds(*, jobs: int) -> None:
    """Sum up variants of every world before anything is trained in them, and freeze the table: minutes."""
    started, chosen = time.perf_counter(), numbers("exploration")[:SUMMED_UP]
    worlds = [(family, [variant]) for family in CONTROLLED for variant in chosen]
    with ProcessPoolExecutor(jobs) as pool:
        table = pd.concat(pool.map(variant_table, *zip(*worlds, strict=True)), ignore_index=True)
    freeze("worlds", {"variants": table}, wall_seconds=round(time.perf_counter() - started, 1))
    print(f"worlds: {len(table)} variants frozen")


def freeze_ledger(*, jobs: int) -> None:
    """Compute the ledger's values at all its seeds and freeze them, with the verdicts that follow."""
    check_methods(load_ledger(), METHODS)
    _freeze_values("ledger", ledger_cells(), jobs, lambda values: {"claims": judged({"ledger": values})})


def freeze_map(*, jobs: int) -> None:
    """Compute the map's values in every cell and freeze them, with each cell's intervals."""
    _freeze_values("map", map_cells(), jobs, lambda values: {"cells": map_intervals(values)})


def freeze_arms(*, jobs: int) -> None:
    """Compute the policies beyond picking; freeze what they reach, how training went, what it cost."""
    cells = arm_cells()
    _freeze_values("arms", cells, jobs, lambda values: _arm_tables(cells, values))


def _arm_tables(cells: Sequence[Cell], values: pd.DataFrame) -> Tables:
    costs = cost_table(values[values["setting"] == ARMS_SETTING])
    went = {"histories": histories(cells, "history"), "trajectories": histories(cells, "trajectory")}
    own = {name: arm_tables(cells, name) for name in ("objectives", "path")}
    return {**went, **own, "costs": costs}


def freeze_ablations(*, jobs: int, only: str | None = None) -> None:
    """Compute every ablation, or only one, and freeze each by itself as soon as it is done.

    Raises SpecError, before anything is computed, for an unknown ablation.
    """
    for name in [only] if only else grids.ablations().grids:
        more = partial(_ablation_tables, name)
        _freeze_values(f"{grids.FOLDER}/{name}", grids.ablation_cells(name), jobs, more)


def _ablation_tables(name: str, values: pd.DataFrame) -> Tables:
    return {"effects": effects_of(name, values)}


def freeze_recipes(*, jobs: int) -> None:
    """Compute the grid of recipes, world by world; freeze each one's results, and the choice by them."""
    cells = recipe_cells()
    by_world = [((world, cell.task), cell) for _, world, cell in cells]
    seeds = list(recipe_grid().seeds)
    _freeze_cells("recipes", by_world, jobs, partial(_recipe_tables, cells), seeds=seeds)


def _recipe_tables(cells: list[tuple[str, int, Cell]], store: Store) -> Tables:
    tables = recipe_results(cells, store)
    return {**tables, **recipe_choice(tables["results"])}


def freeze_judging(*, jobs: int, only: str | None = None) -> None:
    """Compute the second ledger's judging runs, part by part, and freeze each as soon as it is done.

    `only` is a part, such as scorers-harmless-1. Raises SpecError, before anything is computed, for a part
    that there is not.
    """
    _freeze_worlds("judging", jobs, only)


def freeze_exploration(*, jobs: int, only: str | None = None) -> None:
    """Compute and freeze what is looked at beforehand, on exploration worlds; arguments as for judging."""
    _freeze_worlds("exploration", jobs, only)


def _freeze_worlds(folder: str, jobs: int, only: str | None) -> None:
    every = {part.name.partition("/")[2]: part for part in judging.parts() if belongs(part.name, folder)}
    if only is not None and only not in every:
        raise unknown_name(f"part of {folder}", only, every)
    for part in [every[only]] if only else every.values():
        cells = part.cells()
        _freeze_cells(part.name, cells, jobs, partial(_world_tables, cells), worlds=list(part.worlds))


def _world_tables(cells: list[tuple[int, Cell]], store: Store) -> Tables:
    return {"values": wide(judging.world_values(cells, store), along="world")}


def freeze_arm_schedules(*, jobs: int) -> None:
    """Compute the grid of direct arms' schedules, world by world; freeze its results and the choices."""
    _freeze_grid("arm_schedules", jobs)


def freeze_adversarial(*, jobs: int) -> None:
    """Compute the grid of adversarial settings; freeze results, choice, and which arms are applicable."""
    _freeze_grid("adversarial_grid", jobs)


def _freeze_grid(name: str, jobs: int) -> None:
    cells, seeds = grid_cells(arm_grid(name)), list(arm_grid(name).seeds)
    by_world = [((world, cell.task), cell) for _, world, cell in cells]
    _freeze_cells(name, by_world, jobs, partial(_grid_tables, name, cells), seeds=seeds)


def _grid_tables(name: str, cells: list[tuple[str, int, Cell]], store: Store) -> Tables:
    results = grid_results(cells, store)
    return {"results": results, **CHOICES[name][0](results)}


def _freeze_cells(
    name: str,
    cells: Sequence[tuple[Hashable, Cell]],
    jobs: int,
    tables: Callable[[Store], Tables],
    **about: Any,
) -> None:
    """Compute cells, as many worlds at a time as there are jobs, and freeze the tables made of them.

    `cells` are (world, cell), those of a world one after the other: a run that is stopped early has whole
    worlds. One world alone would keep one core waiting, because all of its steps need its pi_init.
    """
    started, store = time.perf_counter(), default_store()
    steps = cell_steps((cell for _, cell in cells), store)
    worlds = [[cell for _, cell in own] for _, own in groupby(cells, key=itemgetter(0))]
    for first in range(0, len(worlds), jobs):
        together = [cell for own in worlds[first : first + jobs] for cell in own]
        execute(cell_steps(together, store), store, jobs=jobs, threads=1, lines=True)
    made = tables(store)
    _freeze_computed(name, made, steps, store, started, jobs=jobs, **about)
    print(f"{name}: {len(next(iter(made.values())))} rows frozen")


def _freeze_values(
    name: str, cells: Sequence[Cell], jobs: int, more: Callable[[pd.DataFrame], Tables]
) -> None:
    """Compute and freeze table `values` of some cells, and the tables that `more` makes of it."""
    started, store = time.perf_counter(), default_store()
    values, steps = gather(cells, store=store, jobs=jobs, lines=True), cell_steps(cells, store)
    seeds = sorted({seed for cell in cells for seed in cell.seeds})
    tables = {"values": wide(values), **more(values)}
    _freeze_computed(name, tables, steps, store, started, jobs=jobs, seeds=seeds)
    print(f"{name}: {len(values)} values frozen")


def _freeze_computed(
    name: str, tables: Tables, steps: Sequence[Step], store: Store, started: float, **about: Any
) -> None:
    """Freeze tables with what these steps took since `started`, and in all, and with what they rest on."""
    seconds = {
        "wall_seconds": round(time.perf_counter() - started, 1),
        "step_seconds": round(seconds_of(steps, store), 1),
    }
    freeze(name, tables, profile=PROFILE, threads=1, basis=basis_of(steps).model_dump(), **seconds, **about)


def seconds_of(steps: Sequence[Step], store: Store) -> float:
    """Return the seconds that some steps, and all that they need, took when they were computed."""
    manifests = (store.manifest(step) for step in closure(steps).values())
    return sum(float(manifest["seconds"]) for manifest in manifests if manifest is not None)


def freeze_systems(*, jobs: int, folder: Path | None = None, model: str | None = None) -> None:
    """Compute the study of real systems from a copy of AlpacaEval, and freeze its aggregates.

    Without a model's name or folder a bag of words reads the answers alone; with it the model's states too.

    Raises SpecError without a folder, DataError for one that is no such copy, HubError without the model.
    """
    if folder is None:
        raise SpecError("real systems need a copy of AlpacaEval: --alpaca-eval FOLDER, which holds results/")
    started, store, laid_out = time.perf_counter(), default_store(), systems_of(folder, model)
    execute(laid_out.all(), store, jobs=jobs, threads=1, lines=True)
    weights = None if laid_out.states is None else laid_out.states.settings["weights"]
    about = {DIGEST: laid_out.answers.settings["digest"], WEIGHTS: weights, "jobs": jobs}
    tables = system_tables(laid_out, store)
    _freeze_computed(SYSTEMS, tables, laid_out.all(), store, started, **about)
    print(f"{SYSTEMS}: {len(tables['agreement'])} rows frozen")


def freeze_chapters(*, jobs: int) -> None:
    """Compute the tables of chapters 4 to 6 for each of their tasks and freeze them."""
    tasks = chapter_tasks(PROFILE)
    studies = [study for task in tasks for study in open_settings(task, PROFILE, quiet=True).values()]
    steps = [step for study in studies for step in study.steps()]
    execute(steps, studies[0].store, jobs=jobs, threads=studies[0].spec.threads, lines=True)
    for task in tasks:
        for kind in ("experiment", "probes"):
            freeze_chapter(kind, task, profile=PROFILE, jobs=jobs)
            print(f"{kind}/{task}: frozen")


def freeze_gpu(*, jobs: int) -> None:
    """Compute the experiments of chapters 4 and 5 by a larger policy on a GPU; freeze them in gpu/.

    Raises SpecError where there is no GPU, because a page shows these tables as computed on one, and
    StoreError where the store holds some of their steps from a CPU.
    """
    if not distributed.on_gpu():
        raise SpecError(
            "there is no CUDA device, and what is frozen under gpu/ is shown as computed on one: "
            "`afd run --profile gpu --task harmless` computes the same tables here, in float32 and slowly"
        )
    tasks = chapter_tasks("gpu")
    for task in tasks:  # all of them before the first takes its hours
        for study in open_settings(task, "gpu", quiet=True).values():
            refuse_from_cpu(study.steps(), study.store)
    for task in tasks:
        freeze_chapter("experiment", task, profile="gpu", jobs=jobs, under="gpu/")
        print(f"gpu/experiment/{task}: frozen")


def refuse_from_cpu(steps: Sequence[Step], store: Store) -> None:
    """Raise StoreError where the store holds a step, or what it needs, that was not computed on a GPU."""
    stored = [(step.name, manifest) for step in closure(steps).values() if (manifest := store.manifest(step))]
    if names := sorted({name for name, manifest in stored if not manifest.get("on_gpu")}):
        raise StoreError(
            f"{store.root} holds {len(names)} of these steps from a CPU ({names[0]}, ...): set AFD_STORE to "
            "a new folder, so that all of them are computed on the GPU"
        )


FREEZERS: dict[str, Callable[..., Any]] = {
    "all": freeze_all,
    "worlds": freeze_worlds,
    "chapters": freeze_chapters,
    "map": freeze_map,
    "ledger": freeze_ledger,
    "arms": freeze_arms,
    "ablations": freeze_ablations,
    "recipes": freeze_recipes,
    "exploration": freeze_exploration,
    "judging": freeze_judging,
    "arm_schedules": freeze_arm_schedules,
    "adversarial": freeze_adversarial,
    SYSTEMS: freeze_systems,
    "pretrained": freeze_pretrained,
    "gpu": freeze_gpu,
}
"""What `afd results --what` can freeze."""


def belongs(name: str, what: str) -> bool:
    """Tell whether a part, by the name of its frozen results, is one of those that WHAT computes."""
    folder = name.split("/")[0]
    groups = {"chapters": KINDS, "all": IN_ALL, "adversarial": ("adversarial_grid",)}
    return folder in groups.get(what, (what,))
