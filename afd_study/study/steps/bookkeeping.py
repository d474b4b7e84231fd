"""What several steps write beside their artefact: evaluations, costs, and what cannot be scored."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.methods.sft import response_tokens
from afd_study.models.batches import Pair
from afd_study.models.decoding import Drawn, Request
from afd_study.models.policy import n_parameters
from afd_study.models.specs import TrainingSpec
from afd_study.models.training import Evaluation
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import write_table


def _count_pairs(
    context: Context, model: Any, train: list[Pair], training: TrainingSpec, evaluations: list[Evaluation]
) -> None:
    """Count the tokens that a training on pairs took through the model; its evaluations are not."""
    tokens = sum(len(pair.high.ids) + len(pair.low.ids) for pair in train) / len(train)
    spent = evaluations[-1].step * training.batch_size * tokens
    context.spend(tokens=spent, parameters=n_parameters(model), passes=3)


def write_evaluations(out: Path, evaluations: list[Evaluation]) -> None:
    """Write how a training went: step, training_loss, validation_loss."""
    write_table(out, "evaluations", pd.DataFrame(evaluations, columns=Evaluation._fields))


def refuse_infinite(values: np.ndarray, table: pd.DataFrame, scorer: str, context: Context) -> None:
    """Raise DataError for a reward that is no finite number, with the responses kept for inspection."""
    bad = ~np.isfinite(values)
    if bad.any():
        kept = context.workspace / f"unscorable-{scorer}.json"
        table[bad].assign(reward=values[bad].astype(str)).to_json(kept, orient="records", indent=1)
        first = table[bad].iloc[0]
        raise DataError(
            f"reward model '{scorer}' gave {values[bad][0]} to draw {first['draw']} of prompt "
            f"'{first['prompt_id']}' ({first['source']}) and is no finite number {bad.sum()} times in all: "
            f"look at the responses kept in {kept}, or lower reward.training.learning_rate"
        )


def count_draws(
    context: Context, requests: Sequence[Request], drawn: Sequence[Drawn], *, parameters: int, models: int = 1
) -> None:
    """Count what draws cost: each prompt is read once for all of its draws, by every one of `models`."""
    read = models * sum(map(len, {each.prompt_id: each.ids for each in requests}.values()))
    written = models * sum(len(each.ids) for each in drawn)
    context.spend(tokens=read + written, parameters=parameters, passes=1)
    prompts = len({each.prompt_id for each in requests})
    context.cost.update(responses=len(drawn), prompts=prompts, prompt_tokens=read)


def count_training(
    context: Context, lm: Any, train: list[Any], training: TrainingSpec, evaluations: list[Evaluation]
) -> None:
    """Count the tokens that a training took through the model, prompts included; its evaluations are not."""
    mean = sum(len(example.ids) for example in train) / len(train)
    steps = evaluations[-1].step
    context.spend(tokens=steps * training.batch_size * mean, parameters=n_parameters(lm), passes=3)
    context.cost["response_tokens"] = (
        steps * training.batch_size * float(np.mean([*map(response_tokens, train)]))
    )
