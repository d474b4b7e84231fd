"""From scores to outcomes: what each selection rule is worth at each n, by the judge, exactly, on one pool.

Best-of-n is computed for every n from the same pool of draws by averaging over all its subsets
(theory.best_of_n): no picks are drawn, so no noise is added. Tables are joined on (prompt_id, source,
draw).
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import DataError, SpecError, unknown_name
from afd_study.evaluation.pools import Pool, finite, pools
from afd_study.evaluation.statistics import CELL, interval
from afd_study.records import TABLES, checked
from afd_study.theory.best_of_n import expected_best, win_rate_in_pool, win_shares

SOURCES = ("pi_init", "pi_sft", "demonstrations")


def best_of_n_curve(
    scores: pd.DataFrame,
    *,
    task: str,
    seed: int,
    judge: str,
    source: str = "pi_sft",
    scorers: Iterable[str] | None = None,
    n_max: int = 50,
    n: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Return table `outcomes`: the judge's expected value of Best-of-n for every scorer, prompt and n.

    n runs over 1 ... n_max, or over the list `n`. "random" and "oracle" are always among the methods. At n
    = 1 every method has the policy's mean. Raises DataError where a prompt has fewer draws than the largest
    n.
    """
    sizes = list(range(1, n_max + 1)) if n is None else list(n)
    frames = []
    for pool in pools(scores, source=source, judge=judge, scorers=scorers):
        _enough_draws(pool, sizes)
        for method, rewards in sorted(pool.rewards.items()):
            value = expected_best(values=pool.judge, scores=rewards, n=sizes).numpy()
            frames.append(
                _long(pool.prompt_ids, sizes, value, task=task, seed=seed, method=method, judge=judge)
            )
    return checked("outcomes", pd.concat(frames, ignore_index=True))


def _enough_draws(pool: Pool, sizes: list[int], spare: int = 0) -> None:
    draws = pool.judge.shape[1] - spare
    if not sizes or min(sizes) < 1:
        raise SpecError(f"n must be whole numbers from 1, at least one of them; got {sizes}")
    if max(sizes) > draws:
        raise DataError(
            f"n = {max(sizes)} is more than the {draws} usable draws of prompt '{pool.prompt_ids[0]}'; "
            "sample more responses a prompt, or ask for a smaller n"
        )


def _long(prompt_ids: NDArray, sizes: list[int], value: NDArray, **constant: object) -> pd.DataFrame:
    """Unfold `value` (P, len(sizes)) into rows; `constant` columns are the same in every row."""
    return pd.DataFrame(
        {
            **constant,
            "n": np.tile(sizes, len(prompt_ids)),
            "prompt_id": np.repeat(prompt_ids, len(sizes)),
            "value": np.asarray(value, dtype=float).ravel(),
        }
    )


def levels(
    scores: pd.DataFrame, *, task: str, seed: int, judge: str, sources: Sequence[str] = SOURCES
) -> pd.DataFrame:
    """Return table `outcomes` at n = 1 with the sources as methods: the judge's mean over each one's draws.

    Sources that the table doesn't hold are left out; SpecError where it holds none of them, or not the
    judge.
    """
    table = finite(scores)
    if judge not in set(table["scorer"].unique()):
        raise unknown_name("judge", judge, set(table["scorer"].unique()))
    part = table[(table["scorer"] == judge) & table["source"].isin(list(sources))]
    if not len(part):
        raise unknown_name("source", list(sources), set(table["source"].unique()))
    part = part.rename(columns={"source": "method", "reward": "value"})
    means = part.groupby(["method", "prompt_id"])["value"].mean().reset_index()
    return checked("outcomes", means.assign(task=task, seed=seed, n=1, judge=judge))


def summarise(
    outcomes: pd.DataFrame, generator: np.random.Generator, *, level: float = 0.95, resamples: int = 2000
) -> pd.DataFrame:
    """Return table `summary`, a row for each (task, method, n, judge, seed), bootstrapped over prompts.

    The further columns `interval` and `n_seeds` (1) say so; for an interval over seeds use
    statistics.interval.
    """
    table = interval(
        checked("outcomes", outcomes),
        generator=generator,
        by=(*CELL, "seed"),
        level=level,
        resamples=resamples,
    )
    return table[[*TABLES["summary"].columns, "interval", "n_seeds"]]


def win_rates(
    scores: pd.DataFrame,
    *,
    task: str,
    seed: int,
    judge: str,
    opponent: str,
    n: Sequence[int] = (1, 16),
    source: str = "pi_sft",
    scorers: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Return table `outcomes` with column `opponent`: how often the judge puts Best-of-n above its draw.

    Exact within a prompt, ties half. Against its own source (Best-of-n with pi_sft over pi_sft) the
    opponent's draw is left out of the pool, so that nothing plays against itself: then n goes up to draws -
    1. Raises DataError where the opponent has no draw for a prompt.
    """
    rivals = {} if opponent == source else _rivals(scores, judge, opponent)
    frames = []
    for pool in pools(scores, source=source, judge=judge, scorers=scorers):
        _enough_draws(pool, list(n), spare=int(opponent == source))
        methods = sorted(pool.rewards)
        rewards = np.stack([pool.rewards[name] for name in methods])
        rates = np.empty((len(methods), len(pool.prompt_ids), len(n)))
        for row, prompt in enumerate(pool.prompt_ids):
            if opponent != source and prompt not in rivals:
                raise DataError(f"'{opponent}' has no draw for prompt '{prompt}', which '{source}' answers")
            rates[:, row] = _wins(pool.judge[row], rewards[:, row], rivals.get(prompt), list(n))
        for method, value in zip(methods, rates, strict=True):
            constant = {"task": task, "seed": seed, "method": method, "judge": judge, "opponent": opponent}
            frames.append(_long(pool.prompt_ids, list(n), value, **constant))
    return checked("outcomes", pd.concat(frames, ignore_index=True))


def _rivals(scores: pd.DataFrame, judge: str, opponent: str) -> dict[object, NDArray[np.float64]]:
    table = finite(scores)
    if opponent not in set(table["source"].unique()):
        raise unknown_name("opponent", opponent, set(table["source"].unique()))
    part = table[(table["source"] == opponent) & (table["scorer"] == judge)]
    return {
        prompt: rows["reward"].to_numpy(dtype=float, copy=True) for prompt, rows in part.groupby("prompt_id")
    }


def _wins(values: NDArray, rewards: NDArray, rivals: NDArray | None, sizes: list[int]) -> NDArray[np.float64]:
    """Win rates of one prompt, (M, n): values (N,), rewards (M, N), rivals (R,) or None = the pool."""
    if rivals is not None:
        shares = win_shares(values=values, opponents=rivals).expand(rewards.shape)
        return expected_best(values=shares, scores=rewards, n=sizes).numpy()
    return win_rate_in_pool(values=values, scores=rewards, n=sizes).numpy()
