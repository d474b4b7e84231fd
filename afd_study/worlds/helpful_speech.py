"""What the authors of the world `helpful` can say, and how often they say it.

An answer is a sequence of facts. The state of the grammar is the set of right facts that have been said, so
that authors can avoid repetitions and the law is exact. Web and demonstrators speak the same grammar with
different weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

from afd_study.worlds.controlled import arcs, finish
from afd_study.worlds.grammar import Arc, Grammar, split_words
from afd_study.worlds.sentences import Clause, Inventory
from afd_study.worlds.speech import read_script

# n_good_answers -> wordings of a fact, and whether facts come in one order. Three or all four of the facts
# asked for make a best answer: 4 * 3! * w^3 + 4! * w^4 strings in any order, 4 * w^3 + w^4 in one.
WORDINGS = {5: (1, True), 48: (1, False), 189: (3, True), 576: (2, False), 2592: (3, False)}


@dataclass(frozen=True)
class Behaviour:
    """How an author behaves: probabilities of stopping, and weights of what comes next otherwise."""

    stop: tuple[float, ...]  # after none, one, ... four right facts
    dodge: float  # the author only says that they do not know
    right: float  # a fact that was asked for
    wrong: float  # another topic's value
    off_request: float  # a right fact that was not asked for
    repeat: float  # a fact that was said before
    style: float
    closing: float = 0.15


WEB = Behaviour(
    stop=(0.05, 0.40, 0.55, 0.75, 0.90),
    dodge=0.06,
    right=0.45,
    wrong=0.35,
    off_request=0.12,
    repeat=0.08,
    style=0.10,
)


def demonstrator(quality: float, style: float) -> Behaviour:
    """Return the demonstrators' behaviour: better than the web in every respect, and far from the best."""
    poor = 1 - quality
    return Behaviour(
        stop=(0.02 * poor, 0.20 + 0.15 * poor, 0.40 + 0.10 * poor, 0.75, 0.92),
        dodge=0.04 * poor,
        right=0.60 + 0.40 * quality,
        wrong=0.24 * poor,
        off_request=0.10 * poor,
        repeat=0.06 * poor,
        style=style,
    )


@lru_cache(1)
def script() -> Mapping[str, Any]:
    """Return the world's script: topics, aspects and wordings."""
    return read_script("helpful_speech")


@lru_cache(1)
def slots() -> Mapping[str, Sequence[str]]:
    """Return the wordings of every slot, whatever its aspect."""
    return {slot: words for entry in script()["aspects"].values() for slot, words in entry.items()}


def requested_slots(aspects: str) -> list[str]:
    """Return the slots that a request for two aspects ("food+home") asks for, in the script's order."""
    return [slot for aspect in aspects.split("+") for slot in script()["aspects"][aspect]]


def wordings_of(topic: str, slot: str, wordings: int = 3) -> list[str]:
    """Return the wordings of one topic's fact."""
    return [wording.format(script()["topics"][topic][slot]) for wording in slots()[slot][:wordings]]


@lru_cache(1)
def inventory() -> Inventory:
    """Return every clause of the world by its words: the slot it fills, and for which topic."""
    clauses = {
        tuple(split_words(text)): Clause(slot, topic)
        for topic, slot in product(script()["topics"], slots())
        for text in wordings_of(topic, slot)
    }
    for kind in ("style", "closing", "dodge"):
        clauses |= {tuple(split_words(text)): Clause(kind, "") for text in script()[kind]}
    return Inventory(clauses)


def grammar(who: Behaviour, topic: str, aspects: str, wordings: int, *, ordered: bool) -> Grammar:
    """Write down who says what in reply to a request for two aspects of a topic.

    States: opening, body, one for each set of right facts that have been said ("0110": those of the second
    and third requested slot), over (after a dodge), closed (after a closing).
    """
    words, requested = script(), requested_slots(aspects)
    others = [name for name in words["topics"] if name != topic]
    facts = [wordings_of(topic, slot, wordings) for slot in requested]
    same = {  # clauses that leave the set of right facts as it is
        "wrong": [
            text for other in others for slot in requested for text in wordings_of(other, slot, wordings)
        ],
        "off_request": [
            text for slot in slots() if slot not in requested for text in wordings_of(topic, slot, wordings)
        ],
    }
    states = {
        state: _next(who, facts, state, ordered, same)
        for state in map("".join, product("01", repeat=len(requested)))
    }
    fresh = [Arc(arc.weight * (1 - who.dodge), arc.words, arc.target) for arc in states["0" * len(requested)]]
    body = [*arcs(who.dodge, words["dodge"], "over"), *fresh]
    unstyled = [Arc(arc.weight * (1 - who.style), arc.words, arc.target) for arc in body]
    return states | {
        "opening": arcs(who.style, words["style"], "body") + unstyled,
        "body": body,
        "over": [*arcs(who.closing, words["closing"], "closed"), finish(1 - who.closing)],
        "closed": [finish(1.0)],
    }


def _next(
    who: Behaviour,
    facts: Sequence[Sequence[str]],
    state: str,
    ordered: bool,
    same: Mapping[str, Sequence[str]],
) -> list[Arc]:
    """Return the arcs out of a state: to a further fact, a repetition, another clause, or the end.

    `facts` has the wordings of each right fact, and `same` those of clauses that lead back to the state.
    """
    free = [i for i, flag in enumerate(state) if flag == "0" and not (ordered and i < state.rfind("1"))]
    again = [text for i, flag in enumerate(state) if flag == "1" for text in facts[i]]
    repeat, right = who.repeat * bool(again), who.right * bool(free)
    stop = who.stop[state.count("1")]
    going_on = (1 - stop) / (right + who.wrong + who.off_request + repeat or 1.0)
    follow = arcs(stop * who.closing, script()["closing"], "closed") + [finish(stop * (1 - who.closing))]
    for i in free:
        then = f"{state[:i]}1{state[i + 1 :]}"
        follow += arcs(going_on * right / len(free), facts[i], then)
    for weight, texts in (
        (who.wrong, same["wrong"]),
        (who.off_request, same["off_request"]),
        (repeat, again),
    ):
        if weight > 0:
            follow += arcs(going_on * weight, texts, state)
    return follow
