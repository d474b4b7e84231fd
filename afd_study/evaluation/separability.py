"""How far two sets of texts are told apart, and by what, where no grammar says what the texts mean.

A reward model trained to tell two sources apart learns whatever tells them apart most cheaply. Here that is
measured with readers so simple that one knows what they read: length, surface marks, the first word, a bag
of words; each fitted on some prompts and tried on others. Texts are untrusted: they are counted, never
rendered.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, sparse, special

from afd_study.errors import DataError, SpecError, unknown_name
from afd_study.evaluation.ranking import mann_whitney, weighted_auc
from afd_study.evaluation.statistics import BOOTSTRAP, bootstrap_statistic, require_columns

TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]")
LENGTH_BINS = 20
MAX_WORDS = 2000


def tokens(text: str) -> list[str]:
    """Return the lower-case words and single punctuation marks of `text`, in order."""
    return TOKEN.findall(text.lower())


def _words(text: str) -> list[str]:
    return [token for token in tokens(text) if token[0].isalnum()]


def _share(count: float, total: float) -> float:
    return count / total if total else 0.0


LENGTHS: dict[str, Callable[[str], float]] = {
    "words": lambda text: np.log1p(len(_words(text))),
    "characters": lambda text: np.log1p(len(text)),
}
"""Measures of length, on a log scale."""

SURFACE: dict[str, Callable[[str], float]] = {
    "type-token ratio": lambda text: _share(len(set(_words(text))), len(_words(text))),
    "letters per word": lambda text: _share(sum(map(len, _words(text))), len(_words(text))),
    "punctuation share": lambda text: _share(len(tokens(text)) - len(_words(text)), len(tokens(text))),
    "commas per word": lambda text: _share(text.count(","), len(_words(text))),
    "question marks": lambda text: float(text.count("?")),
    "exclamation marks": lambda text: float(text.count("!")),
    "upper-case share": lambda text: _share(sum(map(str.isupper, text)), len(text)),
    "digit share": lambda text: _share(sum(map(str.isdigit, text)), len(text)),
    "line breaks": lambda text: float(text.count("\n")),
    "ends with a full stop": lambda text: float(text.rstrip().endswith(".")),
}
"""Surface features of one text; shares of nothing (an empty text) are 0."""


@dataclass(frozen=True)
class Logistic:
    """A fitted logistic regression: `weights` (F,), `intercept`; the logit of the positive source."""

    weights: NDArray[np.float64]
    intercept: float

    def logits(self, matrix: sparse.csr_array) -> NDArray[np.float64]:
        """Return the logits of the rows of `matrix` (M, F): (M,)."""
        return matrix @ self.weights + self.intercept


def fit_logistic(matrix: sparse.csr_array, positive: NDArray, *, l2: float = 1.0) -> Logistic:
    """Minimise the summed log loss (nats) + l2 / 2 |weights|^2 on rows (M, F), flags (M,); intercept free."""
    if not l2 > 0:
        raise SpecError(f"l2 must be positive, got {l2}; without it separable texts have no finite optimum")
    target = np.asarray(positive, dtype=float)

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, intercept = theta[:-1], theta[-1]
        logits = matrix @ weights + intercept
        error = special.expit(logits) - target
        value = np.logaddexp(0, logits).sum() - target @ logits + l2 / 2 * weights @ weights
        return value, np.append(matrix.T @ error + l2 * weights, error.sum())

    start = np.zeros(matrix.shape[1] + 1)
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return Logistic(found.x[:-1], float(found.x[-1]))


Encoder = Callable[[Sequence[str]], sparse.csr_array]


def _dense(features: dict[str, Callable[[str], float]], texts: Sequence[str]) -> Encoder:
    """Standardise `features` by their mean and spread over `texts`; constant ones become 0."""

    def measure(batch: Sequence[str]) -> NDArray[np.float64]:
        return np.array([[feature(text) for feature in features.values()] for text in batch], dtype=float)

    known = measure(texts)
    centre, scale = known.mean(axis=0), known.std(axis=0)
    inverse = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0)
    return lambda batch: sparse.csr_array((measure(batch) - centre) * inverse)


def _vocabulary(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return the words of two texts or more, the commonest MAX_WORDS, ties in alphabetical order."""
    counts = Counter(word for words in lists for word in set(words))
    common = [word for word, count in counts.items() if count > 1]
    return sorted(common, key=lambda word: (-counts[word], word))[:MAX_WORDS]


def _counts(vocabulary: list[str], lists: Sequence[Sequence[str]]) -> sparse.csr_array:
    """Return log(1 + count) of each vocabulary word, rows of unit length: (M, F)."""
    place = {word: column for column, word in enumerate(vocabulary)}
    rows = [
        (row, place[word], np.log1p(count))
        for row, words in enumerate(lists)
        for word, count in Counter(words).items()
        if word in place
    ]
    row, column, value = (np.array(part) for part in zip(*rows, strict=True)) if rows else (np.empty(0),) * 3
    matrix = sparse.csr_array(
        (value, (row.astype(int), column.astype(int))), shape=(len(lists), len(vocabulary))
    )
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.csr_array(sparse.diags_array(1 / np.where(norm > 0, norm, 1)) @ matrix)


def _bag(split: Callable[[str], list[str]], texts: Sequence[str]) -> Encoder:
    vocabulary = _vocabulary([split(text) for text in texts])
    return lambda batch: _counts(vocabulary, [split(text) for text in batch])


FEATURES: dict[str, Callable[[Sequence[str]], Encoder]] = {
    "length": partial(_dense, LENGTHS),
    "surface": partial(_dense, SURFACE),
    "first word": partial(_bag, lambda text: _words(text)[:1]),
    "words": partial(_bag, tokens),
} | {name: partial(_dense, {name: feature}) for name, feature in SURFACE.items()}
"""Feature sets by name; each looks at the training texts and returns how to encode any texts."""


def separability(
    texts: pd.DataFrame,
    *,
    positive: str,
    negative: str,
    generator: np.random.Generator,
    features: Sequence[str] = tuple(FEATURES),
    held_out: float = 0.5,
    l2: float = 1.0,
    level: float = 0.95,
    resamples: int = 500,
) -> pd.DataFrame:
    """Measure how well simple readers tell `positive` from `negative` texts, on prompts they never saw.

    `texts` has prompt_id, source, text (a `samples` table will do). Returns one row for each feature set
    and adjustment: positive, negative, features, adjustment, auc, low, high, n_prompts, n_positive,
    n_negative, interval. Adjustments: "none"; "length residualised" (what is left of the score after a
    cubic in log words, fitted on the held-out scores without their labels) and "length matched" (only pairs
    within one of 20 length bins count; "length" itself is matched too, as the control that shows how much
    length is left within a bin). Raises DataError where a side has no texts on either side of the split.
    """
    for name in features:
        if name not in FEATURES:
            raise unknown_name("feature set", name, FEATURES)
    train, test = _split(texts, positive, negative, generator, held_out)
    flags = (test["source"] == positive).to_numpy()
    lengths = np.array([LENGTHS["words"](text) for text in test["text"]])
    front = {"positive": positive, "negative": negative}
    back = {"n_prompts": test["prompt_id"].nunique(), "n_positive": flags.sum(), "n_negative": (~flags).sum()}
    rows = []
    for name in features:
        encode = FEATURES[name](list(train["text"]))
        model = fit_logistic(encode(list(train["text"])), (train["source"] == positive).to_numpy(), l2=l2)
        scores = model.logits(encode(list(test["text"])))
        for adjustment, statistic in _statistics(name, scores, flags, lengths).items():
            found = bootstrap_statistic(
                statistic, test["prompt_id"], generator=generator, level=level, resamples=resamples
            )
            named = {"features": name, "adjustment": adjustment}
            rows.append(front | named | dict(zip(("auc", "low", "high"), found, strict=True)) | back)
    return pd.DataFrame(rows).assign(interval=BOOTSTRAP)


def _split(
    texts: pd.DataFrame, positive: str, negative: str, generator: np.random.Generator, held_out: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    require_columns(texts, ("prompt_id", "source", "text"))
    if not 0 < held_out < 1:
        raise SpecError(f"held_out must lie between 0 and 1, got {held_out}")
    for source in (positive, negative):
        if source not in set(texts["source"]):
            raise unknown_name("source", source, set(texts["source"]))
    if positive == negative:
        raise SpecError(f"positive and negative are both '{positive}'; name two sources")
    part = texts[texts["source"].isin([positive, negative])].sort_values(
        ["prompt_id", "source"], kind="stable"
    )
    ids = np.array(sorted(set(part["prompt_id"].unique())))
    chosen = ids[generator.permutation(len(ids))[: round(held_out * len(ids))]]
    is_test = part["prompt_id"].isin(chosen)
    for name, side in (("fit on", part[~is_test]), ("hold out", part[is_test])):
        if side["source"].nunique() < 2:
            raise DataError(
                f"{len(ids)} prompts leave nothing of '{positive}' or of '{negative}' to {name}; "
                "give more prompts, or the same ones to both sources"
            )
    return part[~is_test], part[is_test]


def _statistics(
    name: str, scores: NDArray, flags: NDArray, lengths: NDArray
) -> dict[str, Callable[[NDArray], NDArray]]:
    """AUCs as functions of weights (R, M), by adjustment."""
    found: dict[str, Callable[[NDArray], NDArray]] = {"none": partial(_auc, scores, flags)}
    if name in ("words", "surface"):
        curve = np.vander(lengths - lengths.mean(), 4)
        rest = scores - curve @ np.linalg.lstsq(curve, scores, rcond=None)[0]
        found["length residualised"] = partial(_auc, rest, flags)
    if name in ("words", "surface", "length"):
        edges = np.quantile(lengths, np.linspace(0, 1, LENGTH_BINS + 1)[1:-1])
        found["length matched"] = partial(stratified_auc, scores, flags, np.digitize(lengths, edges))
    return found


def _auc(scores: NDArray, flags: NDArray, weights: NDArray) -> NDArray:
    return weighted_auc(scores, positive=flags, weights=weights)


def stratified_auc(scores: NDArray, flags: NDArray, strata: NDArray, weights: NDArray) -> NDArray:
    """AUC over pairs within a stratum, each pair weighing alike; NaN without any."""
    parts = [
        mann_whitney(scores[here], positive=flags[here], weights=weights[..., here])
        for here in (strata == stratum for stratum in np.unique(strata))
    ]
    wins, pairs = (sum(side) for side in zip(*parts, strict=True))
    return np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1), np.nan)


def top_words(
    texts: pd.DataFrame, *, positive: str, negative: str, k: int = 15, l2: float = 1.0
) -> pd.DataFrame:
    """Return the k words that speak most for each source, by weight in a bag of words fitted on all texts.

    Columns word, leans_to, weight (towards `leans_to`, in nats at unit count share), share_positive,
    share_negative (shares of texts with the word). Words are untrusted strings: show them with
    figures.tables.show_texts.
    """
    require_columns(texts, ("source", "text"))
    part = texts[texts["source"].isin([positive, negative])]
    flags = (part["source"] == positive).to_numpy()
    if flags.all() or not flags.any():
        raise DataError(f"top_words needs texts of both '{positive}' and '{negative}'")
    lists = [tokens(text) for text in part["text"]]
    vocabulary = _vocabulary(lists)
    matrix = _counts(vocabulary, lists)
    weights = fit_logistic(matrix, flags, l2=l2).weights
    present = sparse.csr_array(matrix > 0).astype(float)
    shares = [present[np.flatnonzero(rows)].sum(axis=0) / rows.sum() for rows in (flags, ~flags)]
    table = pd.DataFrame(
        {"word": vocabulary, "weight": weights, "share_positive": shares[0], "share_negative": shares[1]}
    )
    table.insert(1, "leans_to", np.where(table["weight"] > 0, positive, negative))
    table["weight"] = table["weight"].abs()
    table = table.sort_values(["leans_to", "weight", "word"], ascending=[True, False, True])
    return table.groupby("leans_to", sort=True).head(k).reset_index(drop=True)
