"""What the law of `when` predicts from (when.DIAGNOSTICS), measured at one seed of a study, judge or none."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from afd_study.evaluation.probes import conditional_auc
from afd_study.evaluation.recipes import agreement
from afd_study.evaluation.when import DIAGNOSTICS, METHOD

STRATA = {"": "none", "_without_length": "length"}  # ends of a column's name -> what is alike in its pairs


def diagnostics_row(
    scores: pd.DataFrame,
    lengths: pd.DataFrame,
    *,
    sources: Mapping[str, tuple[str, str]],
    again: Mapping[str, str],
    ended: Sequence[bool] | NDArray[np.bool_],
    auc_draws: int,
) -> dict[str, float]:
    """Return a value for each of DIAGNOSTICS; NaN for what the study's reward models do not say.

    Args:
        scores: table `scores` of all that is named below, and of pi_SFT's samples by the rules `likelihood`
            (nats) and `longest` (tokens).
        lengths: prompt_id, source, draw, length of all scored texts, for AUCs among pairs alike in length.
        sources: reward model -> its high and its low source.
        again: reward model -> another replicate of its kind.
        ended: of each of pi_init's test samples, whether it ended by itself.
        auc_draws: texts a prompt and source that AUCs are taken over.

    Raises:
        DataError: a score that is no number.
    """
    row = dict.fromkeys(DIAGNOSTICS, np.nan)
    scorers, few = set(scores["scorer"].unique()), scores[scores["draw"] < auc_draws]
    for kind, (high, low) in sources.items():
        if kind in scorers:
            row |= _aucs(few, lengths, kind, high, low)
    for kind, other in again.items():
        row[f"disagreement_{kind}"] = 1 - agreement(scores, [kind, other])
    row["likelihood_correlation"] = agreement(scores, [METHOD, "likelihood"])
    row["length_correlation"] = agreement(scores, [METHOD, "longest"])
    row["share_that_stops"] = float(np.mean(ended)) if len(ended) else np.nan
    return row


def _aucs(scores: pd.DataFrame, lengths: pd.DataFrame, kind: str, high: str, low: str) -> dict[str, float]:
    """Return a discriminator's AUCs, over the prompts that both of its sources answer; none of no prompt."""
    own = scores[(scores["scorer"] == kind) & scores["source"].isin([high, low])]
    both = own.groupby("prompt_id")["source"].transform("nunique") == 2
    if not both.any():
        return {}
    table = conditional_auc(
        own[both],
        lengths,
        scorer=kind,
        positive=high,
        negative=low,
        within=tuple(STRATA.values()),
        generator=np.random.default_rng(0),
        resamples=1,  # the estimate alone is wanted, not its interval
    ).set_index("within")["auc"]
    return {f"auc_{kind}{end}": float(table[name]) for end, name in STRATA.items()}
