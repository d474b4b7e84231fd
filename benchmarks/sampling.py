"""Sampling many responses a prompt: our decoder beside transformers' `generate`, at its best batching.

`generate` repeats a prompt for each of its responses and reads it that often. Of several batchings (one
prompt at a time, or several padded on the left) the fastest in a trial run is the peer. Both sides draw from
the whole law at temperature 1, up to a bound. The end mark of a GPT-2 or a Llama is made as likely as it is
in text (`shapes.ending`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from afd_study.models.decoding import Drawn, Request, sample
from benchmarks import texts
from benchmarks.shapes import SHAPES, build, ending, forward_flops, precision, stock, whole
from benchmarks.timing import Pair, keep_memory, seconds

DRAWS, LENGTH, EOS = 50, 80, 1
PROMPTS = {"1M": 16, "10M": 8, "124M": 2}


class Setting(NamedTuple):
    """How much is drawn, and which ways of `generate` are tried: prompts at a time, and kinds of its cache.

    `longest` is the bound of a response, `trial` that of a response in a trial run, and `lengths` those of a
    prompt, in tokens.
    """

    prompts: int
    draws: int
    longest: int
    trial: int
    lengths: tuple[int, int] = texts.PROMPT
    batchings: tuple[int, ...] = (1, 2, 4, 8, 16)
    caches: tuple[str | None, ...] = (None,)  # None: as `generate` chooses


PRETRAINED = Setting(8, 32, 64, 8, (40, 80), (2,), (None, "static"))  # about what a study draws at once


def sampling(
    model: str, device: torch.device, *, prompts: int | None = None, draws: int | None = None
) -> Pair:
    """Return as many responses to each of so many prompts: DRAWS to each of PROMPTS if None."""
    return _pair(model, device, Setting(prompts or PROMPTS.get(model, 4), draws or DRAWS, LENGTH, LENGTH))


def pretrained_sampling(model: str, device: torch.device, setting: Setting = PRETRAINED) -> Pair:
    """Return responses of a pretrained model's shape, in the type and with the memory that studies have."""
    keep_memory()
    return _pair(model, device, setting)


def _pair(model: str, device: torch.device, setting: Setting) -> Pair:
    lm = ending(build(model, dtype=precision(device, model), device=device), EOS, mean_length=45).eval()
    peer, draws, longest = stock(lm), setting.draws, setting.longest
    prompt_ids = texts.prompts(setting.prompts, SHAPES[model].vocabulary, seed=3, lengths=setting.lengths)
    requests = [Request(str(i), ids, draw) for i, ids in enumerate(prompt_ids) for draw in range(draws)]
    sizes = {size for size in (*setting.batchings, len(prompt_ids)) if size <= len(prompt_ids)}
    times = {
        (size, cache): seconds(
            partial(_generate, peer, prompt_ids, size, draws, setting.trial, cache), device
        )
        for size in sorted(sizes)
        for cache in setting.caches
    }
    best, cache = min(times, key=times.__getitem__)

    def ours() -> list[Drawn]:
        return sample(lm, requests, seed=0, eos_id=EOS, max_new_tokens=longest)

    drawn = ours()
    written = sum(len(each.ids) for each in drawn)
    read = [len(request.ids) + len(each.ids) for request, each in zip(requests, drawn, strict=True)]
    spared = forward_flops(lm, read=[len(ids) for ids in prompt_ids], predicted=0) * (draws - 1)
    return Pair(
        f"generate, {best} prompts at a time" + f", {cache} cache" * (cache is not None),
        ours,
        lambda: _generate(peer, prompt_ids, best, draws, longest, cache),
        lambda: _check(lm, peer, prompt_ids, longest),
        flops=forward_flops(lm, read=read, predicted=written) - spared,
        tokens=written,
    )


def _check(
    lm: PreTrainedModel, peer: PreTrainedModel, prompt_ids: Sequence[tuple[int, ...]], longest: int
) -> None:
    """Raise AssertionError unless greedy decoding says the same.

    In half precision logits that are nearly equal may change places. There a few tokens are compared, of the
    same weights in float32.
    """
    if lm.dtype != torch.float32:
        lm, peer, longest = whole(lm), whole(peer), min(8, longest)
    once = [Request(str(i), ids, 0) for i, ids in enumerate(prompt_ids)]
    drawn = sample(lm, once, seed=0, eos_id=EOS, max_new_tokens=longest, temperature=0)
    for ids, own in zip(prompt_ids, drawn, strict=True):
        prompt = torch.tensor([ids], device=lm.device)
        generate = cast(Callable[..., Tensor], peer.generate)  # its decorator hides its type
        generation = generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=longest,
            eos_token_id=EOS,
            pad_token_id=0,
        )
        assert generation[0, len(ids) :].tolist() == list(own.ids)


def _generate(
    lm: PreTrainedModel,
    prompt_ids: Sequence[tuple[int, ...]],
    size: int,
    draws: int,
    longest: int,
    cache: str | None,
) -> None:
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
            max_new_tokens=longest,
            eos_token_id=EOS,
            pad_token_id=0,
            cache_implementation=cache,
        )
