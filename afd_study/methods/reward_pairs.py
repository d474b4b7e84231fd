"""Pairs of responses to one prompt, of which one is to score high: what every reward model is trained on.

Every kind of data has one pair for each demonstration, of the same prompts, and pairs are joined on
(prompt_id, draw). A contrast with `times` > 1 takes so many pairs a demonstration, since samples are free.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import expit

from afd_study.errors import DataError
from afd_study.methods.reward_data import RewardData
from afd_study.records import checked


def pairs(
    contrast: RewardData, sources: Mapping[str, pd.DataFrame], demonstrations: pd.DataFrame
) -> pd.DataFrame:
    """Join the two sides of a contrast: prompt_id, draw, and what `response` held as high and low.

    Args:
        contrast: which source is to score high, which low.
        sources: for each source a table prompt_id, draw, response.
        demonstrations: table prompt_id, draw; sets how many pairs a prompt gets (times `contrast.times`).

    Raises:
        DataError: a source lacks responses that the demonstrations call for.
    """
    counts = demonstrations.groupby("prompt_id").size() * contrast.times
    wanted = pd.DataFrame(
        [(prompt, draw) for prompt, count in counts.items() for draw in range(count)],
        columns=["prompt_id", "draw"],
    )
    joined = wanted
    for side, source in (("high", contrast.high), ("low", contrast.low)):
        table = sources[source].rename(columns={"response": side})
        joined = joined.merge(
            table[["prompt_id", "draw", side]], on=["prompt_id", "draw"], validate="one_to_one"
        )
    if len(joined) < len(wanted):
        raise DataError(
            f"{contrast.high} and {contrast.low} give {len(joined)} pairs where {len(wanted)} are called "
            "for: draw more samples"
        )
    return joined


def label_preferences(
    first: pd.DataFrame, second: pd.DataFrame, *, scale: float, noise: float, seed: int
) -> pd.DataFrame:
    """Let the judge prefer one of two samples, by Bradley-Terry and with a share of labels flipped.

    P(first preferred) = sigmoid(scale * (value_1 - value_2)); then each label is flipped with probability
    `noise`.

    Args:
        first: prompt_id, draw, response, value (the judge's points); one sample a row.
        second: the samples they are compared with; joined on (prompt_id, draw).
        scale: nats a judge point.
        noise: probability in [0, 0.5].
        seed: fixes labels and flips.

    Returns:
        Table `preferences`: prompt_id, draw, preferred, rejected (what `response` held).
    """
    both = first.merge(second, on=["prompt_id", "draw"], suffixes=("_1", "_2"), validate="one_to_one")
    rng = np.random.default_rng([seed, 5])
    chance = expit(scale * (both["value_1"] - both["value_2"]).to_numpy())
    first_wins = (rng.random(len(both)) < chance) ^ (rng.random(len(both)) < noise)
    chosen = np.where(first_wins, both["response_1"], both["response_2"])
    other = np.where(first_wins, both["response_2"], both["response_1"])
    return checked("preferences", both[["prompt_id", "draw"]].assign(preferred=chosen, rejected=other))
