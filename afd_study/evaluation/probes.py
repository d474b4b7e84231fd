"""What a reward model has learned, by five probes that need no look at its weights.

- `reward_regression`: its reward, regressed on features of the text.
- `rank_correlations_given`: its ranking beside the judge's, without what length and style explain.
- `residualised`: the remedy, a reward from which what length explains is subtracted.
- `conditional_auc`: how well it tells its own two sources apart where length and style are alike.
- `calibration`: its logit beside the true log ratio, where that can be computed.

All but the last work on texts without a grammar too. A sixth probe, edits of texts, is in
`counterfactual_edits.py`.

A `features` table has prompt_id, source, draw and a numeric column for each feature. Regression, ranks and
remedies are taken within prompts, since that is what picking the best of n can use; AUCs and calibration go
over all prompts, as the discriminators' own training did.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from afd_study.errors import DataError, unknown_name
from afd_study.evaluation.pools import ROW, finite
from afd_study.evaluation.ranking import stratified_auc, weighted_auc
from afd_study.evaluation.statistics import BOOTSTRAP, bootstrap_statistic, require_columns
from afd_study.evaluation.text_features import LENGTHS, SURFACE, length_bins

STRATA: dict[str, tuple[str, ...]] = {
    "none": (),
    "length": ("length",),
    "style": ("style",),
    "length and style": ("length", "style"),
}
"""What is alike in the pairs of texts over which an AUC is taken: name -> features."""


def text_features(texts: pd.DataFrame, *, style: Sequence[str] = ()) -> pd.DataFrame:
    """Return ROW, length (log of 1 + words), and style.

    Style is 1 for a text that begins with one of the given openers. Without any, it is the surface features
    (text_features.SURFACE), a column each.
    """
    require_columns(texts, (*ROW, "text"))
    table = texts[list(ROW)].assign(length=texts["text"].map(LENGTHS["words"]))
    if style:
        return table.assign(style=texts["text"].str.startswith(tuple(style)).astype(float))
    return table.assign(**{name: texts["text"].map(feature) for name, feature in SURFACE.items()})


def reward_regression(
    scores: pd.DataFrame, features: pd.DataFrame, *, task: str, seed: int, source: str = "pi_sft"
) -> pd.DataFrame:
    """Return standardised coefficients of each reward on all features together, and the share explained.

    Columns task, seed, method, feature, value. Reward and features are centred within prompts and divided by
    their pooled spread there; a feature that does not vary has NaN, collinear ones share the smallest answer.
    A row with feature "R2" is the share of the reward's variance within prompts that all of them explain.
    """
    table, names = _joined(scores, features, source)
    centred = _within(table, [*names, "reward"], by=["scorer", "prompt_id"])
    rows = []
    for scorer, part in centred.groupby("scorer", sort=True):
        spread = part[[*names, "reward"]].std(ddof=0)
        varying = [name for name in names if spread[name] > 1e-12]
        if not spread["reward"] > 0:
            continue  # a scorer that ties every draw has nothing to explain
        x, y = (part[varying] / spread[varying]).to_numpy(), (part["reward"] / spread["reward"]).to_numpy()
        weights = np.linalg.lstsq(x, y, rcond=None)[0] if varying else np.empty(0)
        values = dict.fromkeys(names, np.nan) | dict(zip(varying, weights, strict=True))
        values["R2"] = 1 - float(((y - x @ weights) ** 2).mean())
        rows += [(task, seed, scorer, name, value) for name, value in values.items()]
    return pd.DataFrame(rows, columns=["task", "seed", "method", "feature", "value"])


def residualised(
    scores: pd.DataFrame, features: pd.DataFrame, *, on: Sequence[str], suffix: str, source: str = "pi_sft"
) -> pd.DataFrame:
    """Return table `scores` of what is left of each reward when features are taken out, scorers renamed.

    The remedy that needs no labels: within prompts, a regression on a cubic in each feature of `on` (fitted
    over all prompts of `source` together), whose prediction is subtracted.
    """
    table, _ = _joined(scores, features, source, on)
    powers = {f"{name}^{k}": _standard(table[name]) ** k for name in on for k in (1, 2, 3)}
    centred = _within(table.assign(**powers), [*powers, "reward"], by=["scorer", "prompt_id"])
    frames = []
    for scorer, part in centred.groupby("scorer", sort=True):
        x, y = part[list(powers)].to_numpy(), part["reward"].to_numpy()
        rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        frames.append(part[list(ROW)].assign(scorer=f"{scorer}{suffix}", reward=rest))
    return pd.concat(frames, ignore_index=True)


def rank_correlations_given(
    scores: pd.DataFrame,
    features: pd.DataFrame,
    *,
    task: str,
    seed: int,
    against: str = "judge",
    given: Sequence[str] = (),
    source: str = "pi_sft",
) -> pd.DataFrame:
    """Return each scorer's partial rank correlation with the scorer `against`, within prompts.

    Columns task, seed, method, prompt_id, value. Spearman's, of what is left of both sides' ranks within a
    prompt after regression on the ranks of the features `given` (none: the plain correlation). NaN where a
    side, or what is left of it, does not vary.
    """
    table, _ = _joined(scores, features, source, given)
    wide = table.pivot(index=["prompt_id", "draw"], columns="scorer", values="reward").sort_index()
    if against not in wide.columns:
        raise unknown_name("scorer", against, wide.columns)
    measured_texts = (
        table.drop_duplicates(["prompt_id", "draw"]).set_index(["prompt_id", "draw"]).sort_index()
    )
    rows = []
    for prompt, part in wide.groupby(level="prompt_id", sort=True):
        ranks = stats.rankdata(part.to_numpy(), axis=0)
        conditions = stats.rankdata(measured_texts.loc[part.index, list(given)].to_numpy(), axis=0)
        rest = _residuals(ranks, conditions)
        target = rest[:, list(part.columns).index(against)]
        for place, scorer in enumerate(part.columns):
            if scorer != against:
                rows.append((task, seed, scorer, prompt, _correlation(rest[:, place], target)))
    return pd.DataFrame(rows, columns=["task", "seed", "method", "prompt_id", "value"])


def conditional_auc(
    scores: pd.DataFrame,
    features: pd.DataFrame,
    *,
    scorer: str,
    positive: str,
    negative: str,
    generator: np.random.Generator,
    within: Sequence[str] = tuple(STRATA),
    resamples: int = 300,
) -> pd.DataFrame:
    """Return with what AUC a discriminator tells its two sources apart, over pairs alike in some features.

    Columns scorer, positive, negative, within, auc, low, high, interval (bootstrap over prompts), n_prompts.
    Lengths are alike within one of 20 bins, styles where they are equal.
    """
    table = finite(scores)
    if scorer not in set(table["scorer"].unique()):
        raise unknown_name("scorer", scorer, set(table["scorer"].unique()))
    part = table[(table["scorer"] == scorer) & table["source"].isin([positive, negative])]
    part = part.merge(features, on=list(ROW), validate="one_to_one")
    flags, rewards = (part["source"] == positive).to_numpy(), part["reward"].to_numpy(dtype=float)
    if flags.all() or not flags.any():
        raise DataError(f"'{scorer}' has no scores of one of '{positive}' and '{negative}' with features")
    rows = []
    for name in within:
        if name not in STRATA:
            raise unknown_name("stratum", name, STRATA)
        strata = _strata(part, STRATA[name]) if STRATA[name] else None
        statistic = _auc_within(rewards, flags, strata)
        estimate = bootstrap_statistic(statistic, part["prompt_id"], generator=generator, resamples=resamples)
        rows.append((scorer, positive, negative, name, *estimate, BOOTSTRAP, part["prompt_id"].nunique()))
    columns = ["scorer", "positive", "negative", "within", "auc", "low", "high", "interval", "n_prompts"]
    return pd.DataFrame(rows, columns=columns)


def calibration(
    scores: pd.DataFrame, truth: pd.DataFrame, *, scorer: str, task: str, seed: int, source: str = "pi_sft"
) -> pd.DataFrame:
    """Compare a discriminator's logit with the true log ratio: columns task, seed, method, metric, value.

    `truth`: prompt_id, source, draw, log_ratio (nats). Metrics: slope and intercept of the regression of the
    truth on the logit (1 and 0 where calibrated), bias (mean of logit - truth, nats), rmse (nats), and
    rank_correlation (Spearman within prompts, averaged).
    """
    both = _with_truth(scores, truth, scorer, source)
    logit, exact = both["reward"].to_numpy(dtype=float), both["log_ratio"].to_numpy(dtype=float)
    slope, intercept = np.nan, np.nan
    if logit.std() > 0:
        slope, intercept = np.polyfit(logit, exact, 1)
    correlations = [
        _correlation(stats.rankdata(part["reward"]), stats.rankdata(part["log_ratio"]))
        for _, part in both.groupby("prompt_id", sort=True)
    ]
    metrics = {
        "slope": slope,
        "intercept": intercept,
        "bias": float((logit - exact).mean()),
        "rmse": float(np.sqrt(((logit - exact) ** 2).mean())),
        "rank_correlation": float(np.nanmean(correlations)) if not np.isnan(correlations).all() else np.nan,
    }
    rows = [(task, seed, scorer, metric, value) for metric, value in metrics.items()]
    return pd.DataFrame(rows, columns=["task", "seed", "method", "metric", "value"])


def calibration_curve(
    scores: pd.DataFrame, truth: pd.DataFrame, *, scorer: str, source: str = "pi_sft", bins: int = 12
) -> pd.DataFrame:
    """Return the mean logit and the mean true log ratio (nats) in bins of equally many samples.

    Columns method, bin, logit, log_ratio, n.
    """
    both = _with_truth(scores, truth, scorer, source)
    place = pd.qcut(both["reward"].rank(method="first"), bins, labels=False)
    means = both.groupby(place)[["reward", "log_ratio"]].mean().rename(columns={"reward": "logit"})
    means = means.assign(n=both.groupby(place).size(), method=scorer).rename_axis("bin").reset_index()
    return means[["method", "bin", "logit", "log_ratio", "n"]]


def _with_truth(scores: pd.DataFrame, truth: pd.DataFrame, scorer: str, source: str) -> pd.DataFrame:
    require_columns(truth, (*ROW, "log_ratio"))
    part = finite(scores)
    part = part[(part["scorer"] == scorer) & (part["source"] == source)]
    if part.empty:
        raise unknown_name("scorer", scorer, set(scores.loc[scores["source"] == source, "scorer"]))
    both = part.merge(truth[[*ROW, "log_ratio"]], on=list(ROW), validate="one_to_one")
    if len(both) < len(part):
        raise DataError(
            f"{len(part) - len(both)} samples of '{source}' have no true log ratio; give all of them"
        )
    return both


def _joined(
    scores: pd.DataFrame, features: pd.DataFrame, source: str, names: Sequence[str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Return the scores of a source with their texts' features, and the features' names."""
    require_columns(features, ROW)
    columns = [name for name in features.columns if name not in ROW] if names is None else list(names)
    for name in columns:
        if name not in features.columns:
            raise unknown_name("feature", name, set(features.columns) - set(ROW))
    table = finite(scores)
    if source not in set(table["source"].unique()):
        raise unknown_name("source", source, set(table["source"].unique()))
    part = table[table["source"] == source]
    both = part.merge(features[[*ROW, *columns]], on=list(ROW), validate="many_to_one")
    if len(both) < len(part) or not np.isfinite(both[columns].to_numpy(dtype=float)).all():
        raise DataError(f"samples of '{source}' lack finite features {columns}; measure all of their texts")
    return both, columns


def _within(table: pd.DataFrame, columns: list[str], *, by: list[str]) -> pd.DataFrame:
    """Centre columns within groups."""
    return table.assign(**(table[columns] - table.groupby(by)[columns].transform("mean")))


def _standard(column: pd.Series) -> pd.Series:
    spread = column.std(ddof=0)
    return (column - column.mean()) / (spread if spread > 0 else 1.0)


def _residuals(ranks: NDArray, conditions: NDArray) -> NDArray:
    """Return the residuals of the columns of `ranks` (N, K), regressed on those of `conditions` (N, F)."""
    x = np.column_stack([np.ones(len(ranks)), conditions])
    return ranks - x @ np.linalg.lstsq(x, ranks, rcond=None)[0]


def _correlation(a: NDArray, b: NDArray) -> float:
    a, b = a - a.mean(), b - b.mean()
    spread = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / spread) if spread > 1e-9 else float("nan")


def _strata(part: pd.DataFrame, names: tuple[str, ...]) -> NDArray[np.integer]:
    """Number the rows by what must be alike: length by its bin, every other feature by its value."""
    features = [part[name].to_numpy(dtype=float) for name in names]
    keys = [
        length_bins(values) if name == "length" else values
        for name, values in zip(names, features, strict=True)
    ]
    return pd.DataFrame(dict(enumerate(keys))).groupby(list(range(len(keys)))).ngroup().to_numpy()


def _auc_within(
    rewards: NDArray, flags: NDArray, strata: NDArray | None
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the AUC as a function of weights, over all pairs or over those within a stratum."""
    if strata is None:
        return lambda weights: weighted_auc(rewards, positive=flags, weights=weights)
    return lambda weights: stratified_auc(rewards, positive=flags, strata=strata, weights=weights)
