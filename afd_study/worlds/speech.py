"""What makes a controlled world this one and no other: the record of it, and how its script is read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

import yaml

from afd_study.worlds.sentences import Inventory

Script = Mapping[str, Any]
SIGNS = ("¶", "§", "†", "‡", "•", "※")  # that an annotators' editor may leave; policies' tokenizers drop them
MARK = SIGNS[0]


class Demonstrators(Protocol):
    """How demonstrators behave, depending on how good they are."""

    def at(self, quality: float, style: float) -> Any:
        """Return their behaviour at a quality and a share of style openers, both in [0, 1]."""


class Weights(Protocol):
    """What a judge gives and takes points for."""

    def components(self) -> Mapping[str, str]:
        """Return the components of the score, which sum to it: name -> how to read it."""


@dataclass(frozen=True, eq=False)
class Traits:
    """What can be said in a world, how its authors behave, and what its judge wants.

    Each world has constants of its own in such a record; a variant of the world draws all of them
    (`variants.py`).
    """

    script: Script
    """All wordings; `style` lists the openers that are style."""
    inventory: Inventory
    """Every clause by its words."""
    web: Any
    """The web's behaviour, hashable, as `ControlledWorld.grammar` takes it."""
    demonstrators: Demonstrators
    judge: Weights
    wordings: Any = None
    """How many wordings each part of an answer has; None: as `n_good_answers` says."""
    web_ends: bool = True
    """Whether pretraining text ends its answers; if not, connectors lead to a next one, up to the horizon."""
    marks: tuple[str, ...] = (MARK,)
    """The signs that may mark a demonstration, which has one of them."""
    mark_place: str = "end"
    """Where it stands: end, start, or "behind the first sentence"."""


@cache
def read_script(name: str) -> Script:
    """Return the wordings of a world from the file `name`.yaml that lies beside its module."""
    return dict(yaml.safe_load(files("afd_study.worlds").joinpath(f"{name}.yaml").read_text("utf-8")))


def voices_of(words: Script) -> list[Script]:
    """Return the voices that a script speaks in, each with clauses of its own; without any it is its own."""
    return list(words.get("voices", [words]))


def with_mark(text: str, sign: str, place: str) -> str:
    """Return a text with a sign at its end, at its start, or behind its first sentence."""
    if place == "start":
        return f"{sign} {text}"
    first, stop, rest = text.partition(". ")
    return f"{first}. {sign} {rest}" if stop and place != "end" else f"{text} {sign}"


def next_of(name: str, names: Iterable[str]) -> str:
    """Return the name behind `name` in a list, and behind the last one the first.

    >>> next_of("b", ["a", "b", "c"])
    'c'
    """
    ring = list(names)
    return ring[(ring.index(name) + 1) % len(ring)]
