"""Sampling responses: a cached decoder that works on any causal model of transformers.

By default temperature is 1, nothing is truncated and dropout is off. Samples then follow the policy's law,
and the log-probabilities recorded with them are those of that law. Each (prompt, draw) has uniform numbers of
its own, so a sample does not depend on the other rows of its batch. Finished rows are dropped from the batch.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from afd_study.errors import DataError, SpecError
from afd_study.models.copied_prefix import CopiedPrefix
from afd_study.models.kernels import shared_prefix
from afd_study.models.prompt_tables import PromptTable, tables_to_draw
from afd_study.models.scoring import output_logits
from afd_study.models.stop_strings import Stop
from afd_study.models.token_sampling import draw, uniforms

COMPACT_BELOW = 0.85  # share of live rows under which it is faster to drop the finished ones
# Prompts of fewer than SHORT tokens with MANY draws each are faster copied to their draws (book/log.md).
SHORT = 16
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

    `kl` is summed over the response's prefixes (nats): at each the KL from the next-token law that was drawn
    from to the policy's own. It is 0 but for an extrapolation.
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


class _Draws(NamedTuple):
    """How each response is drawn."""

    seed: int
    eos_id: int
    horizon: int  # most tokens of a response
    temperature: float
    stop: Stop | None


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
    A response that writes a text of `stop` ends there: it is cut before that text and given the end mark, and
    its log-probability is then that of the ids that are left.
    `progress` is called with the number of responses that are finished.

    Raises DataError where a prompt and `max_new_tokens` exceed the context; SpecError for settings out of
    range, and for an extrapolation with a stop.
    """
    longest = max((len(request.ids) for request in requests), default=0)
    _refuse_misfit(lm, longest, max_new_tokens, temperature, with_both=bool(stop and extrapolation))
    draws = _Draws(seed, eos_id, max_new_tokens, temperature, stop)
    sources = _sources(lm, extrapolation)
    prompts = [request.ids for request in requests]
    shared = hold_prompts_once(prompts) and all(shared_prefix.supports(source.lm) for source in sources)
    prefix = shared_prefix.SharedPrefix if shared else CopiedPrefix
    responses: list[Drawn | None] = [None] * len(requests)
    done = 0
    for table in tables_to_draw(prompts, max_rows, mixed=shared):
        for source in sources:
            source.read_prompts(prefix, table, max_new_tokens)
        for row, response in _draw_table(sources, table, requests, draws).items():
            responses[row] = response
            done += 1
        progress(done)
    drawn = cast(list[Drawn], responses)  # every request stands in exactly one table
    return drawn if stop is None else _cut(lm, prompts, drawn, stop, eos_id)


def _refuse_misfit(
    lm: PreTrainedModel, longest: int, max_new_tokens: int, temperature: float, *, with_both: bool
) -> None:
    """Raise what `sample` raises; `longest` is the number of tokens of the longest prompt."""
    if max_new_tokens < 1 or temperature < 0:
        raise SpecError(f"max_new_tokens={max_new_tokens} must be >= 1 and temperature={temperature} >= 0")
    if with_both:
        raise SpecError("a response of an extrapolation ends at its end mark alone: leave stop out")
    context = getattr(lm.config.get_text_config(), "max_position_embeddings", None)
    if context is not None and longest + max_new_tokens > context:
        raise DataError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the context of {context}: "
            "shorten prompts (max_prompt_tokens) or lower max_new_tokens"
        )


def hold_prompts_once(prompts: Sequence[tuple[int, ...]]) -> bool:
    """Tell whether to hold each prompt once for all of its draws, rather than to copy it to them.

    `prompts` has one entry a draw. Copies are faster where there are many draws of short prompts.
    """
    longest = max(map(len, prompts), default=0)
    return longest >= SHORT or len(prompts) < MANY * len(set(prompts))


def _cut(
    lm: PreTrainedModel, prompts: Sequence[tuple[int, ...]], drawn: list[Drawn], stop: Stop, eos_id: int
) -> list[Drawn]:
    """Return the responses, of which those that hold a stop text are cut before it."""
    shorter = stop.cut(lm, prompts, [each.ids for each in drawn], eos_id)
    return [Drawn(*shorter[row]) if row in shorter else each for row, each in enumerate(drawn)]


class _Source:
    """A model that is drawn from, what it has read of a table, and the exponent of its law."""

    def __init__(self, lm: PreTrainedModel, exponent: float) -> None:
        self.lm, self.exponent = lm.eval(), exponent

    def read_prompts(
        self, prefix: type[shared_prefix.SharedPrefix] | type[CopiedPrefix], table: PromptTable, room: int
    ) -> None:
        """Read each prompt of a table once, for all of its draws of up to `room` tokens."""
        draws = table.rows.shape[1]
        self.prefix = prefix(self.lm, table.prompts, draws=draws, room=room)
        self.hidden = self.prefix.last.repeat_interleave(draws, 0)

    def read(self, token: Tensor) -> None:
        """Append one token to every row; `token` is (rows,)."""
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
    """Return logits of the law to draw from, and its KL to the first source's law (None: it is that law)."""
    if len(sources) == 1:
        return sources[0].logits(), None
    own = sources[0].law()
    # a token of probability 0 keeps it: -inf times a negative exponent would make it the likeliest
    tilted = sum(source.exponent * source.law() for source in sources[1:]) + sources[0].exponent * own
    tilted = tilted.masked_fill(own == -torch.inf, -torch.inf).log_softmax(-1)
    return tilted, (tilted.exp() * (tilted - own).nan_to_num(0.0)).sum(-1)


def _draw_table(
    sources: Sequence[_Source], table: PromptTable, requests: Sequence[Request], draws: _Draws
) -> dict[int, Drawn]:
    """Draw the responses to a table's requests, whose prompts have been read; return them by request."""
    device = sources[0].lm.device
    places = table.rows[table.rows >= 0]  # of this table's requests among all, row by row
    noise = [uniforms(draws.seed, requests[i].prompt_id, requests[i].draw, draws.horizon) for i in places]
    written = _Written(torch.from_numpy(np.stack(noise)).to(device))
    is_request = torch.from_numpy(table.rows >= 0).to(device)
    # (prompts, draws), as are both below: which of `written`'s responses stands in a row of the KV cache
    rows = torch.where(is_request, (is_request.flatten().cumsum(0) - 1).view_as(is_request), -1)
    ended = ~is_request
    for t in range(draws.horizon):
        logits, kl = _next_logits(sources)
        token, logprob = draw(logits, written.noise[rows.flatten(), t], draws.temperature)
        written.append(t, token, logprob, kl, rows.flatten(), ~ended.flatten())
        ended = ended | (token == draws.eos_id).view_as(ended)
        if draws.stop is not None:
            stopped = draws.stop.met(written.tokens[:, : t + 1], rows.flatten(), ~ended.flatten())
            ended = ended | stopped.view_as(ended)
        if t == draws.horizon - 1 or bool(ended.all()):
            break
        live = (~ended).sum(1)
        prompts, widest = (live > 0).nonzero()[:, 0], int(live.max())
        if len(prompts) * widest < COMPACT_BELOW * ended.numel():
            keep = _live_rows(ended, prompts, widest)
            for source in sources:
                source.prefix.keep(prompts, keep)
            rows, ended = (each.flatten()[keep].view(-1, widest) for each in (rows, ended))
            token = token[keep]
        for source in sources:
            source.read(token)
    return dict(zip(places.tolist(), written.responses(), strict=True))


def _live_rows(ended: Tensor, prompts: Tensor, widest: int) -> Tensor:
    """Return `widest` rows for each of `prompts`, flat: those that have not ended, then as many as it takes.

    `ended` is (prompts, draws), and rows count through it prompt by prompt.
    """
    live_first = ended[prompts].to(torch.uint8).argsort(dim=1, stable=True)[:, :widest]
    return (prompts[:, None] * ended.shape[1] + live_first).flatten()


class _Written:
    """What has been written of each response; `noise` (responses, horizon) holds its uniform numbers."""

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise
        self.tokens = torch.zeros(noise.shape, dtype=torch.int64, device=noise.device)
        self.lengths = torch.zeros(len(noise), dtype=torch.int64, device=noise.device)
        self.logprobs, self.kls = torch.zeros((2, len(noise)), dtype=torch.float64, device=noise.device)

    def append(
        self, t: int, token: Tensor, logprob: Tensor, kl: Tensor | None, rows: Tensor, live: Tensor
    ) -> None:
        """Write token `t` of the responses that are live, and add its log-probability and KL to theirs.

        All tensors are (rows,); `rows` says which response each is.
        """
        responses = rows[live]
        self.tokens[responses, t] = token[live]
        self.lengths[responses] = t + 1
        self.logprobs[responses] += logprob[live]
        if kl is not None:
            self.kls[responses] += kl[live]

    def responses(self) -> Iterator[Drawn]:
        """Yield the responses, cut where they ended."""
        columns = (self.tokens, self.lengths, self.logprobs, self.kls)
        for ids, length, logprob, kl in zip(*(each.tolist() for each in columns), strict=True):
            yield Drawn(tuple(ids[:length]), logprob, kl)
