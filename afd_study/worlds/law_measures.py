"""What follows from a law of responses without a sample: its likeliest responses, its entropy, its length."""

import heapq
import math
from typing import NamedTuple

import numpy as np

from afd_study.errors import SpecError
from afd_study.worlds.grammar import ENDED, EOS, Automaton

_MOST_PREFIXES = 200_000


class Extent(NamedTuple):
    """How far the responses of a law reach, up to a horizon."""

    entropy: float  # nats a response
    length: float  # mean words, the end mark among them
    ends: float  # share of responses that end before the horizon cuts them


def likeliest(law: Automaton, n: int) -> list[tuple[tuple[str, ...], float]]:
    """Return the n likeliest responses with their log-probabilities (nats), the likeliest first.

    Best first over prefixes, hence exact, for responses without stray words. One with a stray word is never
    likelier than stray / (words that are not allowed at its place).

    Raises SpecError where a law hardly ever ends.
    """
    heap: list[tuple[float, tuple[str, ...], int]] = [(0.0, (), law.start)]
    best: list[tuple[tuple[str, ...], float]] = []
    for _ in range(_MOST_PREFIXES):
        if not heap or len(best) == n:
            return best
        cost, words, node = heapq.heappop(heap)
        if node == ENDED:
            best.append((words, -cost))
            continue
        for word, share in law.nodes[node].mass.items():
            price = cost - math.log((1 - law.stray) * share)
            heapq.heappush(heap, (price, (*words, word), law.nodes[node].target[word]))
    raise SpecError(f"the law has no {n} responses among its {_MOST_PREFIXES} likeliest prefixes")


def extent(law: Automaton, max_words: int) -> Extent:
    """Return entropy and length of a law that is cut at `max_words`: exact sums over its nodes.

    A prefix leads to one node, so that the chance of each node after t words is all that is needed.
    """
    sources, targets, chances = _transitions(law)
    entropy_at = _entropies(law)
    mass: np.ndarray = np.zeros(len(law.nodes) + 1)  # the last place is the end
    mass[law.start] = 1.0
    entropy = length = 0.0
    for _ in range(max_words):
        speaking = mass[:-1]
        entropy += float(speaking @ entropy_at)
        length += float(speaking.sum())
        following = np.bincount(targets, weights=mass[sources] * chances, minlength=len(mass))
        following[-1] += mass[-1]
        mass = following
    return Extent(entropy, length, float(mass[-1]))


def _entropies(law: Automaton) -> np.ndarray:
    """Return the entropy (nats) of the next word at each node."""
    values, size = [], len(law.alphabet)
    for node in law.nodes:
        allowed = (1 - law.stray) * np.array(list(node.mass.values()))
        each = law.stray / (size - len(node.mass))
        values.append(-float(allowed @ np.log(allowed)) - law.stray * math.log(each))
    return np.array(values)


def _transitions(law: Automaton) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return source, target and probability of every move between nodes; the end is the last target."""
    rows: list[tuple[int, int, float]] = []
    size, end, words = len(law.alphabet), len(law.nodes), set(law.alphabet)
    for number, node in enumerate(law.nodes):
        for word, share in node.mass.items():
            target = node.target[word]
            rows.append((number, end if target == ENDED else target, (1 - law.stray) * share))
        each, left = law.stray / (size - len(node.mass)), size - len(node.mass)
        for word, target in ((EOS, end), (".", node.origin)):
            if word not in node.mass and word in words:
                rows.append((number, target, each))
                left -= 1
        rows.append((number, number, each * left))
    sources, targets, chances = zip(*rows, strict=True)
    return np.array(sources), np.array(targets), np.array(chances)
