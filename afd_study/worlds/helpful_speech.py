"""What the authors of the world `helpful` can say, and how often they say it.

An answer is a sequence of facts. The state of the grammar is the set of right facts that have been said, so
that authors can avoid repetitions and the law is exact. Web and demonstrators speak the same grammar with
different weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from afd_study.worlds.grammar import Arc, Grammar, arcs, finish, split_words
from afd_study.worlds.sentences import Clause, Inventory
from afd_study.worlds.speech import Script, read_script, voices_of

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
    order: float = 1.0  # a right fact comes next so many times as often as the one asked for before it
    evenness: float = 1.0  # a wording is said so many times as often as the one before it
    first_voice: float = 1.0
    switch: float = 0.0  # the next right fact is in another voice


WEB = Behaviour(
    stop=(0.05, 0.40, 0.55, 0.75, 0.90),
    dodge=0.06,
    right=0.45,
    wrong=0.35,
    off_request=0.12,
    repeat=0.08,
    style=0.10,
)


@dataclass(frozen=True)
class Demonstrators:
    """How demonstrators behave: better than the web in every respect, and far from the best.

    `right` is a weight at quality 0, and what quality 1 adds. Faults have their share or weight at quality 0;
    at 1 there are none. The rest is the same at every quality.
    """

    stop: tuple[float, float, float, float, float] = (0.02, 0.20, 0.40, 0.75, 0.92)
    """After none (a fault), one, ... four right facts."""
    hasty: tuple[float, float] = (0.15, 0.10)
    """They stop so much more often after one fact and after two: a fault."""
    dodge: float = 0.04
    right: tuple[float, float] = (0.60, 0.40)
    wrong: float = 0.24
    off_request: float = 0.10
    repeat: float = 0.06
    closing: float = 0.15
    order: float = 1.0
    evenness: float = 1.0
    first_voice: float = 1.0
    switch: float = 0.0

    def at(self, quality: float, style: float) -> Behaviour:
        """Return the behaviour at a quality and a share of style openers, both in [0, 1]."""
        poor = 1 - quality
        none, one, two, three, four = self.stop
        return Behaviour(
            stop=(none * poor, one + self.hasty[0] * poor, two + self.hasty[1] * poor, three, four),
            dodge=self.dodge * poor,
            right=self.right[0] + self.right[1] * quality,
            wrong=self.wrong * poor,
            off_request=self.off_request * poor,
            repeat=self.repeat * poor,
            style=style,
            closing=self.closing,
            order=self.order,
            evenness=self.evenness,
            first_voice=self.first_voice,
            switch=self.switch,
        )


SCRIPT = read_script("helpful_speech")


def slots(words: Script = SCRIPT) -> Mapping[str, Sequence[str]]:
    """Return the wordings of every slot in a voice, whatever its aspect."""
    return {slot: wordings for entry in words["aspects"].values() for slot, wordings in entry.items()}


def requested_slots(aspects: str, words: Script = SCRIPT) -> list[str]:
    """Return the slots that a request for two aspects ("food+home") asks for, in the script's order."""
    return [slot for aspect in aspects.split("+") for slot in words["aspects"][aspect]]


def wordings_of(
    topic: str, slot: str, wordings: int = 3, words: Script = SCRIPT, voice: int = 0
) -> list[str]:
    """Return the wordings of one topic's fact in a voice."""
    value = words["topics"][topic][slot]
    return [wording.format(value) for wording in slots(voices_of(words)[voice])[slot][:wordings]]


def inventory(words: Script = SCRIPT) -> Inventory:
    """Return every clause of a script by its words: the slot it fills, for which topic and in which voice."""
    clauses = {
        tuple(split_words(text)): Clause(slot, topic, voice)
        for voice in range(len(voices_of(words)))
        for topic, slot in product(words["topics"], slots(words))
        for text in wordings_of(topic, slot, words=words, voice=voice)
    }
    for kind in ("style", "closing", "dodge", "connector"):
        clauses |= {tuple(split_words(text)): Clause(kind, "") for text in words.get(kind, ())}
    return Inventory(clauses)


class _Says(NamedTuple):
    """What can be said in one voice in reply to a request."""

    facts: Sequence[Sequence[str]]  # the wordings of each right fact
    wrong: Sequence[str]  # another topic's values
    off_request: Sequence[str]


def _says(topic: str, aspects: str, wordings: int, words: Script, voice: int) -> _Says:
    requested = requested_slots(aspects, words)
    others = [name for name in words["topics"] if name != topic]

    def texts(name: str, slot: str) -> list[str]:
        return wordings_of(name, slot, wordings, words, voice)

    return _Says(
        facts=[texts(topic, slot) for slot in requested],
        wrong=[text for other in others for slot in requested for text in texts(other, slot)],
        off_request=[text for slot in slots(words) if slot not in requested for text in texts(topic, slot)],
    )


def grammar(
    who: Behaviour, topic: str, aspects: str, wordings: int, *, ordered: bool, words: Script = SCRIPT
) -> Grammar:
    """Write down who says what in reply to a request for two aspects of a topic.

    States: opening, body, in each voice one for each set of right facts that have been said ("0110 0": those
    of the second and third requested slot), over (after a dodge), closed (after a closing).
    """
    voices = [_says(topic, aspects, wordings, words, voice) for voice in range(len(voices_of(words)))]
    none = "0" * len(voices[0].facts)
    states, fresh = dict[str, Sequence[Arc]](), _ends(who, none, words)
    for voice in range(len(voices)):
        for state in map("".join, product("01", repeat=len(none))):
            further = _further(who, voices, voice, state, ordered)
            states[f"{state} {voice}"] = [*_ends(who, state, words), *further]
            if state == none:
                share = who.first_voice if voice == 0 else 1 - who.first_voice
                fresh += [Arc(arc.weight * share, arc.words, arc.target) for arc in further]
    fresh = [Arc(arc.weight * (1 - who.dodge), arc.words, arc.target) for arc in fresh]
    body = [*arcs(who.dodge, words["dodge"], "over"), *fresh]
    unstyled = [Arc(arc.weight * (1 - who.style), arc.words, arc.target) for arc in body]
    return states | {
        "opening": arcs(who.style, words["style"], "body") + unstyled,
        "body": body,
        "over": [*arcs(who.closing, words["closing"], "closed"), finish(1 - who.closing)],
        "closed": [finish(1.0)],
    }


def _ends(who: Behaviour, state: str, words: Script) -> list[Arc]:
    """Return the arcs out of a state by which a response ends, with a closing or without."""
    stop = who.stop[state.count("1")]
    return arcs(stop * who.closing, words["closing"], "closed") + [finish(stop * (1 - who.closing))]


def _further(who: Behaviour, voices: Sequence[_Says], voice: int, state: str, ordered: bool) -> list[Arc]:
    """Return the arcs out of a state by which a response goes on: to a right fact, or to another clause."""
    mine = voices[voice]
    free = [i for i, flag in enumerate(state) if flag == "0" and not (ordered and i < state.rfind("1"))]
    again = [text for i, flag in enumerate(state) if flag == "1" for text in mine.facts[i]]
    repeat, right = who.repeat * bool(again), who.right * bool(free)
    going_on = (1 - who.stop[state.count("1")]) / (right + who.wrong + who.off_request + repeat or 1.0)
    early = [who.order**rank for rank in range(len(free))]
    switch = who.switch * bool(again)  # the first right fact sets the voice
    follow = list[Arc]()
    for i, share in zip(free, early, strict=True):
        weight, then = going_on * right * share / sum(early), f"{state[:i]}1{state[i + 1 :]} {voice}"
        for speaker, said in enumerate(voices):
            kept = 1 - switch if speaker == voice else switch
            follow += arcs(weight * kept, said.facts[i], then, who.evenness)
    for weight, texts in ((who.wrong, mine.wrong), (who.off_request, mine.off_request), (repeat, again)):
        if weight > 0:
            follow += arcs(going_on * weight, texts, f"{state} {voice}", who.evenness, len(mine.facts[0]))
    return follow
