"""What steps that train write beside their weights: how the training went, and what it cost."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from afd_study.methods.sft import response_tokens
from afd_study.models.batches import Example, Pair
from afd_study.models.policy import n_parameters
from afd_study.models.specs import TrainingSpec
from afd_study.models.training import Evaluation
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import write_table


def write_evaluations(out: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write how a training went: step, training_loss, validation_loss."""
    write_table(out, "evaluations", pd.DataFrame(evaluations, columns=Evaluation._fields))


def count_training(
    context: Context,
    model: nn.Module,
    items: Sequence[Example] | Sequence[Pair],
    training: TrainingSpec,
    steps: int,
    *,
    passes: int = 3,
) -> None:
    """Count the tokens that `steps` of training took through the model, with prompts; evaluations apart.

    A token takes one pass forwards, and two backwards where all weights are trained.
    `items` are what it learned from: examples, whose response tokens are counted too, or pairs.
    """
    n_items = steps * training.batch_size
    tokens = n_items * (sum(map(_tokens, items)) / len(items))
    context.spend(tokens=tokens, parameters=n_parameters(model), passes=passes)
    responses = [response_tokens(each) for each in items if isinstance(each, Example)]
    if responses:
        context.cost["response_tokens"] = n_items * float(np.mean(responses))


def _tokens(item: Example | Pair) -> int:
    return len(item.ids) if isinstance(item, Example) else len(item.high.ids) + len(item.low.ids)
