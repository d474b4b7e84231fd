"""Best-of-N: draw N responses from a policy, score each, and keep the one with the highest score.

This is the paper's method (arXiv 2405.15624) with pi_SFT as the policy. It has three parts.

1. **The rule** that scores. In the paper it is a reward model, whose scores come as rows of table `scores`.
   Beside it stand the rules below, which need no training. They are the controls: a reward model is worth
   its price only as far as it does better than a random pick, the longest, the shortest or the likeliest
   response. `closed_form`, log pi_SFT(y|x) - log pi_init(y|x), is what Init-SFT's discriminator converges
   to. `late_closed_form` is log pi_SFT(y|x) - log pi_half(y|x), where pi_half is SFT after half of its steps
   (arXiv 2510.02493). Both, and the likelihood, grow with the number of tokens: `_per_token` is their mean
   over tokens. `oracle` is the judge itself, the most that any rule can reach on these draws.
2. **The pick**, `picks`: which of a prompt's first n draws each rule keeps.
3. **The curve**, the judge's mean over n = 1 ... N. It is not read off single picks, which would be noisy.
   `theory.best_of_n.expected_best` averages exactly over all subsets of n out of the N draws. With draws
   sorted by score, v_(1) the judge's value of the lowest and v_(N) that of the highest,

       E[best of n] = sum over i of  C(i - 1, n - 1) / C(N, n)  v_(i),

   and draws of equal score share their chances equally. `evaluation.best_of_n` makes the curves with it.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from afd_study.records import checked

JUDGE = "judge"  # the name of the judge among the scorers of table `scores`

WITHOUT_LENGTH = "_without_length"  # ends the name of a scorer that is less what length explains of it
NO_REMAINDER = ("random", "oracle", "longest", "shortest")  # scorers of which that makes no further one

Scorer = Callable[[pd.DataFrame], "pd.Series[float]"]


def _tokens(pool: pd.DataFrame) -> "pd.Series[float]":
    return pool["token_ids"].map(len).astype(float)


# A rule maps a pool of draws to scores. A pool has the columns of table `samples`; `logprob_init` and
# `logprob_half` (nats) and `judge` (points) are joined to it where there are such.
SCORERS: dict[str, Scorer] = {
    "random": lambda pool: pool["logprob"] * 0.0,  # all scores are equal, which gives the exact mean
    "longest": _tokens,
    "shortest": lambda pool: -_tokens(pool),
    "likelihood": lambda pool: pool["logprob"],
    "likelihood_per_token": lambda pool: pool["logprob"] / _tokens(pool),
    "closed_form": lambda pool: pool["logprob"] - pool["logprob_init"],
    "closed_form_per_token": lambda pool: (pool["logprob"] - pool["logprob_init"]) / _tokens(pool),
    "late_closed_form": lambda pool: pool["logprob"] - pool["logprob_half"],
    "oracle": lambda pool: pool["judge"],
}
REQUIRES = {  # columns that not every pool has
    "closed_form": "logprob_init",
    "closed_form_per_token": "logprob_init",
    "late_closed_form": "logprob_half",
    "oracle": "judge",
}


def scores_of(pool: pd.DataFrame) -> pd.DataFrame:
    """Score a pool by each of SCORERS whose columns it has: table `scores`.

    Args:
        pool: table `samples`, with `logprob_init`, `logprob_half` (nats) and `judge` (points) where they are
            known.

    Raises:
        DataError: a score is missing or a draw stands there twice.
    """
    usable = [name for name in SCORERS if REQUIRES.get(name, "logprob") in pool.columns]
    ids = pool[["prompt_id", "source", "draw"]]
    frames = [ids.assign(scorer=name, reward=SCORERS[name](pool).astype(float)) for name in usable]
    return checked("scores", pd.concat(frames, ignore_index=True))


def picks(scores: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return which of a prompt's first n draws each rule keeps: table `picks`, a row a prompt and rule.

    Among equal scores the earliest draw is kept. `scores` is table `scores` of one source; the rule's name is
    its scorer's.
    """
    pool = scores[scores["draw"] < n]
    ranked = pool.sort_values(["reward", "draw"], ascending=[False, True], kind="stable")
    best = ranked.groupby(["prompt_id", "scorer"], sort=True).first().reset_index()
    best = best.rename(columns={"scorer": "rule"}).assign(n=np.int64(n))
    return checked("picks", best[["prompt_id", "rule", "n", "draw"]])
