"""Rejection sampling: keep the best of several draws by a scorer, and fine-tune on what was kept.

Best-of-N pays for N draws at each answer. Rejection sampling pays once: a round draws `group_size` responses
for every demonstration that it is to make, keeps the best of each group (`best_of_each`), and trains the
policy on these by SFT (`methods.sft`). The trained policy then answers with a single draw, at about the KL
that Best-of-`group_size` has. A further round may draw from the trained policy.

The scorer is a reward model such as Init-SFT, which no judge and no preferences have seen. A later round may
keep the first round's model, or train one on the new policy's samples.
"""

import pandas as pd

from afd_study.errors import DataError, SpecError
from afd_study.records import checked

ROW = ["prompt_id", "source", "draw"]


def best_of_each(samples: pd.DataFrame, scores: pd.DataFrame, *, group_size: int) -> pd.DataFrame:
    """Keep the best-scored draw of each group of `group_size` draws to a prompt: table `demonstrations`.

    Draws 0 ... group_size - 1 of a prompt are its group 0, the next its group 1, and so on. The number of the
    group becomes the `draw` of the response that is kept. Among equal scores the earliest draw is kept.

    Args:
        samples: table `samples` of one source.
        scores: table `scores` of one scorer; rows are joined on prompt_id, source and draw.
        group_size: draws that one demonstration is chosen from, at least 1.

    Returns:
        Columns prompt_id, draw, token_ids, text; sorted by prompt and group.

    Raises:
        SpecError: `group_size` below 1. DataError: a sample has no score.
    """
    if group_size < 1:
        raise SpecError(f"group_size = {group_size} must be at least 1")
    scored = samples.merge(scores[[*ROW, "reward"]], on=ROW, validate="one_to_one")
    if len(scored) < len(samples):
        raise DataError(
            f"{len(samples) - len(scored)} of {len(samples)} samples have no score: score them all"
        )
    best = (
        scored.assign(group=scored["draw"] // group_size)
        .sort_values(["reward", "draw"], ascending=[False, True], kind="stable")
        .groupby(["prompt_id", "group"], sort=True)
        .first()
        .reset_index()
    )
    best = best.drop(columns="draw").rename(columns={"group": "draw"})
    return checked("demonstrations", best)[["prompt_id", "draw", "token_ids", "text"]]
