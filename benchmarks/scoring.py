"""Scoring 50 responses a prompt, and their log-probabilities: beside forward passes as they are usually made.

The peer pads each batch to its longest text (the pairs named `to the batch`) or all to the longest of all.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from afd_study.models.batches import Example, collate
from afd_study.models.reward import RewardModel, rewards
from afd_study.models.scoring import backbone_of, sequence_logprobs
from benchmarks import texts
from benchmarks.sampling import DRAWS, PROMPTS
from benchmarks.shapes import SHAPES, build, forward_flops, precision, stock
from benchmarks.timing import Pair

BATCH = 50
SLACK = 2e-3  # float32, summed in another order, over 80 tokens


def scoring(model: str, device: torch.device, *, to_maximum: bool = False) -> Pair:
    """Return rewards of DRAWS responses to each prompt."""
    reward = RewardModel(backbone_of(build(model, dtype=precision(device)))).to(device).eval()
    torch.nn.init.normal_(reward.head.weight, generator=torch.Generator(device).manual_seed(0))
    data, body = _data(model), stock(reward.backbone)

    def peer() -> np.ndarray:
        return forwards(
            data,
            to_maximum,
            device,
            lambda ids, seen, part: reward.head(
                body(input_ids=ids, attention_mask=seen, use_cache=False).last_hidden_state[
                    torch.arange(len(part)), seen.sum(1) - 1
                ]
            )[:, 0],
        )

    return _pair(reward.backbone, data, lambda: rewards(reward, data), peer, to_maximum, predicted=0)


def logprobs(model: str, device: torch.device, *, to_maximum: bool = False) -> Pair:
    """Return log-probabilities of DRAWS responses to each prompt."""
    lm, data = build(model, dtype=precision(device), device=device).eval(), _data(model)
    usual = stock(lm)

    def logged(ids: Tensor, seen: Tensor, part: Sequence[Example]) -> Tensor:
        logits = usual(input_ids=ids, attention_mask=seen, use_cache=False).logits[:, :-1].float()
        chosen = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        return (chosen * in_response(seen, part)).sum(1)

    predicted = sum(len(each.ids) - each.start for each in data)
    return _pair(
        lm,
        data,
        lambda: sequence_logprobs(lm, data),
        lambda: forwards(data, to_maximum, device, logged),
        to_maximum,
        predicted,
    )


def in_response(seen: Tensor, part: Sequence[Example]) -> Tensor:
    """Tell of each token but the first whether it is a response's: (batch, length - 1)."""
    place = torch.arange(1, seen.shape[1], device=seen.device)
    starts = torch.tensor([each.start for each in part], device=seen.device)
    return (place >= starts[:, None]) & (seen[:, 1:] > 0)


def assert_alike(lm: PreTrainedModel, ours: np.ndarray, peer: np.ndarray, *, rtol: float = 1e-4) -> None:
    """Raise AssertionError where the sides differ by more than rounding: of float32, or of bfloat16."""
    half = lm.dtype != torch.float32  # which keeps two digits
    np.testing.assert_allclose(ours, peer, atol=1.0 if half else SLACK, rtol=5e-2 if half else rtol)


def _data(model: str) -> list[Example]:
    prompts = texts.prompts(PROMPTS.get(model, 4), SHAPES[model].vocabulary, seed=4)
    return texts.responses(prompts, DRAWS, SHAPES[model].vocabulary, seed=5)


def _pair(
    lm: PreTrainedModel,
    data: Sequence[Example],
    ours: Callable[[], np.ndarray],
    peer: Callable[[], np.ndarray],
    to_maximum: bool,
    predicted: int,
) -> Pair:
    lengths = [len(each.ids) for each in data]
    return Pair(
        f"forward padded to the {'maximum' if to_maximum else 'batch'}",
        ours,
        peer,
        lambda: assert_alike(lm, ours(), peer()),
        flops=forward_flops(lm, read=lengths, predicted=predicted),
        tokens=sum(lengths),
    )


@torch.no_grad()
def forwards(
    data: Sequence[Example],
    to_maximum: bool,
    device: torch.device,
    run: Callable[[Tensor, Tensor, Sequence[Example]], Tensor],
) -> np.ndarray:
    """Run batches in the order that they come in, with a mask, padded on the right; return (examples,)."""
    longest = max(len(each.ids) for each in data)
    parts = []
    for first in range(0, len(data), BATCH):
        part = data[first : first + BATCH]
        batch = collate(part).to(device)
        ids = batch.ids
        if to_maximum:
            ids = torch.nn.functional.pad(ids, (0, longest - ids.shape[1]))
        seen = (torch.arange(ids.shape[1], device=device) < batch.lengths[:, None]).long()
        parts.append(run(ids, seen, part).double().cpu().numpy())
    return np.concatenate(parts)
