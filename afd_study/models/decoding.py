"""Sampling responses: a cached decoder that works on any causal model of transformers.

Temperature 1, no truncation and dropout off by default: then samples follow the policy's law and their
recorded log-probabilities are those of that law. Each (prompt, draw) has uniform numbers of its own, so
that a sample does not depend on what shares its batch; finished rows are dropped from the batch as they end.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from afd_study.errors import DataError, SpecError
from afd_study.models.scoring import output_logits

COMPACT_BELOW = 0.85  # share of live rows under which dropping the finished ones pays


class Request(NamedTuple):
    """One response to draw: the prompt's name and ids, and the number of the draw."""

    prompt_id: str
    ids: tuple[int, ...]
    draw: int


class Drawn(NamedTuple):
    """A response: ids with the end mark where it was reached, and log-probability at temperature 1 (nats).

    `kl` is that of the law it was drawn from to the policy's own, summed over the response's prefixes (nats):
    0 but for an extrapolation.
    """

    ids: tuple[int, ...]
    logprob: float
    kl: float = 0.0


class Extrapolation(NamedTuple):
    """Draw from policy^strength origin^(1 - strength), token by token and normalised at each.

    Each next-token law is tilted by itself. That is not the law of whole responses with the same exponents,
    whose normaliser looks ahead; theory.listing.extrapolations holds the two side by side.
    """

    origin: PreTrainedModel
    strength: float


@torch.no_grad()
def sample(
    lm: PreTrainedModel,
    requests: Sequence[Request],
    *,
    seed: int,
    eos_id: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    extrapolation: Extrapolation | None = None,
    max_rows: int = 1024,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Drawn]:
    """Draw one response a request, in the requests' order; at `temperature` 0 the likeliest token each time.

    With `extrapolation` responses are drawn from the tilted law, and their log-probabilities are that law's.
    `progress` is called with the number of responses that have been finished.

    Raises DataError where a prompt and `max_new_tokens` exceed the context, SpecError for settings out of
    range.
    """
    if max_new_tokens < 1 or temperature < 0:
        raise SpecError(f"max_new_tokens={max_new_tokens} must be >= 1 and temperature={temperature} >= 0")
    context = getattr(lm.config.get_text_config(), "max_position_embeddings", None)
    longest = max((len(request.ids) for request in requests), default=0)
    if context is not None and longest + max_new_tokens > context:
        raise DataError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the context of {context}: "
            "shorten prompts (max_prompt_tokens) or lower max_new_tokens"
        )
    sources = _sources(lm, extrapolation)
    results: list[Drawn | None] = [None] * len(requests)
    done = 0
    for rows in _equal_lengths(requests, max_rows):
        batch = [requests[row] for row in rows]
        drawn = _sample_batch(sources, batch, seed, eos_id, max_new_tokens, temperature)
        for row, response in zip(rows, drawn, strict=True):
            results[row] = response
        done += len(rows)
        progress(done)
    return results  # type: ignore[return-value]  # every row was in exactly one batch


def uniforms(seed: int, prompt_id: str, draw: int, n: int) -> np.ndarray:
    """Return the `n` uniform numbers in [0, 1) that belong to one (seed, prompt, draw)."""
    name = hashlib.blake2b(f"{seed}/{prompt_id}/{draw}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(name, "little"))).random(n)


def _equal_lengths(requests: Sequence[Request], max_rows: int) -> Iterator[list[int]]:
    """Yield rows whose prompts have equal length, at most `max_rows` at once: no padding, no mask."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for row, request in enumerate(requests):
        by_length[len(request.ids)].append(row)
    for _, rows in sorted(by_length.items()):
        for first in range(0, len(rows), max_rows):
            yield rows[first : first + max_rows]


class _Source:
    """A model with its cache of a batch, and the exponent of its law."""

    def __init__(self, lm: PreTrainedModel, exponent: float) -> None:
        self.lm, self.exponent = lm.eval(), exponent

    def prefill(self, batch: Sequence[Request]) -> None:
        """Read each distinct prompt once and copy its keys and values to its draws."""
        distinct = {ids: place for place, ids in enumerate(dict.fromkeys(request.ids for request in batch))}
        self.cache = DynamicCache(config=self.lm.config)
        prompts = torch.tensor(list(distinct), device=self.lm.device)
        output = self.lm.base_model(input_ids=prompts, past_key_values=self.cache, use_cache=True)
        place = torch.tensor([distinct[request.ids] for request in batch], device=self.lm.device)
        self.cache.batch_select_indices(place)
        self.hidden = output.last_hidden_state[:, -1][place]

    def read(self, token: Tensor) -> None:
        """Append one token to every row."""
        output = self.lm.base_model(input_ids=token[:, None], past_key_values=self.cache, use_cache=True)
        self.hidden = output.last_hidden_state[:, -1]

    def law(self) -> Tensor:
        """Log-probabilities of the next token, (rows, vocabulary), float64."""
        return output_logits(self.lm, self.hidden).double().log_softmax(-1)


def _sources(lm: PreTrainedModel, extrapolation: Extrapolation | None) -> list[_Source]:
    if extrapolation is None:
        return [_Source(lm, 1.0)]
    strength = extrapolation.strength
    return [_Source(lm, strength), _Source(extrapolation.origin, 1 - strength)]


def _next_law(sources: Sequence[_Source]) -> tuple[Tensor, Tensor | None]:
    """Return the law to draw from, and its KL to the first source's own at each row (None: they are one)."""
    own = sources[0].law()
    if len(sources) == 1:
        return own, None
    # a token that both laws bar stays barred: -inf times a negative exponent would make it the likeliest
    tilted = sum(source.exponent * source.law() for source in sources[1:]) + sources[0].exponent * own
    tilted = tilted.masked_fill(own == -torch.inf, -torch.inf).log_softmax(-1)
    return tilted, (tilted.exp() * (tilted - own).nan_to_num(0.0)).sum(-1)


def _sample_batch(
    sources: Sequence[_Source], batch: Sequence[Request], seed: int, eos_id: int, horizon: int,
    temperature: float,
) -> list[Drawn]:  # fmt: skip
    where = sources[0].lm.device
    noise = torch.from_numpy(np.stack([uniforms(seed, r.prompt_id, r.draw, horizon) for r in batch])).to(
        where
    )
    for source in sources:
        source.prefill(batch)
    tokens = torch.zeros((len(batch), horizon), dtype=torch.int64, device=where)
    logprobs, kls = torch.zeros((2, len(batch)), dtype=torch.float64, device=where)
    lengths = torch.full((len(batch),), horizon, device=where)
    rows = torch.arange(len(batch), device=where)  # the rows still in the batch; some may have ended
    ended = torch.zeros(len(batch), dtype=torch.bool, device=where)  # of those
    for t in range(horizon):
        law, kl = _next_law(sources)
        token = _draw(law, noise[rows, t], temperature)
        live = rows[~ended]
        tokens[live, t] = token[~ended]
        logprobs[live] += law.gather(-1, token[:, None])[:, 0][~ended]
        if kl is not None:
            kls[live] += kl[~ended]
        now = ~ended & (token == eos_id)
        lengths[rows[now]] = t + 1
        ended |= now
        if t == horizon - 1 or bool(ended.all()):
            break
        if (~ended).double().mean() < COMPACT_BELOW:
            keep = (~ended).nonzero()[:, 0]
            for source in sources:
                source.cache.batch_select_indices(keep)
            rows, token, ended = rows[keep], token[keep], ended[keep]
        for source in sources:
            source.read(token)
    cut = zip(tokens.tolist(), lengths.tolist(), logprobs.tolist(), kls.tolist(), strict=True)
    return [Drawn(tuple(ids[:length]), logprob, kl) for ids, length, logprob, kl in cut]


def _draw(law: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Invert the cumulative law at the row's own uniform number; `law` is float64 log-probabilities."""
    if temperature == 0:
        return law.argmax(-1)
    mass = (law if temperature == 1 else (law / temperature).log_softmax(-1)).exp().cumsum(-1)
    token = torch.searchsorted(mass, (noise * mass[:, -1])[:, None], right=True)[:, 0]
    return token.clamp(max=law.shape[-1] - 1)
