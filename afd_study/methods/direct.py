"""Direct methods: DPO and SPIN train the policy on pairs, without a reward model and without sampling.

Both raise the policy's implicit reward beta (log policy - log reference) of one response above another's
(Rafailov et al. 2023, arXiv 2305.18290, equation 7). The choice of pairs decides what is learned:

* preferences;
* demonstrations over samples of pi_init: the population optimum pi_init (demo / pi_init)^(1 / beta) goes
  beyond the demonstrations for beta < 1;
* demonstrations over samples of the last round's policy, which is SPIN (Chen et al. 2024, arXiv 2401.01335,
  equation 4.7): the demonstrator is its fixed point.

The loss is logistic, as in both papers, or `squared` (theory.self_play), whose rewards are bounded.

The reference is the policy as it comes in. What is left out: label smoothing, length normalisation, an SFT
term beside the loss.
"""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from afd_study.models.batches import Example, Pair, collate, refuse_empty
from afd_study.models.distributed import is_main, map_across_ranks
from afd_study.models.policy import Policy, with_lora
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.models.training import Evaluation, train
from afd_study.theory.objectives import dpo
from afd_study.theory.self_play import squared_pairs

LOSSES = {"logistic": dpo, "squared": squared_pairs}
Loss = Literal["logistic", "squared"]


class Referred(NamedTuple):
    """A pair with the reference's log-probabilities (nats) of both responses, which never change."""

    preferred: Example
    rejected: Example
    reference_preferred: float
    reference_rejected: float


def fit(
    lm: PreTrainedModel,
    pairs: Sequence[Pair],
    *,
    validation: Sequence[Pair],
    beta: float,
    training: TrainingSpec,
    seed: int,
    workspace: Path,
    loss: Loss = "logistic",
    lora: LoRASpec | None = None,
    keep: Callable[[PreTrainedModel, int], None] | None = None,
    progress: Callable[[int, str], None] = lambda step, note: None,
) -> tuple[PreTrainedModel, pd.DataFrame]:
    """Fit `lm` to pairs (`high` is preferred) and return it at its lowest validation loss, with its history.

    The history is a table: step (0 is the reference), training_loss, validation_loss (nats a pair, log 2 at
    the reference; of the squared loss no nats, and 1), and on validation pairs the mean log-probability of
    both sides, preferred_logprob and rejected_logprob (nats a response). Under a pairwise loss both may fall.

    `keep` is called at every evaluation with the policy as it then is (adapters merged) and the step; a
    resumed run calls it for the evaluations that are still to come.

    Raises DataError where the pairs do not fill a batch or none are left for validation, SpecError for a
    `beta` that is not positive, TrainingError for a loss that is no finite number.
    """
    refuse_empty(validation_pairs=validation)
    items, sides = referred(lm, pairs), _Sides(referred(lm, validation), beta, loss)
    sides.measure(lm)
    adapters = with_lora(lm, lora, seed=seed)

    def evaluate(policy: nn.Module) -> float:
        assert isinstance(policy, Policy)  # train hands back the module it was given
        value = sides.measure(policy.lm)
        if keep is not None:
            whole = lm if adapters is None else copy.deepcopy(adapters).merge_and_unload()
            keep(whole, min(training.steps, (len(sides.rows) - 1) * training.evaluate_every))
        return value

    _, evaluations = train(
        Policy(lm),
        items,
        loss=partial(_training_loss, beta=beta, constant=training.batch_size, loss=loss),
        length=lambda item: max(len(item[0].ids), len(item[1].ids)),
        spec=training,
        seed=seed,
        evaluate=evaluate,
        workspace=workspace,
        beside={"sides": sides},
        progress=progress,
    )
    return lm if adapters is None else adapters.merge_and_unload(), _history(evaluations, sides.rows)


def referred(lm: PreTrainedModel, pairs: Sequence[Pair]) -> list[Referred]:
    """Return the pairs with the log-probabilities that `lm` has for both responses."""
    both = [pair.high for pair in pairs] + [pair.low for pair in pairs]
    logprobs = map_across_ranks(both, partial(sequence_logprobs, lm)).reshape(2, -1)
    return [Referred(*pair, *sides) for pair, sides in zip(pairs, logprobs.T.tolist(), strict=True)]


def _training_loss(
    policy: nn.Module, items: Sequence[Referred], *, beta: float, constant: float, loss: Loss
) -> Tensor:
    both = collate([item.preferred for item in items] + [item.rejected for item in items])
    both = both.to(next(policy.parameters()).device)
    return pair_loss(policy(both).per_response(len(both.ids)), items, beta, constant, loss)


def _both_sides(lm: PreTrainedModel, items: Sequence[Referred]) -> np.ndarray:
    """Log-probabilities of all preferred responses, then of all rejected ones: shape (2 pairs,)."""
    both = [item.preferred for item in items] + [item.rejected for item in items]
    return map_across_ranks(both, partial(sequence_logprobs, lm))


def pair_loss(
    logprobs: Tensor, items: Sequence[Referred], beta: float, constant: float, loss: Loss = "logistic"
) -> Tensor:
    """Return the loss summed over pairs and divided by `constant`: DPO's in nats, or `squared_pairs`.

    Args:
        logprobs: the policy's log-probabilities (nats), shape (2 pairs,): preferred responses, then rejected.
        items: the pairs, with the reference's log-probabilities.
        beta: strength; the smaller, the further the policy goes.
        constant: pairs a step.
        loss: a key of LOSSES.

    Raises:
        SpecError: `beta` or `constant` not positive.
    """
    reference = logprobs.new_tensor([item[2:] for item in items])
    return LOSSES[loss](
        preferred=logprobs[: len(items)],
        rejected=logprobs[len(items) :],
        reference_preferred=reference[:, 0],
        reference_rejected=reference[:, 1],
        beta=beta,
        constant=constant,
    )


def _means(logprobs: np.ndarray) -> dict[str, float]:
    preferred, rejected = logprobs.reshape(2, -1).mean(1).tolist()
    return {"preferred_logprob": preferred, "rejected_logprob": rejected}


@dataclass
class _Sides:
    """What was measured on both sides, of the reference and at each evaluation; a checkpoint holds it."""

    held_out: Sequence[Referred]
    beta: float
    loss: Loss
    rows: list[dict[str, float]] = field(default_factory=list)

    def measure(self, lm: PreTrainedModel) -> float:
        """Note a row, and return the validation loss."""
        logprobs = _both_sides(lm, self.held_out)
        loss = pair_loss(torch.from_numpy(logprobs), self.held_out, self.beta, len(self.held_out), self.loss)
        self.rows.append({"validation_loss": float(loss), **_means(logprobs)})
        return float(loss)

    def save(self, folder: Path) -> None:
        """Write the rows."""
        if is_main():
            (folder / "sides.json").write_text(json.dumps(self.rows))

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote."""
        self.rows = json.loads((folder / "sides.json").read_text())


def _history(evaluations: Sequence[Evaluation], sides: Sequence[dict[str, float]]) -> pd.DataFrame:
    """Join evaluations and both sides, behind the reference's row, which has one loss for both."""
    seen = pd.DataFrame(sides[1:])
    table = pd.DataFrame(evaluations, columns=Evaluation._fields)
    table = table.merge(seen.drop_duplicates("validation_loss"), on="validation_loss", how="left")
    first = {"step": 0, "training_loss": sides[0]["validation_loss"], **sides[0]}
    return pd.concat([pd.DataFrame([first]), table], ignore_index=True)
