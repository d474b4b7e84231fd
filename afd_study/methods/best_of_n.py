"""Selection: keep the best of N by some scorer. Here are the scorers that need no training.

Best-of-N is only as good as its controls: a random pick, the longest, the shortest, the likeliest
response, and the judge itself (the oracle, the most that any rule can reach on this pool). The closed form
is what Init-SFT's discriminator converges to: log pi_SFT(y|x) - log pi_init(y|x).
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from afd_study.records import checked

JUDGE = "judge"  # the name of the judge among the scorers of table `scores`

Scorer = Callable[[pd.DataFrame], "pd.Series[float]"]

# on a pool with the columns of `samples`, and `logprob_init` and `judge` joined to it
SCORERS: dict[str, Scorer] = {
    "random": lambda pool: pool["logprob"] * 0.0,  # all alike: ties share the win, which is the exact mean
    "longest": lambda pool: pool["token_ids"].map(len).astype(float),
    "shortest": lambda pool: -pool["token_ids"].map(len).astype(float),
    "likelihood": lambda pool: pool["logprob"],
    "closed_form": lambda pool: pool["logprob"] - pool["logprob_init"],
    "oracle": lambda pool: pool["judge"],
}


def scores_of(pool: pd.DataFrame) -> pd.DataFrame:
    """Score a pool by every rule of SCORERS whose columns it has: table `scores`."""
    needs = {"closed_form": "logprob_init", "oracle": "judge"}
    usable = {name: rule for name, rule in SCORERS.items() if needs.get(name, "logprob") in pool.columns}
    ids = pool[["prompt_id", "source", "draw"]]
    frames = [ids.assign(scorer=name, reward=rule(pool).astype(float)) for name, rule in usable.items()]
    return checked("scores", pd.concat(frames, ignore_index=True))


def picks(scores: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return which of a prompt's first n draws each rule keeps (the earliest among equals): table `picks`."""
    first = scores[scores["draw"] < n].sort_values(["reward", "draw"], ascending=[False, True], kind="stable")
    kept = first.groupby(["prompt_id", "scorer"], sort=True).first().reset_index()
    return checked(
        "picks",
        kept.rename(columns={"scorer": "rule"}).assign(n=np.int64(n))[["prompt_id", "rule", "n", "draw"]],
    )
