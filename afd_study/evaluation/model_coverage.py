"""Covering and seeking where the demonstrator is a language model: every law is known, and drawn from.

Input is table `densities` as evaluation.coverage has it, with two further columns: a row a sample of pi_init
or pi_SFT, or a demonstration, and its log-probability (nats) under all three laws: logprob_demo,
logprob_pi_init, logprob_pi_sft. Policies are measured by `coverage` itself.

**Best-of-n** of a rule has the law p(y) = pi_SFT(y) w(y). With F(s) the chance that a draw scores at most s,
and m(y) that of scoring exactly as y does, w(y) = (F^n - (F - m)^n) / m. A prompt's pool of N draws stands
for pi_SFT's law:

- A mean over Best-of-n, of the draw of rank r with weight C(r - 1, n - 1) / C(N, n), is unbiased
  (theory.best_of_n.expected_best). That holds for precision, and for log pi_SFT - log demo.
- KL(Best-of-n || pi_SFT), which the reverse KL adds to that mean, is of the pool's own frequencies
  (theory.best_of_n.kl_of_pool). It is understated: by 0.07 nats at N = n, by 0.006 or less from N = 4 n on.
- w of a demonstration, which the forward KL and coverage need, takes F and m from the pool with the
  demonstration among its draws. It is at least (N + 1)^(1 - n), which bounds the forward KL. At n = 16 and
  N = 64 the KL is understated by 0.3 of the 12.2 nats that Best-of-n adds where demonstrations score as the
  pool does, by 6 of 51 where they score at its lowest twentieth, and overstated by 0.1 where they score as
  Best-of-n's picks do. These are figures where no draw repeats, as in long texts. Where many do, both KLs
  were off by 0.1 nats or less (tests/evaluation/test_model_coverage.py).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.errors import DataError
from afd_study.evaluation.coverage import DEMONSTRATIONS, FACTOR, SAME, coverage
from afd_study.evaluation.demonstrator_thresholds import MASS, threshold
from afd_study.evaluation.pools import ROW
from afd_study.evaluation.statistics import interval, require_columns
from afd_study.theory.best_of_n import expected_best, kl_of_pool

MEASURED = (
    *("forward_kl", "reverse_kl", "coverage", "precision", "held_out_nll", "entropy"),
    *("demonstration_precision", "length", "demonstration_length", "self_similarity"),
)
"""Those of coverage.METRICS that ask no judge, and no law of stray words."""
OF_BEST = ("forward_kl", "reverse_kl", "coverage", "precision")  # what is measured of Best-of-n


def model_thresholds(densities: pd.DataFrame) -> pd.DataFrame:
    """Return where the demonstrator's highest-probability sets begin: table `demonstrator_thresholds`.

    A prompt's held-out demonstrations are the draws. Of n the set holds at least MASS, and of the law on
    average ceil(MASS n) / (n + 1): 0.5 at n = 1, 0.88 at 16. `mass_error` is the standard error.

    Raises DataError where there are no demonstrations.
    """
    demos = densities[densities["source"] == DEMONSTRATIONS]
    if not len(demos):
        raise DataError("table densities holds no demonstrations, whose law the sets are of: draw some")
    groups = demos.groupby("prompt_id")["logprob_demo"]
    table = groups.agg(threshold=lambda values: threshold(values.to_numpy()), n="size").reset_index()
    return table.assign(without_stray=False, mass_error=np.sqrt(MASS * (1 - MASS) / table["n"]))


def policy_coverage(
    densities: pd.DataFrame, *, thresholds: pd.DataFrame, task: str, seed: int, policy: str
) -> pd.DataFrame:
    """Return MEASURED of pi_init or pi_SFT: task, seed, policy, metric, prompt_id, value, method, n.

    Arguments and errors as evaluation.coverage has them; `method` is the policy, and n = 1.
    """
    own = densities.assign(logprob=densities[f"logprob_{policy}"], value=0.0)  # no judge is asked
    table = coverage(own, thresholds=thresholds, task=task, seed=seed, policy=policy, good=1.0)
    return table[table["metric"].isin(MEASURED)].assign(method=policy, n=1)


def best_of_n_coverage(
    densities: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    thresholds: pd.DataFrame,
    task: str,
    seed: int,
    n: int,
) -> pd.DataFrame:
    """Return OF_BEST of Best-of-n by each scorer, on pi_SFT's pool; columns as in `policy_coverage`.

    `scores` is table `scores` of pi_SFT's samples and of demonstrations, by every scorer. What is biased, and
    how, says the module.

    Raises DataError where a scorer lacks a text, SpecError where a prompt has fewer than n draws.
    """
    rows = densities[densities["source"].isin(["pi_sft", DEMONSTRATIONS])]
    least = thresholds[~thresholds["without_stray"].astype(bool)].set_index("prompt_id")["threshold"]
    measured = []
    for scorer, own in scores.groupby("scorer", sort=True):
        both = rows.merge(own[[*ROW, "reward"]], on=list(ROW), validate="one_to_one")
        if len(both) < len(rows):
            raise DataError(f"scorer '{scorer}' lacks {len(rows) - len(both)} texts: score them all")
        named = {"task": task, "seed": seed, "policy": f"best_of_{n}_{scorer}", "method": scorer, "n": n}
        for prompt, texts in both.groupby("prompt_id", sort=True):
            values = _of_prompt(texts, float(least[prompt]), n)
            measured += [named | {"metric": k, "prompt_id": prompt, "value": v} for k, v in values.items()]
    columns = ["task", "seed", "policy", "metric", "prompt_id", "value", "method", "n"]
    return pd.DataFrame(measured, columns=columns)


def _of_prompt(texts: pd.DataFrame, least: float, n: int) -> dict[str, float]:
    """Return OF_BEST of one prompt; `least` is where the demonstrator's set begins (nats)."""
    is_demo = texts["source"] == DEMONSTRATIONS
    (pool, pool_demo, scores), (own, demo, demo_scores) = (
        part[["logprob_pi_sft", "logprob_demo", "reward"]].to_numpy(dtype=float).T
        for part in (texts[~is_demo], texts[is_demo])
    )
    logprob = own + log_weights(demo_scores, pool=scores, n=n)
    seeking = expected_best(values=pool - pool_demo, scores=scores, n=n)
    within = (pool_demo >= least - SAME).astype(float)
    return {
        "forward_kl": float((demo - logprob).mean()),
        "reverse_kl": float(seeking + kl_of_pool(scores=scores, n=n)),
        "coverage": float((logprob >= demo - np.log(FACTOR)).mean()),
        "precision": float(expected_best(values=within, scores=scores, n=n)),
    }


def log_weights(scores: NDArray[np.float64], *, pool: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return log w (D,): how much likelier Best-of-n makes texts of some scores (D,) than its policy does.

    `pool` (N,) are the scores of the policy's draws. Each text counts as a further draw (see the module).
    """
    ranked, size = np.sort(pool), len(pool) + 1
    below = np.searchsorted(ranked, scores, side="left") / size
    reached = (np.searchsorted(ranked, scores, side="right") + 1) / size
    share = reached - below
    # F^n - (F - m)^n = F^n (1 - (1 - m / F)^n), which keeps its digits where m is small
    with np.errstate(divide="ignore"):  # a text below all others has m = F
        wins = -np.expm1(n * np.log1p(-share / reached))
    return n * np.log(reached) + np.log(wins) - np.log(share)


def summary(measured: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """Return means over prompts with bootstrap intervals: table `summary`, `judge` being the metric.

    Raises DataError for missing columns.
    """
    require_columns(measured, ("method", "n", "metric", "prompt_id", "value"))
    rows = measured.rename(columns={"metric": "judge"})
    table = interval(rows, generator=generator, by=("task", "method", "n", "judge", "seed"))
    return table.drop(columns="n_seeds")
