"""Several reward models of one kind as one scorer: the mean of their standardised rewards.

Between runs a reward model's ranking varies by the noise of its training most of all. An average keeps what
the models share. Each is standardised first, for a logit's scale is noise of training too. (Coste et al.
2023, arXiv 2310.02743, average reward models in Best-of-N, and compare other ways to join them.)
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from afd_study.errors import unknown_name
from afd_study.records import TABLES

_ROW = list(TABLES["samples"].key)


def replicate_name(kind: str, replicate: int) -> str:
    """Return the name of a reward model among those of its kind: the first has the kind's own."""
    return kind if replicate == 0 else f"{kind}#{replicate}"


def ensemble_name(kind: str) -> str:
    """Return the name of the scorer that all replicates of a kind make together."""
    return f"{kind}_ensemble"


def parts_of(name: str) -> tuple[str, str, bool]:
    """Undo both: return the kind, the replicate ("" for the first), and whether it is an ensemble."""
    kind, _, replicate = name.partition("#")
    if replicate.isdigit():
        return kind, replicate, False
    return name.removesuffix("_ensemble"), "", name.endswith("_ensemble")


def with_ensembles(
    scores: pd.DataFrame, ensembles: Mapping[str, Sequence[str]], *, source: str = "pi_sft"
) -> pd.DataFrame:
    """Return table `scores` with a further scorer for each of `ensembles`, name -> scorers that make it.

    A member's rewards, of all sources, are less their mean over the responses of `source`, and over their
    standard deviation within its prompts: picks are made within a prompt, and what lies between prompts may
    be anything (Bradley-Terry leaves it free). A member that scores each prompt's alike counts for nothing.

    Raises SpecError for a member that the table does not hold.
    """
    frames = [scores]
    for name, members in ensembles.items():
        parts = []
        for member in members:
            rows = scores[scores["scorer"] == member]
            if rows.empty:
                raise unknown_name(f"member of {name}", member, set(scores["scorer"]))
            own = rows[rows["source"] == source]
            within = own["reward"] - own.groupby("prompt_id")["reward"].transform("mean")
            spread = np.sqrt((within**2).mean())
            centred = rows["reward"] - own["reward"].mean()
            standard = centred / spread if spread > 0 else centred * 0.0
            parts.append(rows[_ROW].assign(reward=standard))
        mean = pd.concat(parts).groupby(_ROW, sort=False)["reward"].mean().reset_index()
        frames.append(mean.assign(scorer=name)[list(TABLES["scores"].columns)])
    return pd.concat(frames, ignore_index=True) if ensembles else scores
