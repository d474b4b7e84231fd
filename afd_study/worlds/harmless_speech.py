"""What the authors of the world `harmless` can say, and how often they say it.

Two authors speak the same grammar with different weights: the *web*, from which pretraining text is drawn,
and the *demonstrators*. These do better in every respect, but not as well as one can.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from afd_study.worlds.controlled import arcs, finish
from afd_study.worlds.grammar import Arc, Grammar, split_words
from afd_study.worlds.sentences import Clause, Inventory
from afd_study.worlds.speech import read_script

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


def demonstrator(quality: float, style: float) -> Behaviour:
    """Return the demonstrators' behaviour: better than the web in every respect, and far from the best."""
    return Behaviour(
        refuse=0.70 + 0.30 * quality,
        comply=0.10 * (1 - quality),
        refuse_benign=0.16 * (1 - quality),
        insult=0.04 * (1 - quality),
        dodge=0.16 * (1 - quality),
        answer_right=0.80 + 0.20 * quality,
        reason=0.50,
        offer_at_once=0.20,
        offer=0.45,
        right=0.60 + 0.40 * quality,
        style=style,
    )


@lru_cache(1)
def script() -> Mapping[str, Any]:
    """Return the world's script: categories, activities and wordings."""
    return read_script("harmless_speech")


@lru_cache(1)
def inventory() -> Inventory:
    """Return every clause of the world by its words: what it does and for which category."""
    words, clauses = script(), dict[tuple[str, ...], Clause]()

    def add(kind: str, text: str, category: str = "") -> None:
        clauses[tuple(split_words(text))] = Clause(kind, category)

    for kind in ("style", "closing", "dodge", "insult", "refusal", "boast"):
        for text in words[kind]:
            add(kind, text)
    for category, entry in words["harmful"].items():
        add("instruction", f"Sure, {entry['instruction']}", category)
    for category, entry in words["benign"].items():
        for opener in words["agreement"]:
            add("instruction", f"{opener} {entry['instruction']}", category)
    for category, entry in (words["harmful"] | words["benign"]).items():
        for kind in ("reason", "offer"):
            for text in entry[kind]:
                add(kind, text, category)
    return Inventory(clauses)


def grammar(who: Behaviour, kind: str, category: str, wordings: tuple[int, int, int]) -> Grammar:
    """Write down who says what in reply to a request of `kind` and `category`.

    States: opening (a style opener or at once the body), body (refuse, comply, answer, dodge, insult), and
    what has been said so far. `wordings` says how many ways there are to put stance, reason and offer.
    """
    words = script()
    entries = words["harmful"] | words["benign"]
    others = [name for name in words[kind] if name != category]
    n_stance, n_reason, n_offer = wordings

    def fitting(weight: float, part: str, n: int, target: str) -> list[Arc]:
        wrong = [text for name in others for text in entries[name][part][:n]]
        right = entries[category][part][:n]
        return arcs(weight * who.right, right, target) + arcs(weight * (1 - who.right), wrong, target)

    body = (_harmful_body if kind == "harmful" else _benign_body)(who, category, others, n_stance)
    body += arcs(who.dodge, words["dodge"], "over") + arcs(who.insult, words["insult"], "insulted")
    total = sum(arc.weight for arc in body)
    unstyled = [Arc(arc.weight * (1 - who.style), arc.words, arc.target) for arc in body]
    stance = fitting(who.reason, "reason", n_reason, "reasoned")
    stance += fitting(who.offer_at_once, "offer", n_offer, "over")
    return {
        "opening": arcs(who.style * total, words["style"], "body") + unstyled,
        "body": body,
        "stance": [*stance, finish(1 - who.reason - who.offer_at_once)],
        "reasoned": [*fitting(who.offer, "offer", n_offer, "over"), finish(1 - who.offer)],
        "complied": [*arcs(0.5, words["boast"], "over"), finish(0.5)],
        "insulted": [*arcs(0.3, words["refusal"][:n_stance], "over"), finish(0.7)],
        "over": [*arcs(who.closing, words["closing"], "closed"), finish(1 - who.closing)],
        "closed": [finish(1.0)],
    }


def _harmful_body(who: Behaviour, category: str, others: Sequence[str], n_stance: int) -> list[Arc]:
    """Refuse in one of `n_stance` ways, or give the instruction."""
    instruction = [f"Sure, {script()['harmful'][category]['instruction']}"]
    refusals = script()["refusal"][:n_stance]
    return arcs(who.refuse, refusals, "stance") + arcs(who.comply, instruction, "complied")


def _benign_body(who: Behaviour, category: str, others: Sequence[str], n_stance: int) -> list[Arc]:
    """Help, by the fitting instruction or another category's, or refuse without need."""
    entries, answers = script()["benign"], script()["agreement"][:n_stance]
    right = [f"{answer} {entries[category]['instruction']}" for answer in answers]
    wrong = [f"{answer} {entries[name]['instruction']}" for answer in answers for name in others]
    helps = 1 - who.refuse_benign - who.dodge - who.insult
    answered = arcs(helps * who.answer_right, right, "stance")
    answered += arcs(helps * (1 - who.answer_right), wrong, "stance")
    return answered + arcs(who.refuse_benign, script()["refusal"][:n_stance], "over")
