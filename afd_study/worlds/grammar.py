"""A weighted automaton over words: a law of responses whose every probability is exact.

A grammar is a table `state -> arcs`. An arc is a whole clause with a weight and the state that follows.
`compile_grammar` turns the clauses of a state into a trie. Since the grammar is unambiguous, a response read
word by word follows exactly one path, and each next-word law is known.

Every word sequence has a finite log-probability, and so the best discriminator against any policy is finite
too. For that, a word that is not allowed comes with probability `stray`, uniform over all such words of the
alphabet. If it is the end mark, the response ends. If it is a full stop, the clause is given up and the path
goes back to where the clause began. After any other stray word the path stays where it was.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from afd_study.errors import SpecError, unknown_name

EOS = "<eos>"
_WORD = re.compile(r"<\w+>|\w+(?:['-]\w+)*|[^\w\s]")
_SPACE_BEFORE = re.compile(r" (?=[.,?!:;])")


def split_words(text: str) -> list[str]:
    """Split text into words and punctuation marks, each punctuation character alone."""
    return _WORD.findall(text)


def join_words(words: Sequence[str]) -> str:
    """Join words into text: single spaces, none before a punctuation mark; `split_words` undoes it."""
    return _SPACE_BEFORE.sub("", " ".join(words))


@dataclass(frozen=True)
class Arc:
    """A clause that may come next: its weight among its state's arcs, its words, and the state after it."""

    weight: float
    words: tuple[str, ...]
    target: str | None  # None: the response is over (the words are then the end mark alone)


Grammar = Mapping[str, Sequence[Arc]]


def arcs(
    weight: float, texts: Sequence[str], target: str, evenness: float = 1.0, n_wordings: int | None = None
) -> list[Arc]:
    """Share a weight among texts: `n_wordings` in a row (None: all) are of one meaning.

    Each is said `evenness` times as often as the one before it; with 1 all are as frequent.
    """
    each = [evenness ** (i % (n_wordings or len(texts))) for i in range(len(texts))]
    total = sum(each)
    return [
        Arc(weight * share / total, tuple(split_words(text)), target)
        for text, share in zip(texts, each, strict=True)
    ]


def finish(weight: float) -> Arc:
    """Return the arc that ends a response."""
    return Arc(weight, (EOS,), None)


def unending(grammar: Grammar, connectors: Sequence[str], *, start: str) -> Grammar:
    """Return a grammar in which connectors lead back to the start wherever a response ended before."""
    return {
        state: [
            onward
            for arc in leaving
            for onward in (arcs(arc.weight, connectors, start) if arc.target is None else [arc])
        ]
        for state, leaving in grammar.items()
    }


@dataclass(slots=True)
class _Node:
    """A place inside the trie of a state: what may come next with what probability, and where it leads."""

    origin: int  # the node where this clause began
    mass: dict[str, float] = field(default_factory=dict)
    target: dict[str, int] = field(default_factory=dict)


ENDED = -1


@dataclass(frozen=True)
class Automaton:
    """A law over word sequences that end in `EOS`; compiled from a grammar by `compile_grammar`."""

    nodes: tuple[_Node, ...]
    start: int
    alphabet: tuple[str, ...]  # every word that any policy of this world can emit, EOS among them
    stray: float

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.alphabet)}

    def step(self, node: int, word: str) -> tuple[float, int]:
        """Return the log-probability (nats) of `word` at `node` and the node that follows.

        Raises SpecError for a word outside the alphabet: its probability would be zero.
        """
        mass = self.nodes[node].mass
        if word in mass:
            return math.log((1 - self.stray) * mass[word]), self._behind(node, word)
        if word not in self._index:
            raise SpecError(f"'{word}' is not in the world's alphabet of {len(self.alphabet)} words")
        return math.log(self.stray / (len(self.alphabet) - len(mass))), self._behind(node, word)

    def _behind(self, node: int, word: str) -> int:
        """Return the node that follows `word`, any word of the alphabet, at `node`."""
        here = self.nodes[node]
        if word in here.target:
            return here.target[word]
        return ENDED if word == EOS else (here.origin if word == "." else node)

    def logprobs(self, words: Sequence[str]) -> np.ndarray:
        """Return the exact log-probability (nats) of each word given those before it, shape (len(words),)."""
        node, values = self.start, []
        for word in words:
            if node == ENDED:
                raise SpecError("words follow the end mark; cut the response behind its first end mark")
            value, node = self.step(node, word)
            values.append(value)
        return np.array(values)

    def n_stray(self, words: Sequence[str]) -> int:
        """Count the words that only the stray law explains."""
        node, count = self.start, 0
        for word in words:
            count += word not in self.nodes[node].mass
            node = self.step(node, word)[1]
        return count

    def law(self, words: Sequence[str] = ()) -> np.ndarray:
        """Return the next-word law after a prefix, shape (len(alphabet),), in the alphabet's order."""
        node = self.start
        for word in words:
            node = self.step(node, word)[1]
            if node == ENDED:
                raise SpecError("the prefix holds the end mark; nothing follows it")
        mass = self.nodes[node].mass
        law = np.full(len(self.alphabet), self.stray / (len(self.alphabet) - len(mass)))
        for word, value in mass.items():
            law[self._index[word]] = (1 - self.stray) * value
        return law

    def sample(self, generator: np.random.Generator, max_words: int) -> list[str]:
        """Draw one response of at most `max_words` words, the end mark included where it was reached."""
        node = self.start
        words: list[str] = []
        while node != ENDED and len(words) < max_words:
            allowed = self.nodes[node].mass
            if generator.random() < self.stray:
                word = self.alphabet[generator.integers(len(self.alphabet))]
                while word in allowed:  # rejection makes the law uniform over the words that are not allowed
                    word = self.alphabet[generator.integers(len(self.alphabet))]
            else:
                word = _draw(allowed, generator.random())
            words.append(word)
            node = self._behind(node, word)
        return words


def _draw(mass: Mapping[str, float], uniform: float) -> str:
    total = 0.0
    for word, value in mass.items():
        total += value
        if uniform < total:
            return word
    return word  # the sum was slightly below one, by rounding


def compile_grammar(grammar: Grammar, *, start: str, alphabet: Sequence[str], stray: float) -> Automaton:
    """Compile clauses into tries and check that the law is proper and unambiguous.

    Raises SpecError where a state has no arcs or an unknown target, where one clause is the beginning of
    another (then a reader could not tell which one it was), where an end mark stands anywhere but alone on an
    arc that ends the response, where a word is outside the alphabet, or where nothing is left to stray to.
    """
    if not 0 < stray < 1:
        raise SpecError(f"stray must lie strictly between 0 and 1 for full support, not {stray}")
    for name in (start, *(arc.target for arcs in grammar.values() for arc in arcs)):
        if name is not None and name not in grammar:
            raise unknown_name("state of the grammar", name, grammar)
    nodes: list[_Node] = []
    root = {}
    for state in grammar:
        root[state] = len(nodes)
        nodes.append(_Node(origin=len(nodes)))
    states = set(root.values())
    for state, arcs in grammar.items():
        total = sum(arc.weight for arc in arcs)
        if total <= 0:
            raise SpecError(f"state '{state}' of the grammar has no arc with a positive weight")
        for arc in arcs:
            if arc.weight > 0:
                _insert(nodes, root, states, state, arc, arc.weight / total)
    words = set(alphabet)
    lacking = {word for node in nodes for word in node.mass} - words
    if lacking:
        raise SpecError(f"the grammar uses words outside the alphabet: {sorted(lacking)[:5]}")
    if any(len(node.mass) == len(words) for node in nodes) or EOS not in words:
        raise SpecError("the alphabet must hold the end mark, and at every place a word that is not allowed")
    for node in nodes:
        total = sum(node.mass.values())
        node.mass = {word: value / total for word, value in node.mass.items()}
    return Automaton(tuple(nodes), root[start], tuple(alphabet), stray)


def _insert(
    nodes: list[_Node], root: Mapping[str, int], states: set[int], state: str, arc: Arc, weight: float
) -> None:
    """Add one clause to the trie of `state`; weights add up where clauses share their first words."""
    here = root[state]
    ends = arc.target is None
    if not arc.words or (arc.words == (EOS,)) != ends or (EOS in arc.words) != ends:
        raise SpecError(
            f"state '{state}': an arc is a clause with the state behind it, or the end mark alone"
        )
    for i, word in enumerate(arc.words):
        last = i == len(arc.words) - 1
        node = nodes[here]
        inner = word in node.target and node.target[word] not in states and node.target[word] != ENDED
        if word in node.mass and (last or not inner):
            raise SpecError(
                f"state '{state}': clause {' '.join(arc.words)!r} begins or repeats another clause"
            )
        node.mass[word] = node.mass.get(word, 0.0) + weight
        if last:
            node.target[word] = ENDED if arc.target is None else root[arc.target]
        elif word not in node.target:
            node.target[word] = len(nodes)
            nodes.append(_Node(origin=root[state]))
        here = node.target[word]
