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
    WEB,
    WORDINGS,
    demonstrator,
    grammar,
    inventory,
    requested_slots,
    script,
    slots,
    wordings_of,
)
from afd_study.worlds.speech import Speech, next_of


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
    SPEECH = Speech(script, inventory, WEB, demonstrator)
    CONDITIONS = ("topic", "aspects")
    COMPONENTS = helpful_judge.COMPONENTS

    def requests(self) -> pd.DataFrame:
        """Return every request with topic and aspects, in the script's order; either aspect comes first."""
        words, rows = script(), []
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
        wordings, ordered = WORDINGS[self.spec.n_good_answers]
        return grammar(behaviour, topic, aspects, wordings, ordered=ordered)

    def assess(self, words: Sequence[str], *conditions: str) -> tuple[float, ...]:
        """Return the points of a response, in the order of COMPONENTS."""
        topic, aspects = conditions
        return helpful_judge.assess(
            words,
            topic=topic,
            requested=requested_slots(aspects),
            slots=list(slots()),
            inventory=self.inventory(),
        )

    def fitting(self, *conditions: str) -> Sequence[tuple[Sequence[str], Sequence[str]]]:
        """Return the facts that the request asks for, beside those of the next topic."""
        topic, aspects = conditions
        other = next_of(topic, script()["topics"])
        return [(wordings_of(topic, slot), wordings_of(other, slot)) for slot in requested_slots(aspects)]


World = HelpfulWorld  # what controlled.open_world looks for
