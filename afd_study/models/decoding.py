"""Sampling responses: a cached decoder that works on any causal model of transformers.

Temperature 1, no truncation and dropout off by default: then samples follow the policy's law and their
recorded log-probabilities are those of that law. Each (prompt, draw) has uniform numbers of its own, so
that a sample does not depend on what shares its batch; finished rows are dropped from the batch as they end.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from afd_study.errors import DataError, SpecError
from afd_study.models.prefix import SharedPrefix, applies
from afd_study.models.scoring import output_logits

COMPACT_BELOW = 0.85  # share of live rows under which dropping the finished ones pays
SHORT, MANY = (
    16,
    64,
)  # tokens of a prompt, and its draws: short ones with many draws are cheaper copied (book/log.md)


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
    shared = _pays(requests, longest) and all(applies(source.lm) for source in sources)
    for source in sources:
        source.shared = shared
    for table in _tables(requests, max_rows, mixed=shared):
        drawn = _sample_table(sources, table, requests, seed, eos_id, max_new_tokens, temperature)
        for row, response in drawn.items():
            results[row] = response
        done += len(drawn)
        progress(done)
    return results  # type: ignore[return-value]  # every row was in exactly one batch


def uniforms(seed: int, prompt_id: str, draw: int, n: int) -> np.ndarray:
    """Return the `n` uniform numbers in [0, 1) that belong to one (seed, prompt, draw)."""
    name = hashlib.blake2b(f"{seed}/{prompt_id}/{draw}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(name, "little"))).random(n)


def _pays(requests: Sequence[Request], longest: int) -> bool:
    """Tell whether to hold each prompt once (`prefix`), rather than to copy it to its draws."""
    return longest >= SHORT or len(requests) < MANY * len({request.ids for request in requests})


class _Table(NamedTuple):
    """Prompts that are drawn for at once, and which request each of their rows is: -1 for a row too many."""

    prompts: tuple[tuple[int, ...], ...]
    rows: np.ndarray  # (prompts, draws)


def _tables(requests: Sequence[Request], max_rows: int, *, mixed: bool) -> Iterator[_Table]:
    """Yield all requests in tables of at most `max_rows` rows: of equally long prompts, unless `mixed`."""
    asked: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, request in enumerate(requests):
        asked[request.ids].append(row)
    chunks = [
        (ids, rows[first : first + max_rows])
        for ids, rows in sorted(asked.items(), key=lambda each: (len(each[0]), -len(each[1])))
        for first in range(0, len(rows), max_rows)
    ]
    held: list[tuple[tuple[int, ...], list[int]]] = []
    for ids, rows in chunks:
        draws = max(len(rows), *(len(other) for _, other in held), 0)
        fits = (len(held) + 1) * draws <= max_rows and (mixed or not held or len(held[0][0]) == len(ids))
        if held and not fits:
            yield _table(held)
            held = []
        held.append((ids, rows))
    if held:
        yield _table(held)


def _table(held: Sequence[tuple[tuple[int, ...], list[int]]]) -> _Table:
    rows = np.full((len(held), max(len(each) for _, each in held)), -1)
    for place, (_, each) in enumerate(held):
        rows[place, : len(each)] = each
    return _Table(tuple(ids for ids, _ in held), rows)


class _Source:
    """A model with what it has read of a table, and the exponent of its law."""

    def __init__(self, lm: PreTrainedModel, exponent: float) -> None:
        self.lm, self.exponent, self.shared = lm.eval(), exponent, False

    def prefill(self, prompts: Sequence[tuple[int, ...]], draws: int, room: int) -> None:
        """Read each prompt once, for all of its draws."""
        if self.shared:
            self.cache: Any = SharedPrefix(self.lm, prompts, draws=draws, room=room)
            self.hidden = self.cache.last.repeat_interleave(draws, 0)
            return
        self.cache = DynamicCache(config=self.lm.config)
        ids = torch.tensor(prompts, device=self.lm.device)
        output = self.lm.base_model(input_ids=ids, past_key_values=self.cache, use_cache=True)
        self.cache.batch_repeat_interleave(draws)
        self.hidden = output.last_hidden_state[:, -1].repeat_interleave(draws, 0)

    def read(self, token: Tensor) -> None:
        """Append one token to every row."""
        if self.shared:
            self.hidden = self.cache.read(self.lm, token[:, None])[:, -1]
            return
        output = self.lm.base_model(input_ids=token[:, None], past_key_values=self.cache, use_cache=True)
        self.hidden = output.last_hidden_state[:, -1]

    def keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Keep these prompts, and of the rows these."""
        if self.shared:
            self.cache.keep(prompts, rows)
        else:
            self.cache.batch_select_indices(rows)

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


def _sample_table(
    sources: Sequence[_Source], table: _Table, requests: Sequence[Request], seed: int, eos_id: int,
    horizon: int, temperature: float,
) -> dict[int, Drawn]:  # fmt: skip
    """Return the response to each request of the table, by its row among the requests."""
    where = sources[0].lm.device
    numbers = table.rows[
        table.rows >= 0
    ]  # the table's requests, in order; below, a request is its place here
    noise = np.stack([uniforms(seed, requests[i].prompt_id, requests[i].draw, horizon) for i in numbers])
    drawn = _Progress(torch.from_numpy(noise).to(where), horizon)
    there = torch.from_numpy(table.rows >= 0).to(where)
    rows = torch.where(there, (there.flatten().cumsum(0) - 1).view_as(there), -1)
    for source in sources:
        source.prefill(table.prompts, rows.shape[1], horizon)
    ended = ~there
    for t in range(horizon):
        law, kl = _next_law(sources)
        token = _draw(law, drawn.noise[rows.flatten(), t], temperature)
        drawn.note(t, token, law, kl, rows.flatten(), ~ended.flatten())
        ended = ended | (token == eos_id).view_as(ended)
        if t == horizon - 1 or bool(ended.all()):
            break
        live = (~ended).sum(1)
        prompts, draws = (live > 0).nonzero()[:, 0], int(live.max())
        if len(prompts) * draws < COMPACT_BELOW * ended.numel():
            first = ended[prompts].to(torch.uint8).argsort(dim=1, stable=True)[:, :draws]  # live ones first
            kept = (prompts[:, None] * ended.shape[1] + first).flatten()
            for source in sources:
                source.keep(prompts, kept)
            rows, ended = (each.flatten()[kept].view(-1, draws) for each in (rows, ended))
            token = token[kept]
        for source in sources:
            source.read(token)
    return dict(zip(numbers.tolist(), drawn.responses(), strict=True))


class _Progress:
    """What has been drawn of each request so far; `noise` (requests, horizon) holds its uniform numbers."""

    def __init__(self, noise: Tensor, horizon: int) -> None:
        self.noise = noise
        self.tokens = torch.zeros(noise.shape, dtype=torch.int64, device=noise.device)
        self.lengths = torch.zeros(len(noise), dtype=torch.int64, device=noise.device)
        self.logprobs, self.kls = torch.zeros((2, len(noise)), dtype=torch.float64, device=noise.device)

    def note(self, t: int, token: Tensor, law: Tensor, kl: Tensor | None, rows: Tensor, live: Tensor) -> None:
        """Note token `t` of the rows that are live, and what the law gave it."""
        now = rows[live]
        self.tokens[now, t] = token[live]
        self.lengths[now] = t + 1
        self.logprobs[now] += law.gather(-1, token[:, None])[:, 0][live]
        if kl is not None:
            self.kls[now] += kl[live]

    def responses(self) -> Iterator[Drawn]:
        """Yield the responses, cut where they ended."""
        columns = (self.tokens, self.lengths, self.logprobs, self.kls)
        for ids, length, logprob, kl in zip(*(each.tolist() for each in columns), strict=True):
            yield Drawn(tuple(ids[:length]), logprob, kl)


def _draw(law: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Invert the cumulative law at the row's own uniform number; `law` is float64 log-probabilities."""
    if temperature == 0:
        return law.argmax(-1)
    mass = (law if temperature == 1 else (law / temperature).log_softmax(-1)).exp().cumsum(-1)
    token = torch.searchsorted(mass, (noise * mass[:, -1])[:, None], right=True)[:, 0]
    return token.clamp(max=law.shape[-1] - 1)
