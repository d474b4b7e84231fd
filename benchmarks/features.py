"""States of a layer and log-probabilities of many responses a prompt, as heads on a frozen body need them.

The peer is a forward pass as one would write it with care: no mask (a causal model does not see padding on
its right), texts sorted by length, one block's states by a hook, logits of responses' tokens alone. Of
several batch sizes the fastest in a trial run is the peer. It reads a prompt once for each response.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaModel, PreTrainedModel

from afd_study.models.batches import Example, collate
from afd_study.models.text_states import text_states
from benchmarks import texts
from benchmarks.shapes import SHAPES, build, forward_flops, precision, stock, whole
from benchmarks.timing import Pair, keep_memory, seconds

PROMPTS, DRAWS = 8, 32
LONGER = (40, 80)  # tokens of a prompt, as of people's dialogues
BATCHES = (16, 64, 256)
SLACK = 1e-3  # float32, of how far values spread


def features(model: str, device: torch.device) -> Pair:
    """Return mean and last states of a layer, and log-probabilities, of DRAWS responses to each prompt.

    The layer is at two thirds of the depth, as in studies.
    """
    keep_memory()
    lm = build(model, dtype=precision(device, model), device=device).eval()
    prompts = texts.prompts(PROMPTS, SHAPES[model].vocabulary, seed=8, lengths=LONGER)
    data = texts.responses(prompts, DRAWS, SHAPES[model].vocabulary, seed=9, lengths=(10, 64))
    layer, usual = max(1, round(2 / 3 * lm.config.num_hidden_layers)), stock(lm)
    tried = data[:: DRAWS // 8]
    times = {size: seconds(partial(padded, usual, tried, layer, size), device) for size in BATCHES}
    best = min(times, key=times.__getitem__)
    lengths = [len(each.ids) for each in data]
    spared = forward_flops(lm, read=[len(ids) for ids in prompts], predicted=0) * (DRAWS - 1)
    return Pair(
        f"forward in batches of {best}, sorted",
        lambda: text_states(lm, data, layer=layer),
        lambda: padded(usual, data, layer, best),
        lambda: check(lm, usual, tried, layer),
        flops=forward_flops(lm, read=lengths, predicted=sum(len(e.ids) - e.start for e in data)) - spared,
        tokens=sum(len(each.ids) - each.start for each in data),
    )


def check(lm: PreTrainedModel, usual: PreTrainedModel, data: Sequence[Example], layer: int) -> None:
    """Raise AssertionError where the sides differ by more than rounding, in their type and in float32."""
    _assert_alike(lm, usual, data, layer, SLACK if lm.dtype == torch.float32 else 0.1)
    if lm.dtype != torch.float32:
        _assert_alike(whole(lm), whole(usual), data, layer, SLACK)


def _assert_alike(
    lm: PreTrainedModel, usual: PreTrainedModel, data: Sequence[Example], layer: int, slack: float
) -> None:
    ours, (states, logprobs) = text_states(lm, data, layer=layer), padded(usual, data, layer, 16)
    for mine, theirs in ((ours.states, states), (ours.logprobs, logprobs)):
        error, spread = np.linalg.norm(mine - theirs), np.linalg.norm(theirs - theirs.mean(0))
        assert error <= slack * spread, f"off by {error / spread:.2g} of how far values spread"


@torch.no_grad()
def padded(
    lm: PreTrainedModel, data: Sequence[Example], layer: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return states (texts, 2 x width) and log-probabilities (texts,), reading `size` texts at once."""
    order = sorted(range(len(data)), key=lambda i: len(data[i].ids))
    states = np.empty((len(data), 2 * lm.config.hidden_size), dtype=np.float32)
    logprobs, seen = np.empty(len(data)), list[Any]()
    block = cast(LlamaModel, lm.base_model).layers[layer - 1]
    handle = block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    for first in range(0, len(order), size):
        part = order[first : first + size]
        batch = collate([data[i] for i in part]).to(lm.device)
        hidden = lm.base_model(input_ids=batch.ids, use_cache=False).last_hidden_state
        places = torch.arange(batch.ids.shape[1], device=lm.device)
        own = (places >= batch.starts[:, None]) & (places < batch.lengths[:, None])
        logits = lm.lm_head(hidden[:, :-1][own[:, 1:]]).float()
        chosen = torch.zeros(own[:, 1:].shape, device=lm.device)
        chosen[own[:, 1:]] = -cross_entropy(logits, batch.ids[:, 1:][own[:, 1:]], reduction="none")
        middle = seen.pop()
        mean = (middle * own[..., None]).float().sum(1) / own.sum(1, keepdim=True)
        last = middle[torch.arange(len(part)), batch.lengths - 1].float()
        states[part] = torch.cat([mean, last], 1).cpu().numpy()
        logprobs[part] = chosen.double().sum(1).cpu().numpy()
    handle.remove()
    return states, logprobs
