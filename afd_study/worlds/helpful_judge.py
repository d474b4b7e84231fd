"""The judge of the world `helpful`: it reads any words, and its score is a bounded sum of named components.

It reads sentence by sentence (`sentences.py`) and counts facts. The best score is 2.25, the worst -4.2.
"""

from collections.abc import Sequence

from afd_study.worlds.sentences import Inventory

BEST, WORST = 2.25, -4.2
COMPONENTS = {
    "facts": "right facts that were asked for (+0.75 each, at most three)",
    "wrong": "facts that are true of another topic (-0.5 each, at most three)",
    "off request": "right facts that were not asked for (-0.25 each, at most two)",
    "repeats": "what has been said before, in whatever words (-0.3 each, at most three)",
    "faults": "sentences that nobody would write (-0.3 each, at most three)",
    "slips": "stray words inside known sentences (-0.1 each, at most four)",
}


def assess(
    words: Sequence[str], *, topic: str, requested: Sequence[str], slots: Sequence[str], inventory: Inventory
) -> tuple[float, ...]:
    """Score a response to a request for the slots `requested` of a topic, in the order of COMPONENTS.

    A fact in another wording is the same fact. Openers, closings and owning up to know nothing earn and
    cost nothing.
    """
    clauses, unknown, slips = inventory.read(words)
    distinct = list(dict.fromkeys(clauses))
    facts = [clause for clause in distinct if clause.kind in slots]
    right = [clause for clause in facts if clause.category == topic]
    n_asked = sum(clause.kind in requested for clause in right)
    return (
        0.75 * min(n_asked, 3),
        -0.5 * min(len(facts) - len(right), 3),
        -0.25 * min(len(right) - n_asked, 2),
        -0.3 * min(len(clauses) - len(distinct), 3),
        -0.3 * min(unknown, 3),
        -0.1 * min(slips, 4),
    )
