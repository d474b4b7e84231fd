"""What a scorer knows: how it ranks responses beside the judge, and how well it tells two sources apart.

The two belong together: a discriminator that is right every time may have learned the writers' style, and
rank responses no better than chance.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from afd_study.errors import DataError, unknown_name
from afd_study.evaluation.pools import Pool, finite, pools
from afd_study.evaluation.ranking import pooled_rank_correlation, rank_correlation, weighted_auc
from afd_study.evaluation.statistics import BOOTSTRAP, bootstrap_statistic, interval


def rank_correlations(
    scores: pd.DataFrame,
    *,
    task: str,
    seed: int,
    judge: str,
    source: str = "pi_sft",
    scorers: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Return each scorer's rank correlation (Spearman) with the judge, within each prompt.

    Columns task, seed, method, judge, prompt_id, value; NaN where scorer or judge is constant on a prompt's
    draws (always so for "random"). statistics.interval with by=("task", "method", "judge") gives means with
    intervals over seeds or prompts, NaNs left out.
    """
    frames = []
    for pool in pools(scores, source=source, judge=judge, scorers=scorers):
        for method, rewards in sorted(pool.rewards.items()):
            value = np.atleast_1d(rank_correlation(pool.judge, rewards))
            constant = {"task": task, "seed": seed, "method": method, "judge": judge}
            frames.append(pd.DataFrame({**constant, "prompt_id": pool.prompt_ids, "value": value}))
    return pd.concat(frames, ignore_index=True)


def diagnostics(
    scores: pd.DataFrame,
    *,
    task: str,
    seed: int,
    judge: str,
    generator: np.random.Generator,
    source: str = "pi_sft",
    scorers: Iterable[str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return one row a scorer, for one seed: how it ranks `source`'s draws beside the judge, and its spread.

    Columns task, seed, method, judge; rank_correlation (within prompt, averaged) with low, high (bootstrap
    over prompts), interval, n_prompts and n_undefined (prompts where it is undefined); pooled (over all
    draws together); spread_within and spread_between (standard deviations of the reward within a prompt,
    root mean square, and of prompt means; in the scorer's own units). Correlations are NaN for "random",
    which ties every draw.
    """
    arrays = list(pools(scores, source=source, judge=judge, scorers=scorers))
    each = rank_correlations(scores, task=task, seed=seed, judge=judge, source=source, scorers=scorers)
    by = ("task", "seed", "method", "judge")
    table = interval(each, generator=generator, by=by, level=level)
    table = table.rename(columns={"mean": "rank_correlation"})
    undefined = each["value"].isna().groupby([each[name] for name in by]).sum()
    spreads = pd.DataFrame([_spread(arrays, method) for method in table["method"]])
    table["n_undefined"] = undefined.to_numpy()
    return pd.concat([table.drop(columns="n_seeds"), spreads], axis=1)


def _spread(arrays: list[Pool], method: str) -> dict[str, float]:
    rewards = [pool.rewards[method] for pool in arrays]
    within = np.concatenate([each.var(axis=1) for each in rewards])
    between = np.concatenate([each.mean(axis=1) for each in rewards])
    values = np.concatenate([pool.judge.ravel() for pool in arrays])
    return {
        "pooled": pooled_rank_correlation(values, np.concatenate([each.ravel() for each in rewards])),
        "spread_within": float(np.sqrt(within.mean())),
        "spread_between": float(between.std()),
    }


def discrimination(
    scores: pd.DataFrame,
    *,
    scorer: str,
    positive: str,
    negative: str,
    generator: np.random.Generator,
    threshold: float = 0.0,
    level: float = 0.95,
    resamples: int = 500,
) -> pd.DataFrame:
    """Return one row: how well `scorer` tells source `positive` from source `negative`, prompts resampled.

    Columns scorer, positive, negative; accuracy (both classes weighing alike, reward above `threshold`, a
    tie half) and auc (ties half), each with _low and _high by bootstrap over prompts; interval, n_prompts.
    The threshold 0 is a discriminator's logit at even odds; a reward known up to a constant has an AUC
    only. Use held-out prompts. Raises DataError for a prompt without both sources.
    """
    table = finite(scores)
    if scorer not in set(table["scorer"].unique()):
        raise unknown_name("scorer", scorer, set(table["scorer"].unique()))
    part = table[(table["scorer"] == scorer) & table["source"].isin([positive, negative])]
    for source in (positive, negative):
        if source not in set(part["source"].unique()):
            raise unknown_name("source", source, set(table["source"].unique()))
    lonely = part.groupby("prompt_id")["source"].nunique()
    if (lonely < 2).any():
        raise DataError(
            f"prompt '{lonely.index[lonely < 2][0]}' has no draw of one of '{positive}' and '{negative}'; "
            "give both sources the same prompts"
        )
    rewards = part["reward"].to_numpy(dtype=float)
    flags = (part["source"] == positive).to_numpy()
    right = (np.sign(rewards - threshold) * np.where(flags, 1, -1) + 1) / 2
    row: dict[str, object] = {"scorer": scorer, "positive": positive, "negative": negative}
    for name, statistic in {
        "accuracy": lambda weights: _balanced(right, flags, weights),
        "auc": lambda weights: weighted_auc(rewards, positive=flags, weights=weights),
    }.items():
        estimate = bootstrap_statistic(
            statistic, part["prompt_id"], generator=generator, level=level, resamples=resamples
        )
        row |= {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return pd.DataFrame([row | {"interval": BOOTSTRAP, "n_prompts": part["prompt_id"].nunique()}])


def _balanced(right: np.ndarray, flags: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over both classes of the weighted share that is right: (M,), (M,), (..., M) to (...)."""
    shares = [weights @ (right * side) / (weights @ side.astype(float)) for side in (flags, ~flags)]
    return (shares[0] + shares[1]) / 2
