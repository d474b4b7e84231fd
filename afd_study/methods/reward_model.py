"""A reward model from pairs: the discriminator (binary cross-entropy) and Bradley-Terry, on one page.

Both losses see a pair of responses to one prompt, of which one is to score high. The discriminator scores
each by itself: its optimum is log p_high - log p_low (arXiv 2405.15624, section 3.1). Bradley-Terry scores
only the difference within the pair, and so learns a reward up to a constant a prompt. Where the head alone
is trained, the reward is linear in the features of a frozen backbone (arXiv 2411.04991, 2502.04357), and the
loss is convex in what is learned.

What is left out: margins, several responses a prompt, label smoothing.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from afd_study.errors import unknown_name
from afd_study.methods.reward_pairs import Trained
from afd_study.models.batches import Pair, collate, fork, refuse_empty
from afd_study.models.distributed import map_across_ranks
from afd_study.models.kernels.last_block import supports
from afd_study.models.policy import with_lora
from afd_study.models.reward import RewardModel, rewards
from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.models.training import Evaluation, train
from afd_study.theory.objectives import bradley_terry, discriminator_bce


def pair_loss(name: str, *, high: Tensor, low: Tensor, constant: float) -> Tensor:
    """Return the loss `name` of rewards (pairs,) in nats a pair; log 2 where nothing has been learned.

    Raises SpecError for an unknown loss.
    """
    if name == "bradley_terry":
        return bradley_terry(preferred=high, rejected=low, constant=constant)
    if name != "discriminator_bce":
        raise unknown_name("loss of pairs", name, ["discriminator_bce", "bradley_terry"])
    # each pair holds two responses, and halving keeps the optimum at log 2 - JS
    return discriminator_bce(logits_on_demo=high, logits_on_policy=low, constant=2 * constant)


def training_loss(name: str, module: nn.Module, items: Sequence[Pair], *, constant: float) -> Tensor:
    """Return the loss `name` of pairs that the module scores, in the graph; NaN if a reward is infinite."""
    batch = fork(items) if forks(module, items) else collate([each for pair in items for each in pair])
    scores = module(batch.to(next(module.parameters()).device))
    value = pair_loss(name, high=scores[::2], low=scores[1::2], constant=constant)
    # an infinite reward of the right sign has loss 0, so the loss alone would not show it
    return value if scores.isfinite().all() else value * torch.nan


def forks(module: nn.Module, items: Sequence[Pair]) -> bool:
    """Return whether a prompt can be read once for both responses: the model and every pair allow it.

    This is decided before accelerate casts the inputs, so that in mixed precision forked rewards are as near
    to float32's as others are.
    """
    model = getattr(module, "module", module)  # with several processes it is wrapped
    return supports(cast(RewardModel, model).backbone) and all(
        pair.high.prompt == pair.low.prompt for pair in items
    )


def fit(
    model: RewardModel,
    pairs: Sequence[Pair],
    *,
    validation: Sequence[Pair],
    loss: str,
    training: TrainingSpec,
    seed: int,
    workspace: Path,
    lora: LoRASpec | None = None,
    trained: Trained = "all",
    progress: Callable[[int, str], None] = lambda step, note: None,
) -> tuple[RewardModel, list[Evaluation]]:
    """Fit the model to pairs, keep it at its lowest validation loss, and return it with all evaluations.

    With `trained` "head" the backbone stays as it is, and is read without dropout.

    Raises DataError where the pairs do not fill a batch or none are left for validation; TrainingError for
    a loss or a reward that is no finite number.
    """
    refuse_empty(validation_pairs=validation)
    adapters = with_lora(model.backbone, lora, seed=seed)
    if trained == "head":
        model.backbone.requires_grad_(False)

    def evaluate(module: nn.Module) -> float:
        assert isinstance(module, RewardModel)  # train hands back the module it was given
        high, low = both_sides(module, validation)
        return float(
            pair_loss(loss, high=torch.tensor(high), low=torch.tensor(low), constant=len(validation))
        )

    _, evaluations = train(
        model,
        pairs,
        loss=partial(training_loss, loss, constant=training.batch_size),
        length=lambda pair: pair.forked,
        spec=training,
        seed=seed,
        evaluate=evaluate,
        workspace=workspace,
        progress=progress,
    )
    if adapters is not None:
        model.backbone = adapters.merge_and_unload()
    model.backbone.requires_grad_()
    return model, evaluations


def both_sides(model: RewardModel, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rewards of the high and of the low responses, each shape (pairs,)."""
    both = [pair.high for pair in pairs] + [pair.low for pair in pairs]
    scores = map_across_ranks(both, partial(rewards, model))
    return scores[: len(pairs)], scores[len(pairs) :]


def accuracy(loss: str, *, high: np.ndarray, low: np.ndarray) -> float:
    """Return the share that is right: of responses for the discriminator, of pairs for Bradley-Terry."""
    if loss == "bradley_terry":
        return float(np.mean(high > low) + 0.5 * np.mean(high == low))
    return float((np.mean(high > 0) + np.mean(low < 0)) / 2)
