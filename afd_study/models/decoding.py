"""Sampling responses: a cached decoder that works on any causal model of transformers.

Temperature 1, no truncation and dropout off by default: then samples follow the policy's law and their
recorded log-probabilities are those of that law. Each (prompt, draw) has uniform numbers of its own, so
that a sample does not depend on what shares its batch; finished rows are dropped from the batch as they end.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from afd_study.errors import DataError, SpecError
from afd_study.models.kernels.shared_prefix import CopiedPrefix, SharedPrefix, applies
from afd_study.models.scoring import output_logits
from afd_study.models.stop_strings import Stop
from afd_study.models.token_sampling import draw, uniforms

COMPACT_BELOW = 0.85  # share of live rows under which dropping the finished ones pays
SHORT = (
    16  # tokens: prompts under which, drawn for MANY times, are cheaper copied to their draws (book/log.md)
)
MANY = 64


class Request(NamedTuple):
    """One response to draw: the prompt's name and ids, and the number of the draw."""

    prompt_id: str
    ids: tuple[int, ...]
    draw: int

    @property
    def prompt(self) -> tuple[int, ...]:
        """All of its ids."""
        return self.ids


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
    stop: Stop | None = None,
    max_rows: int = 1024,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Drawn]:
    """Draw one response a request, in the requests' order; at `temperature` 0 the likeliest token each time.

    With `extrapolation` responses are drawn from the tilted law, and their log-probabilities are that law's.
    A response that writes a text of `stop` ends there; it is cut before that text and given the end mark, and
    its log-probability is that of the ids as they then stand.
    `progress` is called with the number of responses that have been finished.

    Raises DataError where a prompt and `max_new_tokens` exceed the context, SpecError for settings out of
    range, and for an extrapolation with a stop.
    """
    if max_new_tokens < 1 or temperature < 0:
        raise SpecError(f"max_new_tokens={max_new_tokens} must be >= 1 and temperature={temperature} >= 0")
    if stop is not None and extrapolation is not None:
        raise SpecError("a response of an extrapolation ends at its end mark alone: leave stop out")
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
    prefix = SharedPrefix if shared else CopiedPrefix
    for table in _tables(requests, max_rows, mixed=shared):
        for source in sources:
            source.prefill(prefix, table, max_new_tokens)
        drawn = _sample_table(sources, table, requests, seed, eos_id, max_new_tokens, temperature, stop)
        for row, response in drawn.items():
            results[row] = response
        done += len(drawn)
        progress(done)
    every = cast(list[Drawn], results)  # for every row was in exactly one batch
    return every if stop is None else _cut(lm, requests, every, stop, eos_id)


def _cut(
    lm: PreTrainedModel, requests: Sequence[Request], drawn: Sequence[Drawn], stop: Stop, eos_id: int
) -> list[Drawn]:
    """Return what was drawn, with the responses that hold a stop text cut before it."""
    kept, prompts = list(drawn), [request.ids for request in requests]
    for row, (ids, logprob) in stop.cut(lm, prompts, [each.ids for each in drawn], eos_id).items():
        kept[row] = Drawn(ids, logprob)
    return kept


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

    def order(prompt: tuple[tuple[int, ...], list[int]]) -> tuple[int, int]:
        # side by side what wastes least: equally many draws first where lengths may differ
        length, draws = len(prompt[0]), -len(prompt[1])
        return (draws, length) if mixed else (length, draws)

    chunks = [
        (ids, rows[first : first + max_rows])
        for ids, rows in sorted(asked.items(), key=order)
        for first in range(0, len(rows), max_rows)
    ]
    held: list[tuple[tuple[int, ...], list[int]]] = []
    widest = 0
    for ids, rows in chunks:
        widest = max(widest, len(rows)) if held else len(rows)
        fits = (len(held) + 1) * widest <= max_rows and (mixed or not held or len(held[0][0]) == len(ids))
        if held and not fits:
            yield _table(held)
            held, widest = [], len(rows)
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
        self.lm, self.exponent = lm.eval(), exponent

    def prefill(self, prefix: type[SharedPrefix] | type[CopiedPrefix], table: _Table, room: int) -> None:
        """Read each prompt of a table once, for all of its draws."""
        draws = table.rows.shape[1]
        self.prefix = prefix(self.lm, table.prompts, draws=draws, room=room)
        self.hidden = self.prefix.last.repeat_interleave(draws, 0)

    def read(self, token: Tensor) -> None:
        """Append one token to every row."""
        self.hidden = self.prefix.read(self.lm, token[:, None])[:, -1]

    def logits(self) -> Tensor:
        """Next-token logits, (rows, vocabulary), float32."""
        return output_logits(self.lm, self.hidden)

    def law(self) -> Tensor:
        """Log-probabilities of the next token, (rows, vocabulary), float64."""
        return self.logits().double().log_softmax(-1)


def _sources(lm: PreTrainedModel, extrapolation: Extrapolation | None) -> list[_Source]:
    if extrapolation is None:
        return [_Source(lm, 1.0)]
    strength = extrapolation.strength
    return [_Source(lm, strength), _Source(extrapolation.origin, 1 - strength)]


def _next_logits(sources: Sequence[_Source]) -> tuple[Tensor, Tensor | None]:
    """Return logits of the law to draw from, and its KL to the first source's own (None: they are one)."""
    if len(sources) == 1:
        return sources[0].logits(), None
    own = sources[0].law()
    # a token that both laws bar stays barred: -inf times a negative exponent would make it the likeliest
    tilted = sum(source.exponent * source.law() for source in sources[1:]) + sources[0].exponent * own
    tilted = tilted.masked_fill(own == -torch.inf, -torch.inf).log_softmax(-1)
    return tilted, (tilted.exp() * (tilted - own).nan_to_num(0.0)).sum(-1)


def _sample_table(
    sources: Sequence[_Source], table: _Table, requests: Sequence[Request], seed: int, eos_id: int,
    horizon: int, temperature: float, stop: Stop | None,
) -> dict[int, Drawn]:  # fmt: skip
    """Return the response to each request of the table, which sources have read, by its row among all."""
    where = sources[0].lm.device
    numbers = table.rows[table.rows >= 0]  # in order; below, a request goes by its place among these
    noise = np.stack([uniforms(seed, requests[i].prompt_id, requests[i].draw, horizon) for i in numbers])
    drawn = _Progress(torch.from_numpy(noise).to(where), horizon)
    there = torch.from_numpy(table.rows >= 0).to(where)
    rows = torch.where(there, (there.flatten().cumsum(0) - 1).view_as(there), -1)
    ended = ~there
    for t in range(horizon):
        logits, kl = _next_logits(sources)
        token, logprob = draw(logits, drawn.noise[rows.flatten(), t], temperature)
        drawn.note(t, token, logprob, kl, rows.flatten(), ~ended.flatten())
        ended = ended | (token == eos_id).view_as(ended)
        if stop is not None:
            said, live = drawn.tokens[:, : t + 1], ~ended.flatten()
            ended = ended | stop.met(said, rows.flatten(), live).view_as(ended)
        if t == horizon - 1 or bool(ended.all()):
            break
        live = (~ended).sum(1)
        prompts, draws = (live > 0).nonzero()[:, 0], int(live.max())
        if len(prompts) * draws < COMPACT_BELOW * ended.numel():
            first = ended[prompts].to(torch.uint8).argsort(dim=1, stable=True)[:, :draws]  # live ones first
            kept = (prompts[:, None] * ended.shape[1] + first).flatten()
            for source in sources:
                source.prefix.keep(prompts, kept)
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

    def note(
        self, t: int, token: Tensor, logprob: Tensor, kl: Tensor | None, rows: Tensor, live: Tensor
    ) -> None:
        """Note token `t` of the rows that are live, and its log-probability."""
        now = rows[live]
        self.tokens[now, t] = token[live]
        self.lengths[now] = t + 1
        self.logprobs[now] += logprob[live]
        if kl is not None:
            self.kls[now] += kl[live]

    def responses(self) -> Iterator[Drawn]:
        """Yield the responses, cut where they ended."""
        columns = (self.tokens, self.lengths, self.logprobs, self.kls)
        for ids, length, logprob, kl in zip(*(each.tolist() for each in columns), strict=True):
            yield Drawn(tuple(ids[:length]), logprob, kl)
