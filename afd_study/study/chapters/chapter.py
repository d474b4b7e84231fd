"""The tables that a chapter shows: computed from studies, or read from frozen results.

A notebook asks a `Chapter` for a table by name and does not care where it comes from. `freeze_chapter`
writes every table that a chapter can show, so that the book can be read without any training.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from afd_study.errors import SpecError, unknown_name
from afd_study.study.chapters import experiment, probes
from afd_study.study.chapters.experiment import Maker, Studies
from afd_study.study.frozen.basis import basis_of
from afd_study.study.frozen.files import freeze, read_frozen, read_manifest
from afd_study.study.frozen.present_names import with_present_names
from afd_study.study.study import open_settings

KINDS: Mapping[str, Mapping[str, Maker]] = {"experiment": experiment.TABLES, "probes": probes.TABLES}


@dataclass(frozen=True)
class Chapter:
    """The tables of one chapter and task; `studies` is None where they are frozen."""

    name: str
    makers: Mapping[str, Maker]
    studies: Studies | None

    def table(self, name: str) -> pd.DataFrame:
        """Return a table, computed if need be.

        Raises SpecError for a name that the chapter has no table of, StoreError for a frozen table that is
        missing or does not match its manifest.
        """
        if name not in self.makers:
            raise unknown_name(f"table of chapter {self.name}", name, self.makers)
        if self.studies is None:
            return with_present_names(read_frozen(self.name, name))
        return self.makers[name](self.studies)

    @cached_property
    def settings(self) -> list[str]:
        """The names of the settings that the chapter compares, in order."""
        return list(self.table("settings")["setting"])

    @property
    def n_seeds(self) -> int:
        """How many seeds each setting has."""
        return int(self.table("settings")["n_seeds"].iloc[0])


def open_chapter(
    kind: str,
    task: str,
    profile: str = "cpu",
    seed: int = 0,
    n_seeds: int | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    frozen: bool = False,
) -> Chapter:
    """Open the tables of a chapter: `kind` is experiment (4, 5) or probes (6).

    `frozen` reads what was computed before; the other arguments must then be those it was computed with.

    Raises:
        SpecError: an unknown kind, task, profile or setting, or frozen tables of other arguments.
        StoreError: frozen tables that are missing or damaged.
    """
    if kind not in KINDS:
        raise unknown_name("kind of chapter", kind, KINDS)
    name = f"{kind}/{task}"
    if not frozen:
        return Chapter(name, KINDS[kind], open_settings(task, profile, seed, n_seeds, overrides=overrides))
    manifest = read_manifest(name)
    wanted = {"profile": profile, "seed": seed, "overrides": dict(overrides or {})}
    wanted["n_seeds"] = n_seeds or manifest["n_seeds"]
    made_with = {key: manifest[key] for key in wanted}
    if made_with != wanted:
        arguments = ", ".join(f"{key} = {value}" for key, value in made_with.items())
        raise SpecError(
            f"the frozen tables {name} are of {arguments}: ask for those, or compute with frozen=False"
        )
    return Chapter(name, KINDS[kind], None)


def freeze_chapter(kind: str, task: str, *, profile: str, jobs: int, under: str = "") -> None:
    """Compute every table of a chapter and freeze them, in the folder `under` beside the book's own."""
    started = time.perf_counter()
    studies = open_settings(task, profile, jobs=jobs, quiet=True)
    chapter = Chapter(f"{kind}/{task}", KINDS[kind], studies)
    tables = {name: chapter.table(name) for name in chapter.makers}
    first = next(iter(studies.values()))
    basis = basis_of(step for study in studies.values() for step in study.steps())
    freeze(
        f"{under}{chapter.name}",
        tables,
        profile=profile,
        seed=first.seeds[0],
        n_seeds=len(first.seeds),
        overrides={},
        threads=first.spec.threads,
        seconds=round(time.perf_counter() - started, 1),
        basis=basis.model_dump(),
    )
