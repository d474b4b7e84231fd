"""Which systems play pi_init, pi_SFT and demonstrator: what was explored, and what is judged by a rule.

`triples.yaml` says how each was chosen: from names, what is known of the systems, and answers' lengths.
"""

import hashlib
from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from afd_study.errors import SpecError, unknown_name
from afd_study.evaluation.systems.agreement import MOST_MISSING, NO_LENGTH, NONE
from afd_study.evaluation.systems.discriminators import LONGEST, ROLES, Fitting, Triple
from afd_study.evaluation.systems.grid import Grid
from afd_study.evaluation.verdicts import Kind
from afd_study.plain_yaml import read_yaml
from afd_study.settings import Settings, faults_of
from afd_study.worlds.entries import unit_hash

FILE = "triples.yaml"
USE = "demonstrator"  # of hashes
ADJUSTMENTS = (NONE, NO_LENGTH)
PREFERENCES = "preferences"  # the judge, fitted to verdicts on other prompts, as a score
LIKELIHOODS = ("likelihood", "likelihood_per_token")  # of a pretrained model, which alone has them
METHODS = (*ROLES, LONGEST, PREFERENCES, *LIKELIHOODS)
WORDS, STATES = "words", "states"  # readers of texts


class TripleSettings(Settings):
    """A triple of the file; `band` is the length band of its demonstrator, "" in exploration."""

    base: str
    tuned: str
    demonstrator: str
    band: str = ""

    @property
    def triple(self) -> Triple:
        """The systems alone."""
        return Triple(self.base, self.tuned, self.demonstrator)


class Pair(Settings):
    """A base and what it was tuned to; `step` says how."""

    base: str
    tuned: str
    step: str


class Demonstrators(Settings):
    """How demonstrators are taken: one out of each band of length, by the lowest hash."""

    bands: tuple[str, ...] = Field(min_length=1)
    seed: int


class Contrast(Settings):
    """A score and what it is compared with ("": nothing, its own value counts), with a verdict's margin."""

    sentence: str
    kind: Kind = "better"
    method: str
    less: str
    adjustment: str
    margin: float = Field(ge=0)


class Reader(Settings):
    """The penalties of what is fitted on a reader's features: discriminators, and the judge."""

    l2: float = Field(gt=0)
    judge_l2: float = Field(gt=0)


class Penalties(Settings):
    """Penalties that are tried beforehand, the judge's on pairs of the share `share` of prompts."""

    grid: tuple[float, ...] = Field(min_length=2)
    share: float = Field(gt=0, lt=1)
    seed: int


class JudgeFitting(Settings):
    """How a judge is fitted to verdicts and tried; `parts` of the systems are left out in turn."""

    folds: int = Field(ge=2)
    parts: int = Field(ge=2)
    per_prompt: int = Field(ge=1)
    seed: int


class Triples(Settings):
    """What `triples.yaml` holds; its comments say what each part is for."""

    reference: str
    systems: tuple[str, ...] = Field(min_length=2)
    lineages: dict[str, tuple[str, ...]]
    large: tuple[str, ...]
    exploration: tuple[TripleSettings, ...]
    pairs: tuple[Pair, ...]
    demonstrators: Demonstrators
    judged: tuple[TripleSettings, ...]
    prompts: dict[str, tuple[str, ...] | None]
    fitting: Fitting
    judge: JudgeFitting
    readers: dict[str, Reader]
    penalties: Penalties
    resamples: int = Field(gt=0)
    n: int = Field(gt=0)
    measure: str
    contrasts: dict[str, Contrast]

    def relatives(self, systems: tuple[str, ...]) -> set[str]:
        """Return these systems and all of their lineages."""
        related = {name for line in self.lineages.values() if set(line) & set(systems) for name in line}
        return related | set(systems)

    def outside(self, triple: Triple) -> tuple[str, ...]:
        """Return what a triple is not judged on: its own systems, their relatives, and the reference."""
        return tuple(sorted(self.relatives(tuple(triple)) | {self.reference}))

    def is_reference(self, triple: Triple) -> bool:
        """Tell whether the demonstrator is the reference, which every verdict compares with."""
        return triple.demonstrator == self.reference

    def lineage(self, system: str) -> str:
        """Return the name of a system's lineage, or its own where it is alone."""
        return next((name for name, line in self.lineages.items() if system in line), system)

    def by_rule(self, medians: Mapping[str, float]) -> tuple[TripleSettings, ...]:
        """Apply the rule for demonstrators to every pair; `medians` are characters of answers, by system.

        Raises SpecError for a large system that has no length, with the nearest name.
        """
        return tuple(triple for pair in self.pairs for triple in self._of_pair(pair, medians))

    def _of_pair(self, pair: Pair, medians: Mapping[str, float]) -> list[TripleSettings]:
        names = [name for name in self.large if name not in self.relatives((pair.base, pair.tuned))]
        for name in names:
            if name not in medians:
                raise unknown_name("system", name, medians)
        ordered = sorted(names, key=lambda name: (medians[name], name))
        triples = []
        for band, part in zip(
            self.demonstrators.bands, np.array_split(ordered, len(self.demonstrators.bands)), strict=True
        ):
            first = min(map(str, part), key=lambda name: self._lot(pair, name))
            triples.append(TripleSettings(base=pair.base, tuned=pair.tuned, demonstrator=first, band=band))
        return triples

    def _lot(self, pair: Pair, name: str) -> float:
        return unit_hash(f"{pair.base}/{pair.tuned}/{name}", seed=self.demonstrators.seed, use=USE)


def pool(grid: Grid, outside: Collection[str]) -> tuple[str, ...]:
    """Return the systems that a triple is judged on, in the grid's order: all but those `outside`.

    Systems of whose verdicts more than half are missing (agreement.MOST_MISSING) are left out too.
    """
    lacking = np.isnan(grid.verdicts).mean(axis=0) > MOST_MISSING
    both = zip(grid.systems, lacking, strict=True)
    return tuple(name for name, lacks in both if name not in outside and not lacks)


@cache
def load_triples(text: str = "") -> Triples:
    """Read the triples (the package's own, or `text` as YAML).

    Raises SpecError for an unknown field, for a score or an adjustment that there is not (with the nearest
    name), for a triple that names a system twice, a judged one that was explored, and no plain YAML.
    """
    text = text or files("afd_study.evaluation.systems").joinpath(FILE).read_text(encoding="utf-8")
    try:
        triples = Triples.model_validate(read_yaml(text, "the file of triples"))
    except ValidationError as fault:
        raise SpecError(f"the file of triples: {faults_of(fault)}") from None
    for name, contrast in triples.contrasts.items():
        for method in (contrast.method, *filter(None, [contrast.less])):
            if method not in METHODS:
                raise unknown_name(f"score (contrast {name})", method, METHODS)
        if contrast.adjustment not in ADJUSTMENTS:
            raise unknown_name(f"adjustment (contrast {name})", contrast.adjustment, ADJUSTMENTS)
    for each in (*triples.exploration, *triples.judged):
        if len(set(each.triple)) < 3:
            raise SpecError(f"the file of triples: {tuple(each.triple)} names a system twice")
    explored = {each.triple for each in triples.exploration}
    for each in triples.judged:
        if each.triple in explored:
            raise SpecError(
                f"the file of triples judges {tuple(each.triple)}, which was explored: take it out"
            )
    return triples


def lowest_losses(tried: pd.DataFrame) -> Reader:
    """Return the penalties with the lowest mean loss, of columns use (discriminator, judge), l2, loss."""
    means = tried.groupby(["use", "l2"])["loss"].mean()
    return Reader(l2=means["discriminator"].idxmin(), judge_l2=means["judge"].idxmin())


def triples_digest() -> str:
    """Return the BLAKE2b digest of the file, as it was committed before any judged triple was computed."""
    text = files("afd_study.evaluation.systems").joinpath(FILE).read_bytes()
    return hashlib.blake2b(text.replace(b"\r\n", b"\n"), digest_size=16).hexdigest()
