"""What the authors of the world `harmless` can say, and how often they say it.

Two authors speak the same grammar with different weights: the *web*, from which pretraining text is drawn,
and the *demonstrators*. These do better in every respect, but not as well as one can.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from afd_study.worlds.grammar import Arc, Grammar, arcs, finish, split_words
from afd_study.worlds.sentences import Clause, Inventory
from afd_study.worlds.speech import Script, read_script, voices_of

WORDINGS = {  # n_good_answers -> wordings of the refusal or agreement, the reason or tip, the offer or idea
    1: (1, 1, 1),
    2: (2, 1, 1),
    4: (2, 1, 2),
    8: (2, 2, 2),
    12: (3, 2, 2),
    18: (3, 2, 3),
    24: (4, 2, 3),
    36: (4, 3, 3),
    48: (4, 3, 4),
}


@dataclass(frozen=True)
class Behaviour:
    """How an author behaves: the probabilities that weigh the arcs of the grammar."""

    refuse: float  # of a harmful request
    comply: float
    refuse_benign: float
    insult: float
    dodge: float
    answer_right: float  # a benign request answered by the fitting instruction
    reason: float  # given a refusal or an answer, a reason or tip follows
    offer_at_once: float  # or an offer follows at once
    offer: float  # given a reason, an offer follows
    right: float  # a reason or offer is the fitting one
    style: float
    closing: float = 0.15
    evenness: float = 1.0  # a wording is said so many times as often as the one before it
    first_voice: float = 1.0
    switch: float = 0.0  # the next part is in another voice


WEB = Behaviour(
    refuse=0.25,
    comply=0.45,
    refuse_benign=0.15,
    insult=0.10,
    dodge=0.20,
    answer_right=0.60,
    reason=0.45,
    offer_at_once=0.25,
    offer=0.40,
    right=0.45,
    style=0.10,
)


@dataclass(frozen=True)
class Demonstrators:
    """How demonstrators behave: better than the web in every respect, and far from the best.

    A pair is a share at quality 0, and what quality 1 adds. Faults have their share at quality 0; at 1 there
    are none. The rest is the same at every quality.
    """

    refuse: tuple[float, float] = (0.70, 0.30)
    answer_right: tuple[float, float] = (0.80, 0.20)
    right: tuple[float, float] = (0.60, 0.40)
    comply: float = 0.10
    refuse_benign: float = 0.16
    insult: float = 0.04
    dodge: float = 0.16
    reason: float = 0.50
    offer_at_once: float = 0.20
    offer: float = 0.45
    closing: float = 0.15
    evenness: float = 1.0
    first_voice: float = 1.0
    switch: float = 0.0

    def at(self, quality: float, style: float) -> Behaviour:
        """Return the behaviour at a quality and a share of style openers, both in [0, 1]."""
        refuse, answer_right, right = (
            low + more * quality for low, more in (self.refuse, self.answer_right, self.right)
        )
        return Behaviour(
            refuse=refuse,
            comply=self.comply * (1 - quality),
            refuse_benign=self.refuse_benign * (1 - quality),
            insult=self.insult * (1 - quality),
            dodge=self.dodge * (1 - quality),
            answer_right=answer_right,
            reason=self.reason,
            offer_at_once=self.offer_at_once,
            offer=self.offer,
            right=right,
            style=style,
            closing=self.closing,
            evenness=self.evenness,
            first_voice=self.first_voice,
            switch=self.switch,
        )


SCRIPT = read_script("harmless_speech")


def inventory(words: Script = SCRIPT) -> Inventory:
    """Return every clause of a script by its words: what it does, for which category and in which voice."""
    clauses, voices = dict[tuple[str, ...], Clause](), list(enumerate(voices_of(words)))

    def add(kind: str, texts: Sequence[str], category: str = "", voice: int | None = None) -> None:
        for text in texts:
            clauses[tuple(split_words(text))] = Clause(kind, category, voice)

    for kind in ("style", "closing", "dodge", "insult"):
        add(kind, words[kind])
    for i, voice in voices:
        add("refusal", voice["refusal"], voice=i)
    for kind in ("boast", "connector"):
        add(kind, words.get(kind, ()))
    for category, entry in words["harmful"].items():
        add("instruction", [f"Sure, {entry['instruction']}"], category)
    for i, voice in voices:
        for category, entry in voice["benign"].items():
            add("instruction", [f"{how} {entry['instruction']}" for how in voice["agreement"]], category, i)
        for category, entry in (voice["harmful"] | voice["benign"]).items():
            for kind in ("reason", "offer"):
                add(kind, entry[kind], category, i)
    return Inventory(clauses)


def grammar(
    who: Behaviour, kind: str, category: str, wordings: tuple[int, int, int], words: Script = SCRIPT
) -> Grammar:
    """Write down who says what in reply to a request of `kind` and `category`.

    States: opening (a style opener or at once the body), body (refuse, comply, answer, dodge, insult), and
    what has been said so far, with the voice that it was said in. `wordings` says how many ways each voice
    has to put stance, reason and offer.
    """
    voices = voices_of(words)
    others = [name for name in words[kind] if name != category]
    n_stance, n_reason, n_offer = wordings

    def fitting(weight: float, part: str, n: int, voice: int, target: str) -> list[Arc]:
        """Say a part of an answer to somebody who speaks in a voice; some fall out of it."""
        leaving = []
        for i, speaker in enumerate(voices):
            share = weight * (1 - who.switch if i == voice else who.switch)
            wrong = [text for name in others for text in speaker[kind][name][part][:n]]
            right = speaker[kind][category][part][:n]
            leaving += arcs(share * who.right, right, target, who.evenness)
            leaving += arcs(share * (1 - who.right), wrong, target, who.evenness, n)
        return leaving

    body = (_harmful_body if kind == "harmful" else _benign_body)(who, category, others, n_stance, words)
    body += arcs(who.dodge, words["dodge"], "over") + arcs(who.insult, words["insult"], "insulted")
    total = sum(arc.weight for arc in body)
    unstyled = [Arc(arc.weight * (1 - who.style), arc.words, arc.target) for arc in body]
    states = {
        "opening": arcs(who.style * total, words["style"], "body") + unstyled,
        "body": body,
        "complied": [*arcs(0.5, words["boast"], "over"), finish(0.5)],
        "insulted": [*arcs(0.3, voices[0]["refusal"][:n_stance], "over", who.evenness), finish(0.7)],
        "over": [*arcs(who.closing, words["closing"], "closed"), finish(1 - who.closing)],
        "closed": [finish(1.0)],
    }
    for i in range(len(voices)):
        stance = fitting(who.reason, "reason", n_reason, i, f"reasoned {i}")
        stance += fitting(who.offer_at_once, "offer", n_offer, i, "over")
        offer = fitting(who.offer, "offer", n_offer, i, "over")
        states[f"stance {i}"] = [*stance, finish(1 - who.reason - who.offer_at_once)]
        states[f"reasoned {i}"] = [*offer, finish(1 - who.offer)]
    return states


def _shares(who: Behaviour, words: Script) -> list[tuple[int, Script, float]]:
    """Return each voice with its number and how often an author speaks in it."""
    return [
        (i, voice, who.first_voice if i == 0 else 1 - who.first_voice)
        for i, voice in enumerate(voices_of(words))
    ]


def _harmful_body(
    who: Behaviour, category: str, others: Sequence[str], n_stance: int, words: Script
) -> list[Arc]:
    """Refuse in one of `n_stance` ways, or give the instruction."""
    body = []
    for i, voice, share in _shares(who, words):
        body += arcs(who.refuse * share, voice["refusal"][:n_stance], f"stance {i}", who.evenness)
    return body + arcs(who.comply, [f"Sure, {words['harmful'][category]['instruction']}"], "complied")


def _benign_body(
    who: Behaviour, category: str, others: Sequence[str], n_stance: int, words: Script
) -> list[Arc]:
    """Help, by the fitting instruction or another category's, or refuse without need."""
    helps, answered, refused = 1 - who.refuse_benign - who.dodge - who.insult, list[Arc](), list[Arc]()
    for i, voice, share in _shares(who, words):
        entries, answers = voice["benign"], voice["agreement"][:n_stance]
        right = [f"{answer} {entries[category]['instruction']}" for answer in answers]
        wrong = [f"{answer} {entries[name]['instruction']}" for answer in answers for name in others]
        fits, misses = who.answer_right, 1 - who.answer_right
        answered += arcs(helps * fits * share, right, f"stance {i}", who.evenness)
        answered += arcs(helps * misses * share, wrong, f"stance {i}")
        refused += arcs(who.refuse_benign * share, voice["refusal"][:n_stance], "over", who.evenness)
    return answered + refused
