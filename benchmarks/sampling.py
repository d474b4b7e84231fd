"""Sampling 50 responses a prompt: our decoder beside transformers' `generate`, at its best batching.

`generate` repeats a prompt for each of its responses and reads it that often. Of several batchings (one
prompt at a time, or several padded on the left) the fastest in a trial run is the peer. Both sides draw from
the whole law at temperature 1, up to LENGTH tokens; GPT-2's end mark is made as likely as it is in text
(`shapes.ending`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from afd_study.models.decoding import Request, sample
from benchmarks import texts
from benchmarks.shapes import SHAPES, build, ending, forward_flops, precision, stock
from benchmarks.timing import Pair, seconds

DRAWS, LENGTH, EOS = 50, 80, 1
PROMPTS = {"1M": 16, "10M": 8, "124M": 2}
BATCHINGS = (1, 2, 4, 8, 16)  # prompts at a time


def sampling(
    model: str, device: torch.device, *, prompts: int | None = None, draws: int | None = None
) -> Pair:
    """Return as many responses to each of so many prompts: DRAWS to each of PROMPTS if None."""
    lm = ending(build(model, dtype=precision(device), device=device), EOS, mean_length=45).eval()
    peer, draws = stock(lm), draws or DRAWS
    prompt_ids = texts.prompts(prompts or PROMPTS.get(model, 4), SHAPES[model].vocabulary, seed=3)
    requests = [Request(str(i), ids, draw) for i, ids in enumerate(prompt_ids) for draw in range(draws)]
    sizes = [size for size in (*BATCHINGS, len(prompt_ids)) if size <= len(prompt_ids)]
    times = {size: seconds(partial(_generate, peer, prompt_ids, size, draws), device) for size in sizes}
    best = min(times, key=times.__getitem__)

    def ours() -> None:
        sample(lm, requests, seed=0, eos_id=EOS, max_new_tokens=LENGTH)

    def check() -> None:
        """Greedy decoding says the same; in half precision logits that are nearly equal may change places."""
        once = [Request(str(i), ids, 0) for i, ids in enumerate(prompt_ids)]
        drawn = sample(lm, once, seed=0, eos_id=EOS, max_new_tokens=LENGTH, temperature=0)
        for ids, own in zip(prompt_ids, drawn, strict=True):
            prompt = torch.tensor([ids], device=device)
            generation = peer.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                max_new_tokens=LENGTH,
                eos_token_id=EOS,
                pad_token_id=0,
            )
            alike = [a == b for a, b in zip(generation[0, len(ids) :].tolist(), own.ids, strict=False)]
            assert all(alike) if lm.dtype == torch.float32 else all(alike[:8])

    drawn = sample(lm, requests, seed=0, eos_id=EOS, max_new_tokens=LENGTH)
    written = sum(len(each.ids) for each in drawn)
    read = [len(request.ids) + len(each.ids) for request, each in zip(requests, drawn, strict=True)]
    spared = forward_flops(lm, read=[len(ids) for ids in prompt_ids], predicted=0) * (draws - 1)
    return Pair(
        f"generate, {best} prompts at a time",
        ours,
        lambda: _generate(peer, prompt_ids, best, draws),
        check,
        flops=forward_flops(lm, read=read, predicted=written) - spared,
        tokens=written,
    )


def _generate(lm: PreTrainedModel, prompt_ids: Sequence[tuple[int, ...]], size: int, draws: int) -> None:
    """Draw with `generate`, `size` prompts at a time, prompts of similar length together."""
    order = sorted(prompt_ids, key=len)
    for first in range(0, len(order), size):
        part = order[first : first + size]
        longest = max(map(len, part))
        ids = torch.tensor([[0] * (longest - len(each)) + list(each) for each in part], device=lm.device)
        seen = torch.tensor(
            [[0] * (longest - len(each)) + [1] * len(each) for each in part], device=lm.device
        )
        generate = cast(Callable[..., Tensor], lm.generate)  # its decorator hides its type
        generate(
            ids,
            attention_mask=seen,
            do_sample=True,
            top_k=0,
            top_p=1.0,
            temperature=1.0,
            num_return_sequences=draws,
            max_new_tokens=LENGTH,
            eos_token_id=EOS,
            pad_token_id=0,
        )
