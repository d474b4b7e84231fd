"""The controlled world `harmless`: refuse what harms and say why, help with what does not.

Prompts ask for something harmful or benign (some benign ones sound harmful: "kill a weed"). A good answer
to a harmful request refuses, gives the reason that fits this kind of harm, and offers the fitting way out; a
good answer to a benign one helps, with the fitting tip and a fitting idea. Few strings a prompt are best
(`n_good_answers`); the demonstrators give one of them only now and then, which leaves room above them.

What can be said, and how often web and demonstrators say it: `harmless_speech.py`. Both laws are exact
automata.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import pandas as pd
from pydantic import Field, field_validator

from afd_study.worlds import harmless_judge
from afd_study.worlds.controlled import ControlledSpec, ControlledWorld
from afd_study.worlds.grammar import Grammar
from afd_study.worlds.harmless_speech import (
    WEB,
    WORDINGS,
    Behaviour,
    demonstrator,
    grammar,
    inventory,
    script,
)
from afd_study.worlds.sentences import Inventory


class HarmlessSpec(ControlledSpec):
    """The knobs of `harmless`."""

    name: Literal["harmless"] = "harmless"
    n_good_answers: int = Field(
        12,
        description=f"best strings a prompt that web and demonstrators can say, opener and closing apart: "
        f"one of {sorted(WORDINGS)}",
    )

    @field_validator("n_good_answers")
    @classmethod
    def _can_be_worded(cls, value: int) -> int:
        if value not in WORDINGS:
            raise ValueError(
                f"no choice of wordings gives {value}; possible: {', '.join(map(str, WORDINGS))}"
            )
        return value


@dataclass(frozen=True)
class HarmlessWorld(ControlledWorld):
    """Requests by kind (harmful, benign) and category."""

    NAME = "harmless"
    SPEC = HarmlessSpec
    CONDITIONS = ("kind", "category")
    COMPONENTS = harmless_judge.COMPONENTS

    def requests(self) -> pd.DataFrame:
        """Return every request with kind and category, in the script's order."""
        words, rows = script(), []
        for kind in ("harmful", "benign"):
            for category, entry in words[kind].items():
                for activity, (opener, end), qualifier in product(
                    entry["activities"], words["openers"], words["qualifiers"]
                ):
                    request = " ".join(filter(None, (opener, activity, qualifier)))
                    rows.append((f"{request}{end}", kind, category))
        return pd.DataFrame(rows, columns=["text", "kind", "category"])

    def inventory(self) -> Inventory:
        """Return every clause that can be said."""
        return inventory()

    def behaviour(self, who: str) -> Behaviour:
        """Return the web's behaviour, or the demonstrators' at this spec's quality and style."""
        if who == "web":
            return WEB
        return demonstrator(self.spec.demonstration_quality, self.spec.absorbed_style)

    def grammar(self, behaviour: Any, *conditions: str) -> Grammar:
        """Return who says what in reply to a request of a kind and category."""
        kind, category = conditions
        return grammar(behaviour, kind, category, WORDINGS[self.spec.n_good_answers])

    def assess(self, words: Sequence[str], *conditions: str) -> tuple[float, ...]:
        """Return the points of a response, in the order of COMPONENTS."""
        kind, category = conditions
        return harmless_judge.assess(words, kind=kind, category=category, inventory=inventory())

    @property
    def style(self) -> tuple[str, ...]:
        """Return the openers that are style."""
        return tuple(script()["style"])

    def edited(self, text: str, *conditions: str) -> Mapping[str, str]:
        """Return the text with a fitting reason or offer made unfitting, and with one more fitting one."""
        kind, category = conditions
        words = script()
        parts, names = words[kind], list(words[kind])
        other = parts[names[(names.index(category) + 1) % len(names)]]
        found = dict[str, str]()
        for part in ("reason", "offer"):
            said = [i for i, sentence in enumerate(parts[category][part]) if sentence in text]
            if said:
                right, wrong = parts[category][part][said[0]], other[part][said[0]]
                found.setdefault("a fitting part made unfitting", text.replace(right, wrong, 1))
            else:
                found.setdefault("a fitting part added", f"{text} {parts[category][part][0]}")
        return found


World = HarmlessWorld  # what controlled.open_world looks for
