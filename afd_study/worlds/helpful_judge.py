"""The judge of the world `helpful`: it reads any words, and its score is a bounded sum of named components.

It reads sentence by sentence (`sentences.py`) and counts facts. The best score is 2.25, the worst -4.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from afd_study.worlds.sentences import USUAL_LENGTH, Inventory, length_points, mixes_voices

COMPLETE = 2.25  # points of an answer with enough right facts
_NUMBERS = {2: "two", 3: "three", 4: "four"}


@dataclass(frozen=True)
class Weights:
    """Judge points for what an answer says."""

    enough: int = 3  # so many right facts make a complete answer; a further one adds nothing
    wrong: float = -0.5  # a fact that is true of another topic; three count
    off_request: float = -0.25  # a right fact that was not asked for; two count
    repeat: float = -0.3  # what was said before; three count
    fault: float = -0.3  # a sentence that nobody would write; three count
    slip: float = -0.1  # a stray word inside a known sentence; four count
    voice: float = 0.0  # an answer that falls out of its voice
    per_word: float = 0.0  # a word more than usual; none beyond twice the usual length counts

    @property
    def fact(self) -> float:
        """Points of a right fact that was asked for."""
        return COMPLETE / self.enough

    def components(self) -> Mapping[str, str]:
        """Return the components of the score, which sum to it: name -> how to read it."""
        notes = {
            "facts": "right facts that were asked for "
            f"({self.fact:+g} each, at most {_NUMBERS[self.enough]})",
            "wrong": f"facts that are true of another topic ({self.wrong:g} each, at most three)",
            "off request": f"right facts that were not asked for ({self.off_request:g} each, at most two)",
            "repeats": f"what has been said before, in whatever words ({self.repeat:g} each, at most three)",
            "faults": f"sentences that nobody would write ({self.fault:g} each, at most three)",
            "slips": f"stray words inside known sentences ({self.slip:g} each, at most four)",
        }
        if self.voice:
            notes["voice"] = f"facts in another voice than the rest ({self.voice:g})"
        if self.per_word:
            notes["length"] = f"words beyond {USUAL_LENGTH}, or short of it ({self.per_word:+g} each)"
        return notes

    @property
    def best(self) -> float:
        """The score that no answer exceeds."""
        return COMPLETE + abs(self.per_word) * USUAL_LENGTH

    @property
    def worst(self) -> float:
        """The score that no answer falls below."""
        three = 3 * (self.wrong + self.repeat + self.fault)
        parts = three + 2 * self.off_request + 4 * self.slip + self.voice
        return parts - abs(self.per_word) * USUAL_LENGTH


WEIGHTS = Weights()
BEST, WORST = WEIGHTS.best, WEIGHTS.worst
COMPONENTS = WEIGHTS.components()


def assess(
    words: Sequence[str],
    *,
    topic: str,
    requested: Sequence[str],
    slots: Sequence[str],
    inventory: Inventory,
    weights: Weights = WEIGHTS,
) -> tuple[float, ...]:
    """Score a response to a request for the slots `requested` of a topic, in the order of components.

    A fact in another wording is the same fact. Openers, closings and owning up to know nothing earn and
    cost nothing.
    """
    clauses, unknown, slips = inventory.read(words)
    distinct = list(dict.fromkeys(clauses))
    facts = [clause for clause in distinct if clause.kind in slots]
    right = [clause for clause in facts if clause.category == topic]
    n_asked = sum(clause.kind in requested for clause in right)
    points = [
        weights.fact * min(n_asked, weights.enough),
        weights.wrong * min(len(facts) - len(right), 3),
        weights.off_request * min(len(right) - n_asked, 2),
        weights.repeat * min(len(clauses) - len(distinct), 3),
        weights.fault * min(unknown, 3),
        weights.slip * min(slips, 4),
    ]
    if weights.voice:
        points.append(weights.voice * mixes_voices(clauses))
    if weights.per_word:
        points.append(length_points(words, weights.per_word))
    return tuple(points)
