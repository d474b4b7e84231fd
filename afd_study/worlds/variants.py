"""Variants of the controlled worlds: what today are constants, drawn from the priors of `variants.yaml`.

Three properties stand in a balanced design: how many kinds of good answer there are, whether likely answers
are good, and whether the web ends its answers. A variant's cell follows from its number, and all else is
drawn. Each trait has a stream of its own, which depends on the family, the variant and the trait's name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from afd_study.errors import SpecError, unknown_name
from afd_study.worlds.speech import SIGNS, read_script

_ROLES = ("judging", "exploration")


class Cell(NamedTuple):
    """A variant's place in the design, and what it is for: judging or exploration."""

    role: str
    kinds: int
    likely_good: bool
    web_ends: bool


def priors() -> Mapping[str, Any]:
    """Return the table of priors."""
    return read_script("variants")


def numbers(role: str) -> range:
    """Return the numbers of the variants that are for judging, or for exploration."""
    plan = priors()["design"]
    return range(plan[role]["first"], plan[role]["first"] + plan[role]["blocks"] * len(_cells()))


def no_room() -> float:
    """Return the gap (judge points) under which a world is no room: counted, and not drawn again."""
    return float(priors()["no_room"])


def cell(family: str, variant: int) -> Cell:
    """Return a variant's place in the design; in each block all cells stand equally often, in a drawn order.

    Raises SpecError for a family without priors, and for a number outside the design.
    """
    families = set(priors()) - {"seed", "no_room", "design", "every_family"}
    if family not in families:
        raise unknown_name("family of world variants", family, families)
    cells = _cells()
    for role in _ROLES:
        ids = numbers(role)
        if variant in ids:
            block, place = divmod(variant - ids.start, len(cells))
            order = _generator(family, ids.start + block * len(cells), "design").permutation(len(cells))
            return Cell(role, *cells[order[place]])
    known = " and ".join(f"{ids[0]} to {ids[-1]} ({role})" for role in _ROLES if (ids := numbers(role)))
    raise SpecError(f"the world '{family}' has no variant {variant}: there are {known}")


def _cells() -> list[tuple[int, bool, bool]]:
    plan = priors()["design"]
    return [*product(plan["kinds"], plan["likely_good"], plan["web_ends"])] * plan["worlds_a_cell"]


def _generator(family: str, variant: int, trait: str) -> np.random.Generator:
    return np.random.default_rng([priors()["seed"], crc32(family.encode()), variant, crc32(trait.encode())])


@dataclass(frozen=True)
class Draws:
    """All that one variant of a family draws."""

    family: str
    variant: int

    @cached_property
    def cell(self) -> Cell:
        """Its place in the design."""
        return cell(self.family, self.variant)

    def value(self, trait: str) -> Any:
        """Return the value of a trait, such as "web.refuse" of this family, or one of every family."""
        prior: Any = {**priors()["every_family"], **priors()[self.family]}
        for part in trait.split("."):
            prior = prior[part]
        if isinstance(prior, Mapping) and "likely_good" in prior:
            prior = prior["likely_good" if self.cell.likely_good else "else"]
        rng = _generator(self.family, self.variant, trait)
        if isinstance(prior, Mapping):
            return prior["one_of"][rng.integers(len(prior["one_of"]))]
        return round(float(rng.uniform(*prior)), 3)

    def group(self, name: str) -> dict[str, Any]:
        """Return the values of a group of traits of this family by their names inside it."""
        return {trait: self.value(f"{name}.{trait}") for trait in priors()[self.family][name]}

    def some(self, use: str, names: Sequence[str], n: int) -> list[str]:
        """Return n of some names or texts, in a drawn order; equal uses get equal choices."""
        order = _generator(self.family, self.variant, f"some {use}").permutation(len(names))
        return [names[i] for i in order[:n]]

    def voices(self, names: Sequence[str]) -> list[str]:
        """Return as many voices as there are kinds of good answer."""
        return self.some("voices", names, self.cell.kinds)

    def shared(self) -> dict[str, Any]:
        """Return the traits that every family has, by their names in `Traits`."""
        return {
            "web_ends": self.cell.web_ends,
            "marks": tuple(self.some("marks", SIGNS, self.value("n_marks"))),
            "mark_place": self.value("mark_place"),
        }

    def speaker(self, group: str) -> dict[str, Any]:
        """Return how an author behaves; with one voice there is none to fall out of."""
        behaviour = self.group(group) | {"evenness": self.value("evenness")}
        return behaviour if self.cell.kinds > 1 else behaviour | {"first_voice": 1.0, "switch": 0.0}

    def weights(self) -> dict[str, Any]:
        """Return what the judge gives points for; with one voice there is none to fall out of."""
        return self.group("judge") | ({} if self.cell.kinds > 1 else {"voice": 0.0})
