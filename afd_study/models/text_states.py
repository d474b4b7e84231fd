"""What a language model that stays as it is makes of texts: states of a layer, and log-probabilities.

A linear head on such states is a reward model whose body was never trained (2411.04991, 2502.04357). They are
computed once a text. States and log-probabilities come from one pass. Responses to one prompt share it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from afd_study.errors import SpecError
from afd_study.models.batches import Batch, Example, in_batches
from afd_study.models.kernels import shared_prompt_scoring
from afd_study.models.kernels.shared_prefix import SharedPrefix
from afd_study.models.scoring import backbone_of, hidden_states, output_logits


class TextStates(NamedTuple):
    """Of n responses: `states` (n, 2 x width) in float32, `logprobs` (n,) in nats, and `tokens` (n,).

    The states are a layer's: their mean over the response's tokens, and behind it those at its last token.
    Log-probabilities that were not asked for are NaN.
    """

    states: NDArray[np.float32]
    logprobs: NDArray[np.float64]
    tokens: NDArray[np.int64]


def n_layers(lm: PreTrainedModel) -> int:
    """Return how many blocks a model has."""
    return len(_blocks(lm))


@torch.no_grad()
def text_states(
    lm: PreTrainedModel,
    examples: Sequence[Example],
    *,
    layer: int,
    max_tokens: int = 4096,
    logprobs: bool = True,
) -> TextStates:
    """Read responses behind their prompts, with dropout off; return what block `layer` (from 1) gives out.

    At most `max_tokens` tokens, with padding, are read at once. Raises SpecError for a layer that the model
    does not have.
    """
    blocks = _blocks(lm)
    if not 1 <= layer <= len(blocks):
        raise SpecError(f"the model has blocks 1 to {len(blocks)}, and layer {layer} was asked for")
    lm.eval()
    with _kept(blocks[layer - 1]) as seen:
        if shared_prompt_scoring.is_faster(lm, examples):
            run = partial(_behind, lm, seen, logprobs)
            rows = shared_prompt_scoring.behind_prompts(lm, examples, run, max_tokens=max_tokens)
        else:
            rows = in_batches(
                examples, partial(_whole, lm, seen, logprobs), max_tokens=max_tokens, device=lm.device
            )
    tokens = np.array([len(each.ids) - each.start for each in examples], dtype=np.int64)
    return TextStates(rows[:, 1:].astype(np.float32), rows[:, 0], tokens)


def _blocks(lm: PreTrainedModel) -> nn.ModuleList:
    """Return the model's blocks: the list of modules that is as long as its config says."""
    depth = lm.config.get_text_config().num_hidden_layers
    lists = (each for each in backbone_of(lm).modules() if isinstance(each, nn.ModuleList))
    found = next((each for each in lists if len(each) == depth), None)
    if found is None:
        raise SpecError(
            f"{type(lm).__name__} has no list of {depth} blocks, so that no layer of it can be read"
        )
    return found


@contextmanager
def _kept(block: nn.Module) -> Iterator[list[Tensor]]:
    """Keep what a block gave out last, (rows, tokens, width), while the context lasts."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        seen[:] = [output[0] if isinstance(output, tuple) else output]

    handle = block.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def _behind(
    lm: PreTrainedModel, seen: list[Tensor], logprobs: bool, prefix: SharedPrefix, batch: Batch
) -> Tensor:
    """Read responses behind prompts that have been read: (rows, 1 + 2 x width)."""
    rows, tokens = batch.ids.shape
    hidden = prefix.read(lm, batch.ids)
    before = prefix.last.repeat_interleave(rows // len(prefix.last), 0)[:, None]
    predicting = torch.cat([before, hidden[:, :-1]], 1)
    is_own = torch.arange(tokens, device=batch.ids.device) < batch.lengths[:, None]
    return _rows(lm if logprobs else None, predicting, batch.ids, is_own, seen[0])


def _whole(lm: PreTrainedModel, seen: list[Tensor], logprobs: bool, batch: Batch) -> Tensor:
    """Read prompts and responses together: (rows, 1 + 2 x width)."""
    hidden = hidden_states(backbone_of(lm), batch.ids)
    places = torch.arange(batch.ids.shape[1], device=batch.ids.device)
    is_own = (places >= batch.starts[:, None]) & (places < batch.lengths[:, None])
    head = lm if logprobs else None
    return _rows(head, hidden[:, :-1], batch.ids[:, 1:], is_own[:, 1:], seen[0][:, 1:])


def _rows(
    lm: PreTrainedModel | None, predicting: Tensor, ids: Tensor, is_own: Tensor, states: Tensor
) -> Tensor:
    """Return log-probabilities and pooled states of the tokens `is_own` (rows, tokens), in float64.

    `predicting` are the final states before each token, and `states` the layer's at it. Without a model
    log-probabilities are NaN.
    """
    total = torch.full((len(ids),), torch.nan, dtype=torch.float64, device=ids.device)
    if lm is not None:
        values = -cross_entropy(output_logits(lm, predicting[is_own]), ids[is_own], reduction="none")
        total = torch.zeros_like(total).index_add(0, is_own.nonzero()[:, 0], values.double())
    states = states.double()
    mean = (states * is_own[..., None]).sum(1) / is_own.sum(1, keepdim=True)
    places = torch.arange(ids.shape[1], device=ids.device)
    last = (places * is_own).argmax(1)
    return torch.cat([total[:, None], mean, states[torch.arange(len(ids)), last]], 1)
