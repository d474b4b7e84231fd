"""Reading a response sentence by sentence: which known clauses it holds, and what else it says.

A sentence is read as a known clause if that clause is left when up to `MAX_SLIPS` of its words are removed.
Each removed word is a slip. Every other sentence is unknown. So a judge built on this can read any words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_SLIPS = 2
USUAL_LENGTH = 16  # words, punctuation among them; no length earns or costs more than twice as many do


@dataclass(frozen=True)
class Clause:
    """What a known sentence does, and what it is about ('' where it fits every request).

    The voice that it is said in (None: any) does not make it another clause.
    """

    kind: str
    category: str
    voice: int | None = field(default=None, compare=False)


class Reading(NamedTuple):
    """The known clauses in order, the number of unknown sentences, and the words struck out of known ones."""

    clauses: list[Clause]
    unknown: int
    slips: int


class Inventory:
    """Every clause of a world by its words; remembers the sentences it has looked up."""

    def __init__(self, clauses: Mapping[tuple[str, ...], Clause]) -> None:
        self.clauses = dict(clauses)
        self._nearest: dict[tuple[str, ...], tuple[Clause, int] | None] = {}

    def read(self, words: Sequence[str]) -> Reading:
        """Cut words into sentences at full stops and name them."""
        clauses, unknown, slips = [], 0, 0
        for sentence in sentences(words):
            match = self.nearest(sentence)
            if match is None:
                unknown += 1
            else:
                clauses.append(match[0])
                slips += match[1]
        return Reading(clauses, unknown, slips)

    def nearest(self, sentence: tuple[str, ...]) -> tuple[Clause, int] | None:
        """Return the clause left by striking the fewest words, and how many; the first such by entry."""
        if sentence not in self._nearest:
            self._nearest[sentence] = self._search(sentence)
        return self._nearest[sentence]

    def _search(self, sentence: tuple[str, ...]) -> tuple[Clause, int] | None:
        if sentence in self.clauses:
            return self.clauses[sentence], 0
        for n_struck in range(1, MAX_SLIPS + 1):
            for words, clause in self.clauses.items():
                if len(sentence) - len(words) == n_struck and _is_subsequence(words, sentence):
                    return clause, n_struck
        return None


def mixes_voices(clauses: Sequence[Clause]) -> bool:
    """Tell whether clauses are said in more than one voice."""
    return len({clause.voice for clause in clauses if clause.voice is not None}) > 1


def length_points(words: Sequence[str], per_word: float) -> float:
    """Return judge points for length: `per_word` for each word beyond the usual length, or short of it."""
    return per_word * (min(len(words), 2 * USUAL_LENGTH) - USUAL_LENGTH)


def sentences(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Cut words behind every full stop; what follows the last one is a sentence too."""
    ends = [i + 1 for i, word in enumerate(words) if word == "."]
    if not ends or ends[-1] < len(words):
        ends.append(len(words))
    starts = [0, *ends[:-1]]
    return [tuple(words[start:end]) for start, end in zip(starts, ends, strict=True) if end > start]


def _is_subsequence(short: Sequence[str], long: Sequence[str]) -> bool:
    rest = iter(long)
    return all(word in rest for word in short)
