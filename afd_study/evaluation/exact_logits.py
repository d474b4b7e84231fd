"""The best discriminators, where a demonstrator is a language model: exact log ratios of whole responses."""

from collections.abc import Mapping

import pandas as pd

from afd_study.evaluation.pools import ROW
from afd_study.evaluation.statistics import require_columns

DEMONSTRATOR = "demonstrator"
LAWS = (DEMONSTRATOR, "pi_init", "pi_sft")
EXACT_LOGITS: Mapping[str, str] = {"exact_logit": "pi_init", "exact_logit_sft": "pi_sft"}
"""Scorer log demo - log pi -> whose pi: the best discriminator between demonstrations and pi's samples."""


def exact_logits(densities: pd.DataFrame) -> pd.DataFrame:
    """Return EXACT_LOGITS of every row, in nats: table `scores`. Raises DataError for missing columns.

    `densities` has the columns prompt_id, source, draw, logprob_demo, logprob_pi_init, logprob_pi_sft (nats).
    """
    laws = [f"logprob_{policy}" for policy in EXACT_LOGITS.values()]
    require_columns(densities, (*ROW, "logprob_demo", *laws))
    frames = [
        densities[list(ROW)].assign(
            scorer=name, reward=densities["logprob_demo"] - densities[f"logprob_{policy}"]
        )
        for name, policy in EXACT_LOGITS.items()
    ]
    return pd.concat(frames, ignore_index=True)
