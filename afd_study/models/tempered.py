"""Log-probabilities of whole responses under a model's law at a temperature, which each token has for itself.

A response that is cut at the horizon has no end mark, and its log-probability is that of the tokens that it
has. It is an outcome of its own: the laws of responses, whole and cut, sum to one.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from afd_study.errors import SpecError
from afd_study.models.batches import Batch, Example, in_batches
from afd_study.models.scoring import TokenLogprobs, response_laws, sequence_logprobs

AT_ONCE = 1024  # tokens, whose laws over the vocabulary are in memory together


@torch.no_grad()
def tempered_logprobs(
    lm: PreTrainedModel, examples: Sequence[Example], *, temperature: float = 1.0
) -> np.ndarray:
    """Return the log-probability (nats) of each whole response, shape (examples,), with dropout off.

    The law of a next token is the model's, to the power 1 / temperature and normalised: the law that
    `decoding.sample` draws from at this temperature. Sums are float64.

    Raises SpecError for a temperature that is not positive.
    """
    if not temperature > 0:
        raise SpecError(f"temperature={temperature} must be above 0: at 0 most responses have no probability")
    if temperature == 1:
        return sequence_logprobs(lm, examples)
    lm.eval()

    def run(batch: Batch) -> Tensor:
        laws, chosen = response_laws(lm, batch)
        values = chosen.values / temperature - (laws / temperature).logsumexp(-1)
        return TokenLogprobs(values, chosen.rows).per_response(len(batch.ids))

    return in_batches(examples, run, max_tokens=AT_ONCE, device=lm.device)
