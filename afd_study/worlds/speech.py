"""What the two authors of a controlled world can say: the record that a world has of it, and its script."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from afd_study.worlds.sentences import Inventory


@dataclass(frozen=True)
class Speech:
    """What can be said in a world, and how its two authors behave."""

    script: Callable[[], Mapping[str, Any]]
    """All wordings; `style` lists the openers that are style."""
    inventory: Callable[[], Inventory]
    """Every clause by its words."""
    web: Hashable
    """The web's behaviour, as `ControlledWorld.grammar` takes it."""
    demonstrator: Callable[[float, float], Hashable]
    """(quality, share of style openers) -> the demonstrators' behaviour."""


def read_script(name: str) -> Mapping[str, Any]:
    """Return the wordings of a world from the file `name`.yaml that lies beside its speech module."""
    return dict(yaml.safe_load(files("afd_study.worlds").joinpath(f"{name}.yaml").read_text("utf-8")))


def next_of(name: str, names: Iterable[str]) -> str:
    """Return the name behind `name` in a list, and behind the last one the first.

    >>> next_of("b", ["a", "b", "c"])
    'c'
    """
    ring = list(names)
    return ring[(ring.index(name) + 1) % len(ring)]
