"""Did a run of adversarial imitation lower what its method descends? Its own objective, at start and end.

A policy that does not seek says nothing of a method whose run did not even lower its own objective. All three
objectives are estimated without bias from table `densities` (evaluation.coverage), where both laws are exact.
With L = log demo - log policy of a whole response,

* reverse_kl: the mean of -L over the policy's samples;
* forward_kl: the mean of L over demonstrations;
* jensen_shannon: log 2 + (mean of log sigmoid(L) over demonstrations + mean of log sigmoid(-L) over
  samples) / 2, for with m = (demo + policy) / 2, log(demo / m) = log 2 + log sigmoid(L) and
  log(policy / m) = log 2 + log sigmoid(-L). It is log 2 less the loss of the best discriminator (Goodfellow
  et al. 2014, theorem 1), and no summand exceeds log 2, so that few samples serve. What "gail" descends is
  2 JS - log 4.
"""

from collections.abc import Mapping
from math import log

import numpy as np
import pandas as pd

from afd_study.errors import DataError, unknown_name
from afd_study.evaluation.coverage import DEMONSTRATIONS
from afd_study.evaluation.statistics import require_columns, t_interval

COLUMNS = ("prompt_id", "source", "logprob", "logprob_demo", "n_stray")
DESCENDS = {"airl": "reverse_kl", "gail": "jensen_shannon", "density_ratio": "forward_kl"}
"""Transform of the logit -> the divergence that its policy gradient descends (theory.rewards)."""


def objective(densities: pd.DataFrame, *, policy: str, divergence: str) -> pd.DataFrame:
    """Return a policy's divergence from the demonstrators by prompt: value and stray, in nats a response.

    `stray` is the part of it from responses with a word that only the stray law explains, on either side. The
    frame is indexed by prompt_id. `densities` holds the policy's samples and demonstrations.

    Raises SpecError for an unknown divergence, DataError for missing columns, a side without responses, or a
    log-probability that is not finite.
    """
    require_columns(densities, COLUMNS)
    if divergence not in DESCENDS.values():
        raise unknown_name("objective of imitation", divergence, DESCENDS.values())
    samples, demonstrations = (densities[densities["source"] == each] for each in (policy, DEMONSTRATIONS))
    if divergence == "reverse_kl":
        sides = [_by_prompt(samples, -_log_ratio(samples))]
    elif divergence == "forward_kl":
        sides = [_by_prompt(demonstrations, _log_ratio(demonstrations))]
    else:
        both = ((demonstrations, 1), (samples, -1))
        sides = [
            _by_prompt(rows, (log(2) + _log_sigmoid(sign * _log_ratio(rows))) / 2) for rows, sign in both
        ]
    total = sides[0] if len(sides) == 1 else sides[0] + sides[1]
    return total.dropna()  # a prompt that lacks one side


def own_objectives(
    laws: Mapping[str, pd.DataFrame], arms: Mapping[str, tuple[str, str]], *, level: float = 0.95
) -> pd.DataFrame:
    """Return what each arm's run did to its own objective: a row an arm.

    Args:
        laws: policy -> its table `densities`; those of the arms and of the policies that they start from.
        arms: arm -> the policy that it starts from, and the transform of its logit (a key of DESCENDS).
        level: of the interval of `change`.

    Returns:
        method, start_policy, divergence, start, end, change (end - start), low, high (nats a response; t over
        prompts, start and end paired), lowered (the interval lies below 0), start_stray, end_stray (the parts
        of start and end from responses with a stray word), n_prompts.

    Raises:
        SpecError, DataError: as `objective`; DataError for fewer than two prompts.
    """
    rows = []
    for name, (start, transform) in arms.items():
        divergence = DESCENDS[transform]
        before, after = (objective(laws[each], policy=each, divergence=divergence) for each in (start, name))
        before, after = before.align(after, join="inner", axis=0)
        change, low, high = map(float, t_interval((after["value"] - before["value"]).to_numpy(), level))
        ends = {"start": before["value"].mean(), "end": after["value"].mean()}
        strays = {"start_stray": before["stray"].mean(), "end_stray": after["stray"].mean()}
        told = {"change": change, "low": low, "high": high, "lowered": high < 0}
        about = {"method": name, "start_policy": start, "divergence": divergence}
        rows.append({**about, **ends, **told, **strays, "n_prompts": len(after)})
    columns = ["method", "start_policy", "divergence", "start", "end", "change", "low", "high", "lowered"]
    return pd.DataFrame(rows, columns=[*columns, "start_stray", "end_stray", "n_prompts"])


def _log_ratio(rows: pd.DataFrame) -> np.ndarray:
    """Return log demo - log policy of each response (rows,), nats."""
    values = (rows["logprob_demo"] - rows["logprob"]).to_numpy(dtype=float)
    if not len(values):
        raise DataError("an objective needs samples of the policy and demonstrations, and one side has none")
    if not np.isfinite(values).all():
        raise DataError(
            "a response has a log-probability that is not finite: both laws must have full support"
        )
    return values


def _log_sigmoid(logits: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0.0, -logits)


def _by_prompt(rows: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    """Return means over a prompt's responses: value, and stray, which counts clean responses as 0."""
    parts = pd.DataFrame({"value": values, "stray": values * (rows["n_stray"] > 0).to_numpy()})
    return parts.groupby(rows["prompt_id"].to_numpy()).mean()
