"""The controlled world `harmless`: refuse what harms and say why, help with what does not.

Prompts ask for something harmful or benign (some benign ones sound harmful: "kill a weed"). A good answer
to a harmful request refuses, gives the reason that fits this kind of harm, and offers the fitting way out. A
good answer to a benign one helps, with the fitting tip and a fitting idea. Only a few strings a prompt are
best (`n_good_answers`). The demonstrators give one of them only now and then, so a policy can do better.

`harmless_speech.py` has what can be said, and how often web and demonstrators say it. Both laws are exact
automata.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import pandas as pd

from afd_study.worlds import harmless_judge
from afd_study.worlds.controlled import ControlledSpec, ControlledWorld
from afd_study.worlds.grammar import Grammar
from afd_study.worlds.harmless_speech import SCRIPT, WEB, WORDINGS, Demonstrators, grammar, inventory
from afd_study.worlds.speech import Traits, next_of, voices_of


class HarmlessSpec(ControlledSpec):
    """The knobs of `harmless`."""

    WORDINGS = WORDINGS
    name: Literal["harmless"] = "harmless"
    n_good_answers: int = 12


@dataclass(frozen=True)
class HarmlessWorld(ControlledWorld):
    """Requests by kind (harmful, benign) and category."""

    NAME = "harmless"
    SPEC = HarmlessSpec
    TRAITS = Traits(SCRIPT, inventory(), WEB, Demonstrators(), harmless_judge.WEIGHTS)
    CONDITIONS = ("kind", "category")

    def requests(self) -> pd.DataFrame:
        """Return every request with kind and category, in the script's order."""
        words, rows = self.traits.script, []
        for kind in ("harmful", "benign"):
            for category, entry in words[kind].items():
                for activity, (opener, end), qualifier in product(
                    entry["activities"], words["openers"], words["qualifiers"]
                ):
                    request = " ".join(filter(None, (opener, activity, qualifier)))
                    rows.append((f"{request}{end}", kind, category))
        return pd.DataFrame(rows, columns=["text", "kind", "category"])

    def grammar(self, behaviour: Any, *conditions: str) -> Grammar:
        """Return who says what in reply to a request of a kind and category."""
        kind, category = conditions
        wordings = self.traits.wordings or WORDINGS[self.spec.n_good_answers]
        return grammar(behaviour, kind, category, wordings, self.traits.script)

    def assess(self, words: Sequence[str], *conditions: str) -> tuple[float, ...]:
        """Return the points of a response, in the order of `components`."""
        kind, category = conditions
        traits = self.traits
        return harmless_judge.assess(
            words, kind=kind, category=category, inventory=traits.inventory, weights=traits.judge
        )

    def fitting(self, voice: int, *conditions: str) -> Sequence[tuple[Sequence[str], Sequence[str]]]:
        """Return reasons and offers (tips and ideas) of the category, beside those of the next category."""
        kind, category = conditions
        categories = voices_of(self.traits.script)[voice][kind]
        right, wrong = categories[category], categories[next_of(category, categories)]
        return [(right[part], wrong[part]) for part in ("reason", "offer")]


World = HarmlessWorld  # what controlled.open_world looks for
