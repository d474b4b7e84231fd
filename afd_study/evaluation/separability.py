"""How far two sets of texts are told apart, and by what, where no grammar says what the texts mean.

A reward model trained to tell two sources apart learns whatever tells them apart most cheaply. Here that is
measured with readers so simple that one knows what they read: length, surface features, the first word, or a
bag of words. Each reader is a logistic regression (scikit-learn), fitted on some prompts and tried on others.

scikit-learn is imported where a reader is made: that takes half a second, and pages from frozen tables, which
import this module, make none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from afd_study.errors import DataError, SpecError, unknown_name
from afd_study.evaluation.ranking import stratified_auc, weighted_auc
from afd_study.evaluation.statistics import BOOTSTRAP, bootstrap_statistic, require_columns
from afd_study.evaluation.text_features import LENGTHS, SURFACE, Feature, length_bins, tokens, words

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

MAX_WORDS = 2000
TOLERANCE = 1e-6  # the largest slope of the mean log loss at which the fit stops


def _measured(features: Mapping[str, Feature]) -> "Pipeline":
    """Encode texts as features, standardised by their mean and spread over the training texts."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    def measure(texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([[feature(text) for feature in features.values()] for text in texts], dtype=float)

    return make_pipeline(FunctionTransformer(measure), StandardScaler())


def _bag(split: Callable[[str], list[str]]) -> "Pipeline":
    """Encode texts as log(1 + count) of the words that occur in two training texts or more, at unit length.

    Of more than MAX_WORDS such words the most frequent ones are kept.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, Normalizer

    counts = CountVectorizer(analyzer=split, min_df=2, max_features=MAX_WORDS)
    return make_pipeline(counts, FunctionTransformer(_log1p, accept_sparse=True), Normalizer())


def _log1p(counts: sparse.csr_array) -> sparse.csr_array:
    return counts.log1p()


def _first_word(text: str) -> list[str]:
    return words(text)[:1]


FEATURES: "Mapping[str, Callable[[], Pipeline]]" = {
    "length": partial(_measured, LENGTHS),
    "surface": partial(_measured, SURFACE),
    "first word": partial(_bag, _first_word),
    "words": partial(_bag, tokens),
} | {name: partial(_measured, {name: feature}) for name, feature in SURFACE.items()}
"""Feature sets by name; each makes an encoder that is yet to be fitted to training texts."""


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

    `texts` has prompt_id, source, text (a `samples` table will do). Each reader minimises the summed log loss
    (nats) + l2 / 2 |weights|^2. Returns one row for each feature set and adjustment: positive, negative,
    features, adjustment, auc, low, high, n_prompts, n_positive, n_negative, interval. Adjustments: "none";
    "length residualised" (the score without its regression on a cubic in log words, which is fitted on the
    held-out scores and sees no labels) and "length matched" (only pairs within one of 20 length bins count;
    "length" itself is matched too, as the control that shows how much length is left within a bin).

    Raises SpecError for an unknown feature set or source and for an l2 or held_out out of range, DataError
    for missing columns and where a side has no texts on either side of the split.
    """
    for name in features:
        if name not in FEATURES:
            raise unknown_name("feature set", name, FEATURES)
    train, test = split_by_prompt(
        texts, positive=positive, negative=negative, generator=generator, held_out=held_out
    )
    flags = (test["source"] == positive).to_numpy()
    lengths = np.array([LENGTHS["words"](text) for text in test["text"]])
    front = {"positive": positive, "negative": negative}
    back = {"n_prompts": test["prompt_id"].nunique(), "n_positive": flags.sum(), "n_negative": (~flags).sum()}
    rows = []
    for name in features:
        scores = _scores(name, train, test, positive, l2)
        for adjustment, statistic in _statistics(name, scores, flags, lengths):
            interval = bootstrap_statistic(
                statistic, test["prompt_id"], generator=generator, level=level, resamples=resamples
            )
            named = {"features": name, "adjustment": adjustment}
            rows.append(front | named | dict(zip(("auc", "low", "high"), interval, strict=True)) | back)
    return pd.DataFrame(rows).assign(interval=BOOTSTRAP)


def split_by_prompt(
    texts: pd.DataFrame, *, positive: str, negative: str, generator: np.random.Generator, held_out: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the texts of both sources in two parts that share no prompt: for the fit, and held out.

    The share `held_out` of the prompts is drawn by `generator`; the order of rows does not matter. Raises
    SpecError for an unknown source and a share outside of (0, 1), DataError for missing columns and where one
    part lacks a source.
    """
    require_columns(texts, ("prompt_id", "source", "text"))
    if not 0 < held_out < 1:
        raise SpecError(f"held_out must lie between 0 and 1, got {held_out}")
    for source in (positive, negative):
        if source not in set(texts["source"]):
            raise unknown_name("source", source, set(texts["source"]))
    if positive == negative:
        raise SpecError(f"positive and negative are both '{positive}'; name two sources")
    order = ["prompt_id", "source"]
    part = texts[texts["source"].isin([positive, negative])].sort_values(order, kind="stable")
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


def _regression(l2: float) -> "LogisticRegression":
    """Return a regression that will minimise the summed log loss + l2 / 2 |weights|^2, intercept free."""
    if not l2 > 0:
        raise SpecError(f"l2 must be positive, got {l2}; without it separable texts have no finite optimum")
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1 / l2, tol=TOLERANCE, max_iter=1000)


def _scores(
    name: str, train: pd.DataFrame, test: pd.DataFrame, positive: str, l2: float
) -> NDArray[np.float64]:
    """Return the logits (M,) that the reader of one feature set gives to the texts of `test`."""
    encoder, regression = FEATURES[name](), _regression(l2)
    try:
        matrix = encoder.fit_transform(list(train["text"]))
    except ValueError:  # CountVectorizer: no word occurs in two texts, so there is nothing to tell them by
        return np.zeros(len(test))
    regression.fit(matrix, train["source"] == positive)
    return regression.decision_function(encoder.transform(list(test["text"])))


Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _statistics(
    name: str, scores: NDArray[np.float64], flags: NDArray[np.bool_], lengths: NDArray[np.float64]
) -> Iterator[tuple[str, Statistic]]:
    """Yield each adjustment with its AUC as a function of weights, (R, M) to (R,)."""
    yield "none", _auc(scores, flags)
    if name in ("words", "surface"):
        curve = np.vander(lengths - lengths.mean(), 4)
        rest = scores - curve @ np.linalg.lstsq(curve, scores, rcond=None)[0]
        yield "length residualised", _auc(rest, flags)
    if name in ("words", "surface", "length"):
        bins = length_bins(lengths)
        yield (
            "length matched",
            lambda weights: stratified_auc(scores, positive=flags, strata=bins, weights=weights),
        )


def _auc(scores: NDArray[np.float64], flags: NDArray[np.bool_]) -> Statistic:
    return lambda weights: weighted_auc(scores, positive=flags, weights=weights)


def top_words(
    texts: pd.DataFrame, *, positive: str, negative: str, k: int = 15, l2: float = 1.0
) -> pd.DataFrame:
    """Return the k words that speak most for each source, by weight in a bag of words fitted on all texts.

    Columns word, leans_to, weight (towards `leans_to`, in nats at unit count share), share_positive,
    share_negative (shares of texts with the word). Words are untrusted strings: show them with
    figures.tables.show_texts. Raises DataError for missing columns, where a source has no texts, and where no
    word occurs in two texts.
    """
    require_columns(texts, ("source", "text"))
    part = texts[texts["source"].isin([positive, negative])]
    flags = (part["source"] == positive).to_numpy()
    if flags.all() or not flags.any():
        raise DataError(f"top_words needs texts of both '{positive}' and '{negative}'")
    encoder = _bag(tokens)
    try:
        matrix = encoder.fit_transform(list(part["text"]))
    except ValueError as fault:  # CountVectorizer: its vocabulary is empty
        raise DataError("top_words needs a word that occurs in two texts or more; give more texts") from fault
    weights = _regression(l2).fit(matrix, flags).coef_[0]
    shares = [matrix[rows].getnnz(axis=0) / rows.sum() for rows in (flags, ~flags)]
    vocabulary = encoder[0].get_feature_names_out()
    table = pd.DataFrame(
        {"word": vocabulary, "weight": weights, "share_positive": shares[0], "share_negative": shares[1]}
    )
    table.insert(1, "leans_to", np.where(table["weight"] > 0, positive, negative))
    table["weight"] = table["weight"].abs()
    table = table.sort_values(["leans_to", "weight", "word"], ascending=[True, False, True])
    return table.groupby("leans_to", sort=True).head(k).reset_index(drop=True)
