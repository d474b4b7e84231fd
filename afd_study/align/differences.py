"""What tells texts of several sources apart, without a language model and without a word on quality.

For each pair of sources a logistic regression on words and pairs of neighbouring words learns on some
prompts, and is tried on others (cross-fitting; folds are of prompts' openings). Beside it stand length alone,
and the same regression among pairs of texts that are alike in length.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from afd_study.align.dialogues import Dialogue, opening_name, prompt_name
from afd_study.errors import DataError
from afd_study.evaluation.ranking import stratified_auc, weighted_auc
from afd_study.evaluation.statistics import bootstrap_statistic
from afd_study.evaluation.systems.discriminators import folds_of
from afd_study.evaluation.systems.features import bag, gram_counts
from afd_study.evaluation.text_features import LENGTH_BINS, LENGTHS, length_bins, words
from afd_study.settings import Settings
from afd_study.worlds.entries import unit_hash

AUCS = ("auc", "auc_by_length", "auc_without_length")
_OTHER_ENDS = "`"  # of code; all else that ends a sentence is punctuation to Unicode


class Comparing(Settings):
    """How sources are compared.

    `max_texts` of each source count, those whose prompts' openings hash lowest, so that two sources keep the
    same prompts. Where `min_common` openings or more are answered by both sources of a pair, these alone
    count. `l2` / 2 times the squared weights is added to the summed log loss (nats).
    """

    folds: int = Field(5, ge=2)
    l2: float = Field(1.0, gt=0)
    seed: int = Field(0, ge=0)
    resamples: int = Field(500, ge=1)
    level: float = Field(0.95, gt=0, lt=1)
    max_texts: int = Field(2000, ge=1)
    min_common: int = Field(20, ge=2)


USUAL = Comparing()


def texts_table(
    sources: Mapping[str, Sequence[Dialogue]], *, max_texts: int = USUAL.max_texts, seed: int = USUAL.seed
) -> pd.DataFrame:
    """Return the responses of each source that count: source, opening, prompt, text, cut (True, False, None).

    `opening` and `prompt` are names of the prompt's opening and of the whole prompt.
    """
    parts = []
    for name, dialogues in sources.items():
        rows = [
            (name, opening_name(each.prompt), prompt_name(each.prompt), each.response, each.cut)
            for each in dialogues
        ]
        part = pd.DataFrame(rows, columns=["source", "opening", "prompt", "text", "cut"])
        lots = part["opening"].map(lambda text: unit_hash(text, seed=seed, use="texts"))
        parts.append(part.loc[np.sort(np.argsort(lots.to_numpy(), kind="stable")[:max_texts])])
    return pd.concat(parts, ignore_index=True)


def describe_sources(texts: pd.DataFrame) -> pd.DataFrame:
    """Return a row a source: texts, prompts, medians of words and characters, and three shares of its texts.

    `unfinished` end without punctuation, `cut` were cut by whoever wrote them (NaN where no text says), and
    `repeated` stand there before, to the same prompt. `texts` is `texts_table`.
    """
    rows = []
    for name, part in texts.groupby("source", sort=False):
        known = part["cut"].dropna()
        rows.append(
            {
                "source": name,
                "texts": len(part),
                "prompts": part["prompt"].nunique(),
                "words": float(part["text"].map(lambda text: len(words(text))).median()),
                "characters": float(part["text"].map(len).median()),
                "unfinished": float(1 - part["text"].map(finished).mean()),
                "cut": float(known.astype(bool).mean()) if len(known) else np.nan,
                "repeated": float(part.duplicated(["prompt", "text"]).mean()),
            }
        )
    return pd.DataFrame(rows)


def finished(text: str) -> bool:
    """Tell whether a text ends with punctuation, as a whole answer mostly does.

    >>> finished("It is blue."), finished("It is bl")
    (True, False)
    """
    last = text.rstrip()[-1:]
    return last != "" and (unicodedata.category(last).startswith("P") or last in _OTHER_ENDS)


def compare_pairs(texts: pd.DataFrame, comparing: Comparing = USUAL) -> pd.DataFrame:
    """Return a row for each pair of sources in `texts` (`texts_table`): the later is to score high.

    Columns: low and high (the sources), n_low, n_high, openings, common (whether only openings count that
    both answer); auc, auc_by_length, auc_without_length (P(a text of `high` scores above one of `low`), ties
    half; of the second a text's score is its number of words, and the third counts pairs alike in length
    alone), each with _low and _high, its interval by bootstrap over openings; equal_low and equal_high (the
    shares of a source's texts that stand word for word in the other, to the same prompt). An AUC is NaN where
    there is no pair to take it over.

    Raises DataError for fewer than two sources, too few openings, and where no word occurs twice.
    """
    names = list(texts["source"].unique())
    if len(names) < 2:
        raise DataError(f"two sources or more are compared, and there is {len(names)}")
    return pd.DataFrame([_pair(texts, *pair, comparing) for pair in combinations(names, 2)])


def _pair(texts: pd.DataFrame, low: str, high: str, comparing: Comparing) -> dict[str, object]:
    both = texts[texts["source"].isin([low, high])]
    shared = both.groupby("opening")["source"].transform("nunique") == 2
    common = both.loc[shared, "opening"].nunique() >= comparing.min_common
    part = both[shared] if common else both
    for side, openings in part.groupby("source", sort=False)["opening"].nunique().items():
        if openings < (least := 2 * comparing.folds):
            raise DataError(
                f"{low} and {high} can't be compared: {side} answers {openings} prompts, counted by their "
                f"openings, and at least {least} are needed. Give more of them"
            )
    is_high = (part["source"] == high).to_numpy()
    row: dict[str, object] = {
        **{"low": low, "high": high, "n_low": int((~is_high).sum()), "n_high": int(is_high.sum())},
        **{"openings": part["opening"].nunique(), "common": bool(common)},
    }
    try:
        row |= _aucs(part, is_high, comparing)
    except DataError as fault:
        raise DataError(f"{low} and {high} can't be compared: {fault}. Give more texts") from fault
    for name, side, other in (("equal_low", low, high), ("equal_high", high, low)):
        there = pd.MultiIndex.from_frame(both.loc[both["source"] == other, ["prompt", "text"]])
        own = pd.MultiIndex.from_frame(both.loc[both["source"] == side, ["prompt", "text"]])
        row[name] = float(own.isin(there).mean())
    return row


def _aucs(part: pd.DataFrame, is_high: NDArray[np.bool_], comparing: Comparing) -> dict[str, float]:
    """Return the three AUCs of a pair with their intervals."""
    openings = part["opening"].tolist()
    fold = folds_of(openings, folds=comparing.folds, seed=comparing.seed)
    scores = cross_fitted(part["text"].tolist(), is_high, fold, l2=comparing.l2)
    lengths = part["text"].map(LENGTHS["words"]).to_numpy(dtype=float)
    alike = fold * LENGTH_BINS + length_bins(lengths)  # each fold has a regression of its own
    statistics = {
        "auc": lambda w: stratified_auc(scores, positive=is_high, strata=fold, weights=w),
        "auc_by_length": lambda w: weighted_auc(lengths, positive=is_high, weights=w),
        "auc_without_length": lambda w: stratified_auc(scores, positive=is_high, strata=alike, weights=w),
    }
    row: dict[str, float] = {}
    for name, statistic in statistics.items():
        estimate = bootstrap_statistic(
            statistic,
            openings,
            generator=np.random.default_rng(comparing.seed),
            level=comparing.level,
            resamples=comparing.resamples,
        )
        row |= {f"{name}{end}": float(x) for end, x in zip(("", "_low", "_high"), estimate, strict=True)}
    return row


def cross_fitted(
    texts: Sequence[str], positive: NDArray[np.bool_], fold: NDArray[np.int64], *, l2: float
) -> NDArray[np.float64]:
    """Return the logit (M,) of each text by a regression that was fitted on the other folds.

    The features are a bag of words and pairs of words (evaluation/systems/features.py). Logits of two folds
    come from two regressions, and are not to be compared. Raises DataError where the other folds hold texts
    of one side alone, and where no word occurs in two texts.
    """
    from sklearn.linear_model import LogisticRegression

    read, logits = bag(gram_counts(texts)), np.zeros(len(texts))
    for number in np.unique(fold):
        fit_on, held_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if len(set(positive[fit_on])) < 2:
            raise DataError("a fold leaves texts of one source alone to learn from")
        seen, asked = read(fit_on=fit_on, of=[fit_on, held_out])
        if seen.shape[1]:
            regression = LogisticRegression(C=1 / l2, tol=1e-5, max_iter=1000)
            logits[held_out] = regression.fit(seen, positive[fit_on]).decision_function(asked)
    return logits
