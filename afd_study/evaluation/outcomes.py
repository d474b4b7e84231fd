"""From scores to outcomes: what each selection rule is worth at each n, by the judge, exactly, on one pool.

Best-of-n is computed for every n from the same pool of draws by averaging over all its subsets
(theory.best_of_n): no picks are drawn, so no noise is added. Tables are joined on (prompt_id, source,
draw).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import DataError, SpecError, unknown_name
from afd_study.evaluation.statistics import CELL, interval, require_columns
from afd_study.records import TABLES, checked
from afd_study.theory.best_of_n import expected_best, win_shares

SOURCES = ("pi_init", "pi_sft", "demonstrations")
SCORE_COLUMNS = TABLES["scores"].columns


class Pool(NamedTuple):
    """Prompts with equally many draws: `prompt_ids` (P,), `judge` (P, N), and (P, N) rewards a scorer."""

    prompt_ids: NDArray
    judge: NDArray[np.float64]
    rewards: dict[str, NDArray[np.float64]]


def finite(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores as they are, or raise DataError with scorer, prompt and draw of a NaN or infinity."""
    require_columns(scores, SCORE_COLUMNS)
    bad = scores[~np.isfinite(scores["reward"].to_numpy(dtype=float))]
    if len(bad):
        row = bad.iloc[0]
        raise DataError(
            f"scorer '{row.scorer}' gave {row.reward} to draw {row.draw} of prompt '{row.prompt_id}' "
            f"({row.source}), and {len(bad) - 1} more like it; a reward must be finite: mend the scorer"
        )
    return checked("scores", scores)


def pools(
    scores: pd.DataFrame, *, source: str, judge: str, scorers: Iterable[str] | None = None
) -> Iterator[Pool]:
    """Yield the draws of `source` as arrays, one Pool for each number of draws that prompts have, sorted.

    `scorers` None takes all but the judge. Two scorers need none of their own scores and are always there:
    "random" (all draws tie) and "oracle" (the judge itself). Raises DataError where a scorer lacks a draw
    that the judge has (or the reverse), SpecError for an unknown judge, source or scorer.
    """
    table = finite(scores)
    if source not in set(table["source"]):
        raise unknown_name("source", source, set(table["source"]))
    wide = table[table["source"] == source].pivot(
        index=["prompt_id", "draw"], columns="scorer", values="reward"
    )
    if judge not in wide.columns:
        raise unknown_name("judge", judge, wide.columns)
    given = {str(name) for name in wide.columns} - {judge, "random", "oracle"}
    names = (
        sorted(given) if scorers is None else [name for name in scorers if name not in ("random", "oracle")]
    )
    for name in names:
        if name not in wide.columns:
            raise unknown_name("scorer", name, wide.columns)
    wide = wide.sort_index()[[judge, *(name for name in names if name != judge)]]
    _refuse_holes(wide, source)
    sizes = wide.groupby(level="prompt_id", sort=True).size()
    for size in sorted(set(sizes)):
        part = wide[wide.index.get_level_values("prompt_id").isin(sizes.index[sizes == size])]
        yield _pool(part, int(size), judge)


def _refuse_holes(wide: pd.DataFrame, source: str) -> None:
    for name in wide.columns:
        holes = wide.index[wide[name].isna()]
        if len(holes):
            prompt, draw = holes[0]
            raise DataError(
                f"scorer '{name}' has no score for draw {draw} of prompt '{prompt}' ({source}), "
                f"which others have, and {len(holes) - 1} more like it; score all with all"
            )


def _pool(part: pd.DataFrame, size: int, judge: str) -> Pool:
    arrays = {
        str(name): part[name].to_numpy(dtype=float, copy=True).reshape(-1, size) for name in part.columns
    }
    values = arrays.pop(judge)
    arrays |= {"random": np.zeros_like(values), "oracle": values}
    return Pool(part.index.get_level_values("prompt_id").to_numpy()[::size], values, arrays)


def best_of_n_outcomes(
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
    wanted = list(range(1, n_max + 1)) if n is None else list(n)
    frames = []
    for pool in pools(scores, source=source, judge=judge, scorers=scorers):
        _enough_draws(pool, wanted)
        for method, rewards in sorted(pool.rewards.items()):
            value = expected_best(values=pool.judge, scores=rewards, n=wanted).numpy()
            frames.append(
                _long(pool.prompt_ids, wanted, value, task=task, seed=seed, method=method, judge=judge)
            )
    return checked("outcomes", pd.concat(frames, ignore_index=True))


def _enough_draws(pool: Pool, wanted: list[int], spare: int = 0) -> None:
    draws = pool.judge.shape[1] - spare
    if not wanted or min(wanted) < 1:
        raise SpecError(f"n must be whole numbers from 1, at least one of them; got {wanted}")
    if max(wanted) > draws:
        raise DataError(
            f"n = {max(wanted)} is more than the {draws} usable draws of prompt '{pool.prompt_ids[0]}'; "
            "sample more responses a prompt, or ask for a smaller n"
        )


def _long(prompt_ids: NDArray, wanted: list[int], value: NDArray, **constant: object) -> pd.DataFrame:
    """Unfold `value` (P, len(wanted)) into rows; `constant` columns are the same in every row."""
    return pd.DataFrame(
        {
            **constant,
            "n": np.tile(wanted, len(prompt_ids)),
            "prompt_id": np.repeat(prompt_ids, len(wanted)),
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
    if judge not in set(table["scorer"]):
        raise unknown_name("judge", judge, set(table["scorer"]))
    part = table[(table["scorer"] == judge) & table["source"].isin(list(sources))]
    if not len(part):
        raise unknown_name("source", list(sources), set(table["source"]))
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
        won = np.empty((len(methods), len(pool.prompt_ids), len(n)))
        for row, prompt in enumerate(pool.prompt_ids):
            if opponent != source and prompt not in rivals:
                raise DataError(f"'{opponent}' has no draw for prompt '{prompt}', which '{source}' answers")
            won[:, row] = _wins(pool.judge[row], rewards[:, row], rivals.get(prompt), list(n))
        for method, value in zip(methods, won, strict=True):
            constant = {"task": task, "seed": seed, "method": method, "judge": judge, "opponent": opponent}
            frames.append(_long(pool.prompt_ids, list(n), value, **constant))
    return checked("outcomes", pd.concat(frames, ignore_index=True))


def _rivals(scores: pd.DataFrame, judge: str, opponent: str) -> dict[object, NDArray[np.float64]]:
    table = finite(scores)
    if opponent not in set(table["source"]):
        raise unknown_name("opponent", opponent, set(table["source"]))
    part = table[(table["source"] == opponent) & (table["scorer"] == judge)]
    return {
        prompt: rows["reward"].to_numpy(dtype=float, copy=True) for prompt, rows in part.groupby("prompt_id")
    }


def _wins(
    values: NDArray, rewards: NDArray, rivals: NDArray | None, wanted: list[int]
) -> NDArray[np.float64]:
    """Win rates of one prompt, (M, n): values (N,), rewards (M, N), rivals (R,) or None = the pool."""
    if rivals is not None:
        shares = win_shares(values=values, opponents=rivals).expand(rewards.shape)
        return expected_best(values=shares, scores=rewards, n=wanted).numpy()
    size = len(values)
    others = np.nonzero(~np.eye(size, dtype=bool))[1].reshape(size, size - 1)
    shares = (np.sign(values[others] - values[:, None]) + 1) / 2
    every = np.repeat(shares[None], len(rewards), axis=0)
    return expected_best(values=every, scores=rewards[:, others], n=wanted).mean(1).numpy()
