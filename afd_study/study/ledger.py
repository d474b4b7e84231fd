"""The ledger's and the map's frozen results: computed once, kept as small tables, judged when read."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from afd_study.evaluation.atlas import atlas
from afd_study.evaluation.claims import chance, check_methods, judge_claims, load_ledger
from afd_study.evaluation.identities import errors
from afd_study.methods.reward_data import REWARD_DATA
from afd_study.methods.selection import SCORERS
from afd_study.study.cells import PROFILE, Cell, ledger_cells, map_cells
from afd_study.study.chapters import freeze_chapter
from afd_study.study.frozen import freeze, read_frozen
from afd_study.study.store import Store, default_store
from afd_study.study.values import gather, narrow, wide

METHODS = (*REWARD_DATA, *SCORERS, "pi_init", "pi_sft", "demonstrations")
"""Every method that a claim may name, beside those that it calls pending."""


def freeze_ledger(*, jobs: int) -> None:
    """Compute the ledger's values at all its seeds and freeze them, with the verdicts that follow."""
    check_methods(load_ledger(), METHODS)
    values = _freeze_values("ledger", ledger_cells(), jobs, lambda found: {"claims": judged(found)})
    print(f"ledger: {len(values)} values frozen")


def freeze_map(*, jobs: int) -> None:
    """Compute the map's values in every cell and freeze them, with each cell's intervals."""
    values = _freeze_values("map", map_cells(), jobs, lambda found: {"cells": atlas(found)})
    print(f"map: {len(values)} values frozen")


def _freeze_values(
    name: str, cells: Sequence[Cell], jobs: int, more: Callable[[pd.DataFrame], dict[str, pd.DataFrame]]
) -> pd.DataFrame:
    started, store = time.perf_counter(), default_store()
    values = gather(cells, store=store, jobs=jobs, lines=True)
    freeze(
        name, {"values": wide(values), **more(values)}, profile=PROFILE, threads=1, jobs=jobs,
        seeds=list(cells[0].seeds), wall_seconds=round(time.perf_counter() - started, 1),
        step_seconds=round(step_seconds(cells, store), 1),
    )  # fmt: skip
    return values


def step_seconds(cells: Sequence[Cell], store: Store) -> float:
    """Return the seconds that all steps of the cells took when they were computed, each counted once."""
    steps = {
        step.key: step
        for cell in cells
        for wanted in cell.steps(cell.study(store))
        for step in wanted.closure().values()
    }
    manifests = (store.manifest(step) for step in steps.values())
    return sum(float(manifest["seconds"]) for manifest in manifests if manifest is not None)


def judged(values: pd.DataFrame) -> pd.DataFrame:
    """Return the ledger's verdicts on table `values`."""
    ledger = load_ledger()
    check_methods(ledger, METHODS)
    return judge_claims(ledger, values, errors())


def claims() -> pd.DataFrame:
    """Return every claim with its verdict, judged anew from the frozen values.

    Raises StoreError where the values are missing or damaged, SpecError for a claim that names what there is
    not.
    """
    return judged(frozen_values("ledger"))


def frozen_values(name: str) -> pd.DataFrame:
    """Return table `values` of the frozen results `name` (ledger or map), a row a seed."""
    return narrow(read_frozen(name, "values"))


def chances(results: pd.DataFrame) -> dict[str, float]:
    """Return how many tests the ledger made and how many false verdicts are to be expected by chance."""
    return chance(results, load_ledger().level)


def frozen_map() -> pd.DataFrame:
    """Return every cell of the map with its intervals, from the frozen values."""
    return atlas(frozen_values("map"))


def corners(*, profile: str, seeds: Sequence[int], jobs: int = 1) -> pd.DataFrame:
    """Recompute the four corners of the map at some seeds: the columns of `frozen_map`."""
    cells = [cell._replace(seeds=tuple(seeds)) for cell in map_cells(corners=True)]
    return atlas(gather(cells, jobs=jobs, profile=profile))


def freeze_all(*, jobs: int) -> None:
    """Compute everything that is frozen: the ledger, the map, and the chapters' own tables."""
    for task in ("harmless", "helpful"):
        for kind in ("experiment", "probes"):
            freeze_chapter(kind, task, profile=PROFILE, jobs=jobs)
            print(f"{kind}/{task}: frozen")
    freeze_map(jobs=jobs)
    freeze_ledger(jobs=jobs)


FREEZERS: dict[str, Callable[..., Any]] = {"ledger": freeze_ledger, "map": freeze_map, "all": freeze_all}
