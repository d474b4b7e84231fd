"""Pessimistic selection: what the judge says where high rewards weigh more, but none decides alone.

Best-of-n keeps the draw with the highest reward, and so the reward model's largest error too. Under
chi-square regularisation (InferenceTimePessimism, Huang et al. 2025, arXiv 2503.21878) a response is drawn
from the pool with probabilities proportional to max(0, (reward - level) / beta)
(theory.tilting.pessimistic_optimum). Small beta is Best-of-n, large beta a plain draw.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.pools import pools
from afd_study.records import checked
from afd_study.theory.tilting import pessimistic_optimum

BETAS = (0.1, 0.3, 1.0, 3.0)
"""Strengths of pessimism, in a scorer's standard deviations within prompts."""


def pessimism_curve(
    scores: pd.DataFrame,
    *,
    task: str,
    seed: int,
    judge: str,
    n: Sequence[int],
    betas: Sequence[float] = BETAS,
    source: str = "pi_sft",
    scorers: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Return table `pessimism`: the judge's expected value of pessimistic selection from n draws.

    Rewards are divided by the scorer's standard deviation within prompts (root mean square over the prompts,
    of all draws), so that beta means the same for each scorer. A prompt's draws are cut into as many blocks
    of n as there are, in their order; the value is the exact expectation in each block, averaged over blocks.

    Raises DataError where a prompt has fewer draws than the largest n, SpecError for a size or a beta that is
    none.
    """
    if not n or min(n) < 1:
        raise SpecError(f"n must be whole numbers from 1, at least one of them; got {list(n)}")
    arrays = list(pools(scores, source=source, judge=judge, scorers=scorers))
    frames = []
    for method in sorted(set(arrays[0].rewards) - {"random", "oracle"}):
        spread = np.sqrt(np.concatenate([pool.rewards[method].var(axis=1) for pool in arrays]).mean())
        for pool in arrays:
            rewards = pool.rewards[method] / (spread or 1.0)  # a scorer that ties all draws gives their mean
            for size in n:
                value = _expected(pool.judge, rewards, size, betas)
                ids = {"beta": np.repeat(betas, len(value[0])), "n": size, "value": np.concatenate(value)}
                prompts = np.tile(pool.prompt_ids, len(betas))
                frames.append(pd.DataFrame({"method": method, "prompt_id": prompts, **ids}))
    return checked("pessimism", pd.concat(frames, ignore_index=True).assign(task=task, seed=seed))


def _expected(judge: NDArray, rewards: NDArray, n: int, betas: Sequence[float]) -> list[NDArray[np.float64]]:
    """Return for each beta the mean over blocks of n draws, (P,), from points and rewards (P, N)."""
    prompts, draws = judge.shape
    if n > draws:
        raise DataError(f"n = {n} is more than the {draws} draws of a prompt: sample more, or ask for less")
    blocks = draws // n
    points, paid = (
        torch.as_tensor(side[:, : blocks * n].reshape(prompts, blocks, n)) for side in (judge, rewards)
    )
    even = torch.full((n,), 1 / n, dtype=torch.float64)
    laws = (pessimistic_optimum(reference=even, rewards=paid, beta=beta) for beta in betas)
    return [(law * points).sum(-1).mean(-1).numpy() for law in laws]
