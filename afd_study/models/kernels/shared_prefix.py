"""Many responses to one prompt: its keys and values are held once, however many responses read them.

Rows are laid out as prompts x draws. A layer of `SharedPrefix` holds the keys and values of its prompts, and
those of each row's own tokens, which grow in memory set aside for them. `attend`, registered with
transformers under NAME, lets a row attend to both at once; so any model whose attention can be named in its
config reads through it unchanged. A copy of the prompt for each row would have to be moved at every token.

With a softmax over two sets of keys, whose own attentions are o1 and o2 and whose sums of exponentials have
the logarithms s1 and s2, the whole is o1 sigmoid(s1 - s2) + o2 sigmoid(s2 - s1).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from afd_study.models.kernels import short_attention

NAME = "afd_shared_prefix"
Pass = Callable[[Any, Tensor, Tensor, Cache], Tensor]  # model, ids, their places, what stands before them
_reading: ContextVar["SharedPrefix"] = ContextVar("the cache that a pass reads")


class _Layer(CacheLayerMixin):
    """Keys and values of prompts (prompts, heads, longest, width) and of rows (rows, heads, room, width)."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys: Tensor = keys
        self.values: Tensor = values
        self.is_initialized = True

    def begin(self, draws: int, room: int) -> None:
        """Set memory aside for `draws` fresh rows a prompt, of up to `room` tokens."""
        self.filled = 0
        shape = (len(self.keys) * draws, self.keys.shape[1], room, self.keys.shape[3])
        self.own_keys, self.own_values = self.keys.new_empty(shape), self.values.new_empty(shape)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is left to do."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append to the rows' own, and return these."""
        first, self.filled = self.filled, self.filled + key_states.shape[2]
        self.own_keys[:, :, first : self.filled] = key_states
        self.own_values[:, :, first : self.filled] = value_states
        return self.own_keys[:, :, : self.filled], self.own_values[:, :, : self.filled]

    def get_seq_length(self) -> int:
        """Return the tokens of the longest row."""
        return self.keys.shape[2] + self.filled

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return length and offset, as transformers asks; no mask is made from it."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """Return that there is no bound but the memory set aside."""
        return -1

    def keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Keep these prompts, and of the rows these."""
        if len(prompts) < len(self.keys):
            self.keys, self.values = self.keys[prompts], self.values[prompts]
        for name in ("own_keys", "own_values"):
            old = getattr(self, name)
            fresh = old.new_empty((len(rows), *old.shape[1:]))
            fresh[:, :, : self.filled] = old[:, :, : self.filled][rows]
            setattr(self, name, fresh)


class SharedPrefix(Cache):
    """Prompts, read once, and room for `draws` responses of up to `room` tokens to each.

    `states` are the hidden states of the prompts, (prompts, longest, width), and `last` those at the end of
    each, (prompts, width): final ones, or what `through` returns.
    """

    def __init__(
        self, lm: Any, prompts: Sequence[Sequence[int]], *, draws: int = 1, room: int = 0,
        through: Pass | None = None,
    ) -> None:  # fmt: skip
        """Read the prompts by `through`: all of the model if None."""
        lengths = [len(ids) for ids in prompts]
        longest = max(lengths)
        ids = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in prompts], device=lm.device)
        read: Any = DynamicCache(config=lm.config)
        self.through = through or _whole
        self.states = self.through(lm, ids, torch.arange(longest, device=lm.device)[None], read)
        self.held = [_Layer(each.keys, each.values) for each in read.layers if each.is_initialized]
        super().__init__(layers=list(self.held))  # the same layers, whose kind transformers need not know
        self.begin(draws, room)
        self.lengths = torch.tensor(lengths, device=lm.device)
        self.last = self.states[torch.arange(len(prompts), device=lm.device), self.lengths - 1]
        self.barred: Tensor | None = None  # (prompts, 1, 1, longest): -inf where a shorter prompt is padded
        if min(lengths) < longest:
            padding = torch.arange(longest, device=lm.device) >= self.lengths[:, None]
            barred = torch.zeros_like(padding, dtype=self.states.dtype).masked_fill(padding, -torch.inf)
            self.barred = barred[:, None, None]

    def begin(self, draws: int, room: int) -> None:
        """Forget the rows, and set memory aside for `draws` fresh ones a prompt, of up to `room` tokens."""
        self.filled = 0
        for layer in self.held:
            layer.begin(draws, room)

    def keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Keep these prompts, and of the rows these: as many for each prompt, prompt by prompt."""
        for layer in self.held:
            layer.keep(prompts, rows)
        self.lengths = self.lengths[prompts]
        self.barred = None if self.barred is None else self.barred[prompts]

    def read(self, lm: Any, ids: Tensor) -> Tensor:
        """Append `ids` (rows, tokens) to the rows; return final hidden states (rows, tokens, width)."""
        draws = len(ids) // len(self.lengths)
        first = self.lengths.repeat_interleave(draws) + self.filled
        places = first[:, None] + torch.arange(ids.shape[1], device=ids.device)
        self.filled += ids.shape[1]
        with _attending(lm, self):
            return self.through(lm, ids, places, self)


def _whole(lm: Any, ids: Tensor, places: Tensor, cache: Cache) -> Tensor:
    """Take `ids` through all of the model; return final hidden states."""
    return lm.base_model(
        input_ids=ids, position_ids=places, past_key_values=cache, use_cache=True
    ).last_hidden_state


class CopiedPrefix:
    """The same with a copy of its prompt for each row, for prompts of equal length and any attention."""

    def __init__(self, lm: Any, prompts: Sequence[Sequence[int]], *, draws: int, room: int) -> None:
        """Read the prompts once and copy their keys and values; `room` is not needed."""
        self.cache: Any = DynamicCache(config=lm.config)
        ids = torch.tensor(prompts, device=lm.device)
        self.last = self.read(lm, ids)[:, -1]
        self.cache.batch_repeat_interleave(draws)

    def keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Keep these rows; each has its prompt with it."""
        self.cache.batch_select_indices(rows)

    def read(self, lm: Any, ids: Tensor) -> Tensor:
        """Append `ids` (rows, tokens) to the rows; return final hidden states (rows, tokens, width)."""
        return lm.base_model(input_ids=ids, past_key_values=self.cache, use_cache=True).last_hidden_state


def applies(lm: Any) -> bool:
    """Tell whether a model can read through `attend`: plain causal attention that its config can name."""
    config = lm.config.get_text_config()
    odd = ("sliding_window", "attn_logit_softcapping", "attention_chunk_size")
    plain = not any(getattr(config, name, None) for name in odd)
    known = ("sdpa", "eager", short_attention.NAME)
    named = config._attn_implementation in known and lm._can_set_attn_implementation()
    return plain and named and not getattr(config, "scale_attn_by_inverse_layer_idx", False)


@contextmanager
def attention(config: Any, name: str) -> Iterator[None]:
    """Let a model's attention be the registered one of that name for a while."""
    usual, config._attn_implementation = config._attn_implementation, name
    try:
        yield
    finally:
        config._attn_implementation = usual


@contextmanager
def _attending(lm: Any, cache: SharedPrefix) -> Iterator[None]:
    """Let the model's attention be `attend` for a while, to `cache`."""
    token = _reading.set(cache)
    try:
        with attention(lm.base_model.config, NAME):
            yield
    finally:
        _reading.reset(token)


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    scaling: float | None = None, **kwargs: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attend to a row's prompt and to its own tokens, as one softmax over both would.

    `query` (rows, heads, tokens, width), `key` and `value` (rows, key heads, own, width), of which the last
    `tokens` are the query's own. Returns (rows, tokens, heads, width), as transformers expects.
    """
    cache = _reading.get()
    layer = cache.held[module.layer_idx]
    rows, heads, tokens, width = query.shape
    prompts, kinds = layer.keys.shape[:2]
    draws, asked = rows // prompts, heads // kinds * tokens
    scale = width**-0.5 if scaling is None else scaling
    # the queries of all draws of a prompt, and of all heads that share a key, stand side by side
    apart = query.reshape(rows, kinds, asked, width)
    together = apart.view(prompts, draws, kinds, asked, width).transpose(1, 2).flatten(2, 3)
    on_prompt, weight = _attended(together, layer.keys, layer.values, cache.barred, scale, tokens)
    on_prompt, weight = (
        each.unflatten(2, (draws, asked)).transpose(1, 2).flatten(0, 1) for each in (on_prompt, weight)
    )
    fresh = tokens == key.shape[2] and heads == kinds  # then the kernel's own causal order is the right one
    later = _later(tokens, key.shape[2], heads // kinds, query) if tokens > 1 and not fresh else None
    on_own, other = _attended(apart, key, value, later, scale, tokens, causal=fresh)
    share = (weight - other).sigmoid()[..., None]  # of the prompt in the softmax over both
    found = torch.lerp(on_own, on_prompt, share)
    return found.view(rows, heads, tokens, width).transpose(1, 2), None


def _later(tokens: int, own: int, sharing: int, like: Tensor) -> Tensor:
    """Return what bars a token from those behind it: (1, 1, heads of a key x tokens, own), 0 or -inf."""
    barred = torch.full((tokens, own), -torch.inf, dtype=like.dtype, device=like.device)
    return barred.triu(own - tokens + 1).repeat(sharing, 1)[None, None]


def _attended(
    query: Tensor, key: Tensor, value: Tensor, barred: Tensor | None, scale: float, tokens: int,
    *, causal: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return attention's output, and the logarithm of the sum that its softmax divides by.

    `causal` is for as many queries as keys. The CPU's own kernel is the slower one for a token a row.
    """
    if tokens > 1 and query.device.type == "cpu" and query.dtype == torch.float32:
        if barred is not None:
            barred = barred.expand(len(query), -1, query.shape[2], -1)
        found, weight = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, causal, attn_mask=barred, scale=scale
        )
        return found, weight
    logits = (query @ key.transpose(-1, -2)).mul_(scale)
    if causal:
        barred = _later(query.shape[2], key.shape[2], 1, query)
    if barred is not None:
        logits += barred
    highest = logits.amax(-1, keepdim=True)
    shares = logits.sub_(highest).exp_()
    total = shares.sum(-1, keepdim=True)
    return (shares @ value).div_(total), (highest + total.log())[..., 0]


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
