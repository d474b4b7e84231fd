"""Where the demonstrators' highest-probability sets begin: thresholds on log beta, from exact draws.

The set of a prompt holds the fewest responses that together have MASS of the demonstrators' law (a
highest-density region: Hyndman, The American Statistician 50, 1996; theory.fits.highest_probability_set). A
response is in it where its log-probability is at least the (1 - MASS)-quantile of the log-probabilities of
demonstrations. The set has no upper end: the likeliest response is in it. The typical set of information
theory, which keeps log-probabilities near minus the entropy, leaves that response out.
"""

import math

import numpy as np
import pandas as pd

from afd_study.errors import SpecError
from afd_study.worlds.controlled import ControlledWorld
from afd_study.worlds.grammar import Automaton

MASS = 0.9  # of the demonstrators' law that the set holds
DRAWS = 4000  # demonstrations a kind of request: the set's mass is then known to half a percent
_STREAM = 9  # of a seed's random numbers; worlds and steps draw from those before


def demonstrator_thresholds(
    world: ControlledWorld, prompts: pd.DataFrame, *, seed: int, draws: int = DRAWS, max_words: int
) -> pd.DataFrame:
    """Return the least log-probability in the demonstrators' highest-probability set of each prompt.

    A law depends on a prompt by the world's CONDITIONS alone, so that prompts of one kind share their draws.
    The set is formed twice: for all demonstrations, and `without_stray` for the law given that no word is a
    stray one (a stray word is so unlikely that nearly every response without one is in the first set).

    Args:
        world: whose demonstrators; its settings are those that their law depends on.
        prompts: table `prompts` with the CONDITIONS.
        seed: of the draws.
        draws: demonstrations a kind of request.
        max_words: the horizon, at which a demonstration is cut.

    Returns prompt_id, without_stray, threshold (nats), n (demonstrations that it is taken from), mass_error
    (the standard error of the share of the law that the set holds). A kind of request of which every
    demonstration has a stray word lacks the second row.

    Raises SpecError for less than one draw.
    """
    if draws < 1:
        raise SpecError(f"draws = {draws} must be 1 or more: a threshold is a quantile of demonstrations")
    names = list(world.CONDITIONS)
    kinds = prompts[names].drop_duplicates().sort_values(names)
    rng, rows = np.random.default_rng([seed, _STREAM]), []
    for kind in kinds.itertuples(index=False, name=None):
        law = world.law("demonstrators", dict(zip(names, kind, strict=True)))
        logprobs, clean = _drawn(law, rng, draws, max_words)
        for without_stray, values in ((False, logprobs), (True, logprobs[clean])):
            if len(values):
                error = math.sqrt(MASS * (1 - MASS) / len(values))
                rows.append((*kind, without_stray, threshold(values), len(values), error))
    table = pd.DataFrame(rows, columns=[*names, "without_stray", "threshold", "n", "mass_error"])
    table = prompts[["prompt_id", *names]].merge(table, on=names, how="left", validate="many_to_many")
    return table.drop(columns=names)


def threshold(logprobs: np.ndarray) -> float:
    """Return the greatest of log-probabilities (draws,) that at least MASS of them reach, in nats."""
    enough = math.ceil(MASS * len(logprobs) * (1 - 1e-12))
    return float(np.sort(logprobs)[len(logprobs) - enough])


def _drawn(
    law: Automaton, rng: np.random.Generator, draws: int, max_words: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return log-probabilities (nats) of drawn responses, and which of them have no stray word; (draws,)."""
    responses = [law.sample(rng, max_words) for _ in range(draws)]
    logprobs = np.array([law.logprobs(words).sum() for words in responses])
    return logprobs, np.array([law.n_stray(words) == 0 for words in responses])
