"""Scoring: the one place where steps have a reward model score texts, and refuse what is no number."""

from functools import partial

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import n_parameters
from afd_study.models.reward import RewardModel, rewards
from afd_study.study.steps.encoding import CommonInputs
from afd_study.study.workflow.context import Context


def score_texts(
    model: RewardModel, table: pd.DataFrame, common: CommonInputs, context: Context, *, scorer: str
) -> np.ndarray:
    """Return a reward model's logits (rows,) for a table of texts or samples, in its order; count the cost.

    Raises DataError for a reward that is no finite number.
    """
    # a reward model reads texts that are longer than a policy's context
    rows = common.examples(table, common.reader_tokenizer, context=10**9)
    examples = list(rows["example"])
    values = map_across_ranks(examples, partial(rewards, model))
    refuse_infinite(values, table, scorer, context)
    tokens = sum(len(example.ids) for example in examples)
    context.spend(tokens=tokens, parameters=n_parameters(model), passes=1)
    return values


def refuse_infinite(values: np.ndarray, table: pd.DataFrame, scorer: str, context: Context) -> None:
    """Raise DataError for a reward that is no finite number, with the responses kept for inspection."""
    bad = ~np.isfinite(values)
    if bad.any():
        path = context.workspace / f"unscorable-{scorer}.json"
        table[bad].assign(reward=values[bad].astype(str)).to_json(path, orient="records", indent=1)
        first = table[bad].iloc[0]
        raise DataError(
            f"reward model '{scorer}' gave {values[bad][0]} to draw {first['draw']} of prompt "
            f"'{first['prompt_id']}' ({first['source']}) and is no finite number {bad.sum()} times in all: "
            f"look at the responses kept in {path}, or lower reward.training.learning_rate"
        )
