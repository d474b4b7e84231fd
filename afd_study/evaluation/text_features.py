"""What can be counted in any text: its words and marks, its length, ten surface features.

Texts are untrusted: they are counted, never rendered.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

LENGTH_BINS = 20
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]")


def tokens(text: str) -> list[str]:
    """Return the lower-case words and single punctuation marks of `text`, in order."""
    return _TOKEN.findall(text.lower())


def words(text: str) -> list[str]:
    """Return the lower-case words of `text`, in order, without punctuation marks."""
    return [token for token in tokens(text) if token[0].isalnum()]


def length_bins(lengths: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each of the lengths (M,) which of LENGTH_BINS bins with equally many texts it falls into."""
    edges = np.quantile(lengths, np.linspace(0, 1, LENGTH_BINS + 1)[1:-1])
    return np.digitize(lengths, edges)


def _share(count: float, total: float) -> float:
    return count / total if total else 0.0


Feature = Callable[[str], float]

LENGTHS: Mapping[str, Feature] = {
    "words": lambda text: np.log1p(len(words(text))),
    "characters": lambda text: np.log1p(len(text)),
}
"""Measures of length, on a log scale."""

SURFACE: Mapping[str, Feature] = {
    "type-token ratio": lambda text: _share(len(set(words(text))), len(words(text))),
    "letters per word": lambda text: _share(sum(map(len, words(text))), len(words(text))),
    "punctuation share": lambda text: _share(len(tokens(text)) - len(words(text)), len(tokens(text))),
    "commas per word": lambda text: _share(text.count(","), len(words(text))),
    "question marks": lambda text: float(text.count("?")),
    "exclamation marks": lambda text: float(text.count("!")),
    "upper-case share": lambda text: _share(sum(map(str.isupper, text)), len(text)),
    "digit share": lambda text: _share(sum(map(str.isdigit, text)), len(text)),
    "line breaks": lambda text: float(text.count("\n")),
    "ends with a full stop": lambda text: float(text.rstrip().endswith(".")),
}
"""Surface features of one text; shares of nothing (an empty text) are 0."""
