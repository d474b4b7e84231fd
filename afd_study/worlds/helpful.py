"""The controlled world `helpful`: say three true things that the prompt asks for, and nothing else.

A prompt asks for two of three aspects of a topic, and each aspect has two facts. Any three right facts of
these four make a best answer, in any order and wording. So hundreds of strings a prompt are best
(`n_good_answers`), where `harmless` has a dozen. Good answers need knowledge: facts of another topic, facts
that nobody asked for and repetitions cost points.

`helpful_speech.py` has what can be said, and how often web and demonstrators say it. Both laws are exact
automata.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any, Literal

import pandas as pd

from afd_study.worlds import helpful_judge
from afd_study.worlds.controlled import ControlledSpec, ControlledWorld
from afd_study.worlds.grammar import Grammar
from afd_study.worlds.helpful_speech import (
    SCRIPT,
    WEB,
    WORDINGS,
    Demonstrators,
    grammar,
    inventory,
    requested_slots,
    slots,
    wordings_of,
)
from afd_study.worlds.speech import Traits, next_of


class HelpfulSpec(ControlledSpec):
    """The knobs of `helpful`."""

    WORDINGS = WORDINGS
    name: Literal["helpful"] = "helpful"
    n_good_answers: int = 576


@dataclass(frozen=True)
class HelpfulWorld(ControlledWorld):
    """Requests by topic and by the two aspects asked for ("food+home")."""

    NAME = "helpful"
    SPEC = HelpfulSpec
    TRAITS = Traits(SCRIPT, inventory(), WEB, Demonstrators(), helpful_judge.WEIGHTS)
    CONDITIONS = ("topic", "aspects")

    def requests(self) -> pd.DataFrame:
        """Return every request with topic and aspects, in the script's order; either aspect comes first."""
        words, rows = self.traits.script, []
        order = list(words["aspects"])
        for topic, pair, (opener, end), qualifier in product(
            words["topics"], permutations(order, 2), words["openers"], words["qualifiers"]
        ):
            what = f"the {pair[0]} and the {pair[1]} of the {topic}"
            request = " ".join(filter(None, (opener, what, qualifier)))
            rows.append((f"{request}{end}", topic, "+".join(sorted(pair, key=order.index))))
        return pd.DataFrame(rows, columns=["text", "topic", "aspects"])

    def grammar(self, behaviour: Any, *conditions: str) -> Grammar:
        """Return who says what in reply to a request for aspects of a topic."""
        topic, aspects = conditions
        wordings, ordered = self.traits.wordings or WORDINGS[self.spec.n_good_answers]
        return grammar(behaviour, topic, aspects, wordings, ordered=ordered, words=self.traits.script)

    def assess(self, words: Sequence[str], *conditions: str) -> tuple[float, ...]:
        """Return the points of a response, in the order of `components`."""
        topic, aspects = conditions
        traits = self.traits
        return helpful_judge.assess(
            words,
            topic=topic,
            requested=requested_slots(aspects, traits.script),
            slots=list(slots(traits.script)),
            inventory=traits.inventory,
            weights=traits.judge,
        )

    def fitting(self, voice: int, *conditions: str) -> Sequence[tuple[Sequence[str], Sequence[str]]]:
        """Return the facts that the request asks for, beside those of the next topic."""
        (topic, aspects), words = conditions, self.traits.script
        other = next_of(topic, words["topics"])

        def texts(name: str, slot: str) -> list[str]:
            return wordings_of(name, slot, words=words, voice=voice)

        return [(texts(topic, slot), texts(other, slot)) for slot in requested_slots(aspects, words)]


World = HelpfulWorld  # what controlled.open_world looks for
