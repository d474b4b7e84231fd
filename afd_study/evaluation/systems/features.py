"""What a reader sees of a text: its words, or numbers that came with it, such as a pretrained model's states.

`Features` is all that the analysis of systems asks of a reader. It is fitted on some texts and describes
others: a bag of words takes its words from the former, an array its means and spreads. Labels play no part.
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from afd_study.errors import DataError
from afd_study.evaluation.text_features import tokens

MAX_GRAMS = 20_000
Matrix: TypeAlias = NDArray[np.float64] | sparse.csr_array


class Features(Protocol):
    """A reader of M texts, which are named by their numbers, 0 ... M - 1."""

    def __call__(self, *, fit_on: NDArray[np.int64], of: Sequence[NDArray[np.int64]]) -> list[Matrix]:
        """Describe the texts of each part of `of`, (m,) to (m, F), by what the texts `fit_on` (n,) hold."""


def gram_counts(texts: Sequence[str]) -> sparse.csr_array:
    """Count words and pairs of neighbouring words that occur in two texts or more: (M, grams), float32.

    Raises DataError where there are none.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(analyzer=_grams, min_df=2, dtype=np.float32)
    try:
        return sparse.csr_array(counter.fit_transform(texts))
    except ValueError as fault:  # CountVectorizer: its vocabulary is empty
        raise DataError("no word occurs in two texts, so there is nothing to tell them by") from fault


def bag(counts: sparse.csr_array, *, max_grams: int = MAX_GRAMS) -> Features:
    """Return a bag of words and pairs of neighbouring words: log(1 + count), at unit length.

    `counts` (M, grams) are `gram_counts`. Those count that occur in two texts of `fit_on` or more; of more
    than `max_grams` the most frequent.
    """
    from sklearn.preprocessing import normalize

    def described(*, fit_on: NDArray[np.int64], of: Sequence[NDArray[np.int64]]) -> list[Matrix]:
        fitted = counts[fit_on]
        times = np.bincount(fitted.indices, minlength=counts.shape[1])
        totals = np.where(times >= 2, np.asarray(fitted.sum(axis=0)).ravel(), 0)
        kept = np.sort(np.argsort(-totals, kind="stable")[: min(max_grams, int((totals > 0).sum()))])
        return [normalize(sparse.csr_array(counts[part][:, kept]).log1p()) for part in of]

    return described


def _grams(text: str) -> list[str]:
    words = tokens(text)
    return words + [" ".join(pair) for pair in zip(words, words[1:], strict=False)]


def arrays(values: ArrayLike) -> Features:
    """Return numbers (M, F) as features: standardised by mean and spread over the texts of `fit_on`.

    Raises DataError where the numbers are no finite matrix.
    """
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise DataError(f"features must be finite numbers of shape (texts, features), got {matrix.shape}")

    def described(*, fit_on: NDArray[np.int64], of: Sequence[NDArray[np.int64]]) -> list[Matrix]:
        mean, spread = matrix[fit_on].mean(axis=0), matrix[fit_on].std(axis=0)
        return [(matrix[part] - mean) / np.where(spread > 0, spread, 1.0) for part in of]

    return described
