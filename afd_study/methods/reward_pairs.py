"""How pairs are made: two responses to one prompt are joined, or the judge prefers one of two samples.

Which sources are paired for which reward model stands in `reward_data.REWARD_DATA`. Each choice there has
equally many pairs a demonstration, of the same prompts, so that reward models differ by their data alone; a
choice with `times` > 1 has that many times more. Pairs are joined on (prompt_id, draw).
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from afd_study.errors import DataError
from afd_study.records import checked

PAIR = ["prompt_id", "draw"]
Trained = Literal["all", "head"]
"""What is trained of a reward model: all weights (or the adapters), or its head on a frozen backbone."""


class RewardData(NamedTuple):
    """The sources of the responses that are to score high and low, and the loss that learns from their pairs.

    There are `times` pairs for each demonstration: samples cost nothing but their drawing. A demonstration is
    then paired with as many samples.
    """

    high: str
    low: str
    loss: Literal["discriminator_bce", "bradley_terry"] = "discriminator_bce"
    times: int = 1


def paired_responses(
    data: RewardData, sources: Mapping[str, pd.DataFrame], demonstrations: pd.DataFrame
) -> pd.DataFrame:
    """Join the two sides of `data`: columns prompt_id, draw, high and low (what `response` held).

    Args:
        data: which source is to score high, and which low.
        sources: for each source a table prompt_id, draw, response.
        demonstrations: table prompt_id, draw; sets how many pairs a prompt gets (times `data.times`).

    Raises:
        DataError: a source lacks responses that the demonstrations call for.
    """
    counts = demonstrations.groupby("prompt_id").size() * data.times
    ids = [(prompt, draw) for prompt, count in counts.items() for draw in range(count)]
    joined = pd.DataFrame(ids, columns=PAIR)
    for side, source in (("high", data.high), ("low", data.low)):
        table = sources[source].rename(columns={"response": side})[[*PAIR, side]]
        if source == "demonstrations":
            table = _repeated(table, data.times)
        joined = joined.merge(table, on=PAIR, validate="one_to_one")
    if len(joined) < len(ids):
        raise DataError(
            f"{data.high} and {data.low} give {len(joined)} pairs where {len(ids)} are called "
            "for: draw more samples"
        )
    return joined


def _repeated(table: pd.DataFrame, times: int) -> pd.DataFrame:
    """Return each prompt's responses `times` times over, the draws numbered on."""
    counts = table.groupby("prompt_id")["draw"].transform("size")
    return pd.concat([table.assign(draw=table["draw"] + time * counts) for time in range(times)])


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
    both = first.merge(second, on=PAIR, suffixes=("_1", "_2"), validate="one_to_one")
    rng = np.random.default_rng([seed, 5])
    chance = expit(scale * (both["value_1"] - both["value_2"]).to_numpy())
    first_wins = (rng.random(len(both)) < chance) ^ (rng.random(len(both)) < noise)
    preferred = np.where(first_wins, both["response_1"], both["response_2"])
    rejected = np.where(first_wins, both["response_2"], both["response_1"])
    return checked("preferences", both[PAIR].assign(preferred=preferred, rejected=rejected))
