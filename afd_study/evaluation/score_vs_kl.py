"""How far from pi_SFT a better score takes the policy: the judge's points against nats, method by method.

Best-of-n, responses weighted by an extrapolated law, and trained policies all leave pi_SFT; what they reach
is compared at equal KL(policy || pi_SFT). Table `drift` has a row for each prompt and point of a way: task,
seed, method, at (n, or the strength), prompt_id, judge (points), proxy (the reward that is optimised; nats),
kl (nats a response) and ess (share of the pool that carries the weights; 1 where none are used).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.evaluation.coverage import DEMONSTRATIONS
from afd_study.evaluation.pools import Pool, pools
from afd_study.evaluation.statistics import require_columns
from afd_study.theory.best_of_n import expected_best, kl_of_pool

COLUMNS = ("task", "seed", "method", "at", "prompt_id", "judge", "proxy", "kl", "ess")
ROUNDING = 1e-9  # nats: the KL of a way's first point is 0 but for rounding
WIDEST = 4  # a pool gives the KL of Best-of-n for n up to a fourth of its draws (best_of_n.kl_of_pool)


def best_of_n_path(
    scores: pd.DataFrame, *, task: str, seed: int, judge: str, scorer: str, n: Sequence[int]
) -> pd.DataFrame:
    """Return table `drift` of Best-of-n by `scorer` on pi_SFT's pool, its KL from the pool's own score law.

    Raises DataError where a pool has fewer than 4 n draws, SpecError for an unknown scorer or judge.
    """
    frames = []
    for pool in pools(scores, source="pi_sft", judge=judge, scorers=[scorer]):
        draws = pool.judge.shape[1]
        if max(n) * WIDEST > draws:
            raise DataError(
                f"the KL of best of {max(n)} needs {WIDEST * max(n)} draws a prompt, and prompt "
                f"'{pool.prompt_ids[0]}' has {draws}: draw more (sampling.draws), or ask for a smaller n"
            )
        rewards = pool.rewards[scorer]
        for size in n:
            columns = {
                "judge": expected_best(values=pool.judge, scores=rewards, n=size).numpy(),
                "proxy": expected_best(values=rewards, scores=rewards, n=size).numpy(),
                "kl": kl_of_pool(scores=rewards, n=size).numpy(),
            }
            frames.append(
                _rows(pool, task=task, seed=seed, method=scorer, at=float(size), ess=1.0, **columns)
            )
    return pd.concat(frames, ignore_index=True)


def sequence_extrapolation(
    scores: pd.DataFrame, *, task: str, seed: int, judge: str, proxy: str, strengths: Sequence[float]
) -> pd.DataFrame:
    """Return table `drift` of the law pi_SFT^strength pi_init^(1 - strength) of whole responses.

    It is pi_SFT tilted by exp((strength - 1) closed_form), so the pool's draws stand for it with weights
    proportional to that (self-normalised importance weights, scorer `closed_form`). Where `ess`, the
    effective share of the draws, is small, few draws stand for the law and its KL is understated.
    """
    frames = []
    for pool in pools(scores, source="pi_sft", judge=judge, scorers=["closed_form", proxy]):
        ratio = pool.rewards["closed_form"]
        for strength in strengths:
            tilt = (strength - 1) * ratio
            weights = np.exp(tilt - tilt.max(1, keepdims=True))
            weights /= weights.sum(1, keepdims=True)
            spread = np.log(weights * weights.shape[1], where=weights > 0, out=np.zeros_like(weights))
            columns = {
                "judge": (weights * pool.judge).sum(1),
                "proxy": (weights * pool.rewards[proxy]).sum(1),
                "kl": (weights * spread).sum(1),
                "ess": 1 / (weights**2).sum(1) / weights.shape[1],
            }
            about = {"task": task, "seed": seed, "method": "sequence_extrapolation", "at": float(strength)}
            frames.append(_rows(pool, **about, **columns))
    return pd.concat(frames, ignore_index=True)


def dpo_optimum(densities: pd.DataFrame, *, task: str, seed: int, strengths: Sequence[float]) -> pd.DataFrame:
    """Return what the population optimum of DPO on (demonstration over pi_init's sample) would score.

    With preferences by the best discriminator the optimum at strength b is demo^(1 / b) pi_init^(1 - 1 / b)
    (Rafailov et al. 2023, arXiv 2305.18290, equation 4; reward log demo - log pi_init): the demonstrators
    themselves at b = 1. Demonstrations stand for it, weighted by (demo / pi_init)^(1 / b - 1), normalised.

    Args:
        densities: table `densities` of pi_init (evaluation.coverage), of which the demonstrations are read.
        task: written into the table.
        seed: written into the table.
        strengths: DPO's b.

    Returns task, seed, policy (dpo_optimum_strength_b), metric, prompt_id, value: judge (points) and ess (the
    share of demonstrations that carries the weights: where it is small, the score is that of a few at hand).
    """
    demonstrations = densities[densities["source"] == DEMONSTRATIONS]
    ratio = (demonstrations["logprob_demo"] - demonstrations["logprob"]).to_numpy()
    frames = []
    for strength in strengths:
        tilt = pd.Series((1 / strength - 1) * ratio, index=demonstrations.index)
        weights = np.exp(tilt - tilt.groupby(demonstrations["prompt_id"]).transform("max"))
        parts = pd.DataFrame({"w": weights, "wv": weights * demonstrations["value"], "ww": weights**2})
        by_prompt = parts.groupby(demonstrations["prompt_id"])
        total, size = by_prompt.sum(), by_prompt.size()
        effective = total["w"] ** 2 / total["ww"] / size
        metrics = pd.DataFrame({"judge": total["wv"] / total["w"], "ess": effective})
        long = metrics.rename_axis("prompt_id").reset_index().melt("prompt_id", var_name="metric")
        frames.append(long.assign(task=task, seed=seed, policy=f"dpo_optimum_strength_{strength:g}"))
    columns = ["task", "seed", "policy", "metric", "prompt_id", "value"]
    return pd.concat(frames, ignore_index=True)[columns]


def _rows(pool: Pool, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"prompt_id": pool.prompt_ids, **columns})[list(COLUMNS)]


def at_equal_kl(curve: pd.DataFrame, kl: float) -> float:
    """Return the judge's points that a way reaches at `kl` nats: NaN where it does not go so far.

    Args:
        curve: a row a point of one way at one seed, columns kl and judge (means over prompts). The way
            begins at pi_SFT, which is one of the points (kl = 0).
        kl: where to look, nats a response; points between are joined by straight lines.
    """
    require_columns(curve, ("kl", "judge"))
    points = curve.sort_values("kl", kind="stable")
    ends = points["kl"].iloc[[0, -1]].to_numpy() if len(points) else np.array([np.inf, -np.inf])
    if not ends[0] - ROUNDING <= kl <= ends[1] + ROUNDING:
        return float("nan")
    return float(np.interp(kl, points["kl"], points["judge"]))
