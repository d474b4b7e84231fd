"""Fresh responses of a policy while it is trained, and seeds of their own for each place that draws some."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from transformers import PreTrainedModel

from afd_study.models.batches import Example
from afd_study.models.decoding import Request, sample
from afd_study.models.distributed import map_across_ranks

Prompts = Mapping[str, Sequence[int]]  # prompt_id -> token ids


def responses(
    lm: PreTrainedModel,
    prompts: Prompts,
    names: Sequence[str],
    *,
    draws: int,
    seed: int,
    eos_id: int,
    max_new_tokens: int,
) -> list[Example]:
    """Return `draws` responses to each prompt in `names`, in that order, at temperature 1.

    All processes share the drawing, and each returns all responses. `eos_id` ends a response, which is cut
    after `max_new_tokens` tokens.
    """
    requests = [Request(name, tuple(prompts[name]), draw) for name in names for draw in range(draws)]
    draw = partial(sample, lm, seed=seed, eos_id=eos_id, max_new_tokens=max_new_tokens)
    drawn = map_across_ranks(requests, draw)
    return [Example((*r.ids, *d.ids), len(r.ids)) for r, d in zip(requests, drawn, strict=True)]


def stream(seed: int, *place: int) -> int:
    """Return a seed for a place, such as a step's number: draws elsewhere do not change those drawn there."""
    return int(np.random.SeedSequence([seed, *place]).generate_state(1, np.uint64)[0])
