"""Supervised fine-tuning: forward KL(demo || policy), by maximum likelihood on demonstrations.

Forward KL(d^beta || d^pi) = SFT's loss - H(d^beta) (arXiv 2405.15624, section 3.1): of all policies that
the model can be, SFT seeks the one that covers the demonstrations. Pretraining is the same loss on other
text.

What is left out: packing, prompt loss masking by roles (the loss begins at `start`, wherever that is).
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from afd_study.models.batches import Example, collate, refuse_empty
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import Policy, with_lora
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.models.training import Evaluation, train
from afd_study.theory.objectives import sft_loss


def fine_tune(
    lm: PreTrainedModel,
    demonstrations: Sequence[Example],
    *,
    validation: Sequence[Example],
    training: TrainingSpec,
    seed: int,
    workspace: Path,
    lora: LoRASpec | None = None,
    stop: int | None = None,
    progress: Callable[[int, str], None] = lambda step, note: None,
) -> tuple[PreTrainedModel, list[Evaluation]]:
    """Fit `lm` to demonstrations and return it at its lowest validation loss, with all evaluations.

    The loss of a step is its summed token NLL over (sequences a step x the data set's mean response
    length): a constant, so that every response weighs the same whatever batch it falls into. Losses are in
    nats a token.

    With `lora` adapters are trained instead of the weights, and merged into them in the end. With `stop` so
    many of the steps are taken, and the policy is the one that a whole run has there.

    Raises DataError where the demonstrations do not fill a batch or none are left for validation;
    TrainingError for a loss that is no number.
    """
    refuse_empty(demonstrations=demonstrations, validation_demonstrations=validation)
    adapters = with_lora(lm, lora, seed=seed)
    mean_length = sum(map(response_tokens, demonstrations)) / len(demonstrations)
    constant = training.batch_size * mean_length
    n_tokens = sum(map(response_tokens, validation))

    def loss(policy: nn.Module, examples: Sequence[Example]) -> Tensor:
        batch = collate(examples).to(next(policy.parameters()).device)
        logprobs = policy(batch).values
        return sft_loss(logprobs, torch.ones_like(logprobs), constant=constant)

    def evaluate(policy: nn.Module) -> float:
        assert isinstance(policy, Policy)  # train hands back the module it was given
        return -float(map_across_ranks(validation, partial(sequence_logprobs, policy.lm)).sum()) / n_tokens

    _, evaluations = train(
        Policy(lm),
        demonstrations,
        loss=loss,
        length=lambda e: len(e.ids),
        spec=training,
        seed=seed,
        evaluate=evaluate,
        workspace=workspace,
        stop=stop,
        progress=progress,
    )
    return lm if adapters is None else adapters.merge_and_unload(), evaluations


def response_tokens(example: Example) -> int:
    """Count the tokens that the loss falls on."""
    return len(example.ids) - example.start
