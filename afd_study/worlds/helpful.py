"""The controlled world `helpful`: say three true things of what was asked, and nothing else.

A prompt asks for two of three aspects of a topic; each aspect has two facts. Three right facts of the four
that were asked for make a best answer, in any order, wording and choice: hundreds of strings a prompt are
best (`n_good_answers`), where `harmless` has a dozen. What it takes is knowledge: facts of another topic,
facts that nobody asked for and repetitions cost points.

What can be said, and how often web and demonstrators say it: `helpful_speech.py`. Both laws are exact
automata.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any, Literal

import pandas as pd
from pydantic import Field, field_validator

from afd_study.worlds import helpful_judge
from afd_study.worlds.controlled import ControlledSpec, ControlledWorld
from afd_study.worlds.grammar import Grammar
from afd_study.worlds.helpful_speech import (
    WEB,
    WORDINGS,
    Behaviour,
    asked,
    demonstrator,
    grammar,
    inventory,
    said,
    script,
    slots,
)
from afd_study.worlds.sentences import Inventory


class HelpfulSpec(ControlledSpec):
    """The knobs of `helpful`."""

    name: Literal["helpful"] = "helpful"
    n_good_answers: int = Field(
        576,
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
class HelpfulWorld(ControlledWorld):
    """Requests by topic and by the two aspects asked for ("food+home")."""

    NAME = "helpful"
    SPEC = HelpfulSpec
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

    def inventory(self) -> Inventory:
        """Return every clause that can be said."""
        return inventory()

    def behaviour(self, who: str) -> Behaviour:
        """Return the web's behaviour, or the demonstrators' at this spec's quality and style."""
        if who == "web":
            return WEB
        return demonstrator(self.spec.demonstration_quality, self.spec.absorbed_style)

    def grammar(self, behaviour: Any, *conditions: str) -> Grammar:
        """Return who says what in reply to a request for aspects of a topic."""
        topic, aspects = conditions
        wordings, ordered = WORDINGS[self.spec.n_good_answers]
        return grammar(behaviour, topic, aspects, wordings, ordered=ordered)

    def assess(self, words: Sequence[str], *conditions: str) -> tuple[float, ...]:
        """Return the points of a response, in the order of COMPONENTS."""
        topic, aspects = conditions
        return helpful_judge.assess(
            words, topic=topic, wanted=asked(aspects), slots=list(slots()), inventory=inventory()
        )

    @property
    def style(self) -> tuple[str, ...]:
        """Return the openers that are style."""
        return tuple(script()["style"])

    def edited(self, text: str, *conditions: str) -> Mapping[str, str]:
        """Return the text with a right fact made wrong, and with one more right fact."""
        topic, aspects = conditions
        names = list(script()["topics"])
        other, found = names[(names.index(topic) + 1) % len(names)], dict[str, str]()
        for slot in asked(aspects):
            wordings = said(topic, slot)
            told = [i for i, sentence in enumerate(wordings) if sentence in text]
            if told:
                wrong = text.replace(wordings[told[0]], said(other, slot)[told[0]], 1)
                found.setdefault("a fitting part made unfitting", wrong)
            else:
                found.setdefault("a fitting part added", f"{text} {wordings[0]}")
        return found


World = HelpfulWorld  # what controlled.open_world looks for
