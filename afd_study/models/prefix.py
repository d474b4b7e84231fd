"""Many responses to one prompt: its keys and values are held once, however many responses read them.

Rows are laid out as prompts x draws. A layer of `SharedPrefix` holds the keys and values of its prompts, and
those of each row's own tokens, which grow in memory set aside for them. `attend`, registered with transformers under
NAME, lets a row attend to both at once; so any model whose attention can be named in its config reads through
it unchanged. A copy of the prompt for each row would have to be moved at every token.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "afd_shared_prefix"
_reading: ContextVar["SharedPrefix"] = ContextVar("the cache that a pass reads")


class _Layer(CacheLayerMixin):
    """A layer's keys and values: (prompts, heads, longest, width), and (rows, heads, room, width) of its own."""

    def __init__(self, keys: Tensor, values: Tensor, draws: int, room: int) -> None:
        super().__init__()
        self.keys, self.values, self.filled = keys, values, 0
        shape = (len(keys) * draws, keys.shape[1], room, keys.shape[3])
        self.own_keys, self.own_values = keys.new_empty(shape), values.new_empty(shape)
        self.is_initialized = True

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
    """Prompts, read once, and room for `draws` responses of up to `room` tokens to each."""

    def __init__(
        self, lm: PreTrainedModel, prompts: Sequence[Sequence[int]], *, draws: int, room: int
    ) -> None:
        """Read the prompts; `last` is the final hidden state at the end of each, (prompts, width)."""
        lengths = [len(ids) for ids in prompts]
        longest = max(lengths)
        ids = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in prompts], device=lm.device)
        read = DynamicCache(config=lm.config)
        hidden = lm.base_model(input_ids=ids, past_key_values=read, use_cache=True).last_hidden_state
        super().__init__(layers=[_Layer(each.keys, each.values, draws, room) for each in read.layers])
        self.lengths = torch.tensor(lengths, device=lm.device)
        self.last = hidden[torch.arange(len(prompts), device=lm.device), self.lengths - 1]
        self._bar()

    def _bar(self) -> None:
        """Note which of the padded prompts' positions nobody may read: (prompts, 1, 1, longest), 0 or -inf."""
        places = torch.arange(self.layers[0].keys.shape[2], device=self.lengths.device)
        padding = places >= self.lengths[:, None]
        barred = torch.zeros_like(padding, dtype=self.last.dtype).masked_fill(padding, -torch.inf)
        self.barred = barred[:, None, None] if bool(padding.any()) else None

    def keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Keep these prompts, and of the rows these: as many for each prompt, prompt by prompt."""
        for layer in self.layers:
            layer.keep(prompts, rows)
        self.lengths = self.lengths[prompts]
        self._bar()

    def read(self, lm: PreTrainedModel, ids: Tensor) -> Tensor:
        """Append `ids` (rows, tokens) to the rows and return their final hidden states (rows, tokens, width)."""
        draws = len(ids) // len(self.lengths)
        first = self.lengths.repeat_interleave(draws) + self.layers[0].filled
        places = first[:, None] + torch.arange(ids.shape[1], device=ids.device)
        with _attending(lm, self):
            return lm.base_model(
                input_ids=ids, position_ids=places, past_key_values=self, use_cache=True
            ).last_hidden_state


def applies(lm: PreTrainedModel) -> bool:
    """Tell whether a model can read through `attend`: plain causal attention that its config can name."""
    config = lm.config.get_text_config()
    odd = ("sliding_window", "attn_logit_softcapping", "attention_chunk_size")
    plain = not any(getattr(config, name, None) for name in odd)
    named = config._attn_implementation in ("sdpa", "eager") and lm._can_set_attn_implementation()
    return plain and named and not getattr(config, "scale_attn_by_inverse_layer_idx", False)


@contextmanager
def _attending(lm: PreTrainedModel, cache: SharedPrefix) -> Iterator[None]:
    """Let the model's attention be `attend` for a while."""
    config = lm.base_model.config
    usual, token = config._attn_implementation, _reading.set(cache)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = usual
        _reading.reset(token)


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    scaling: float | None = None, **kwargs: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attend to a row's prompt and to its own tokens: one softmax over both.

    `query` (rows, heads, tokens, width), `key` and `value` (rows, key heads, own, width), of which the last `tokens` are the query's
    own. Returns (rows, tokens, heads, width), as transformers expects.
    """
    cache = _reading.get()
    layer = cache.layers[module.layer_idx]
    rows, heads, tokens, width = query.shape
    prompts, kinds = layer.keys.shape[:2]
    draws, sharing = rows // prompts, heads // kinds
    query = query * (width**-0.5 if scaling is None else scaling)
    # queries of all draws of a prompt, and of all heads that share a key, stand side by side
    asked = query.view(prompts, draws, kinds, sharing * tokens, width)
    together = asked.transpose(1, 2).reshape(prompts, kinds, draws * sharing * tokens, width)
    to_prompt = together @ layer.keys.transpose(-1, -2)
    if cache.barred is not None:
        to_prompt = to_prompt + cache.barred
    to_prompt = to_prompt.view(prompts, kinds, draws, sharing * tokens, -1).transpose(1, 2)
    apart = query.view(rows, kinds, sharing * tokens, width)
    to_own = apart @ key.transpose(-1, -2)
    if tokens > 1:
        later = torch.ones(tokens, key.shape[2], dtype=torch.bool, device=key.device).triu(
            key.shape[2] - tokens + 1
        )
        to_own = to_own.view(rows, heads, tokens, -1).masked_fill(later, -torch.inf).view_as(to_own)
    both = torch.cat([to_prompt.reshape(rows, kinds, sharing * tokens, -1), to_own], -1).softmax(-1)
    on_prompt, on_own = both.split([layer.keys.shape[2], key.shape[2]], -1)
    on_prompt = on_prompt.view(prompts, draws, kinds, sharing * tokens, -1).transpose(1, 2)
    found = on_prompt.reshape(prompts, kinds, draws * sharing * tokens, -1) @ layer.values
    found = found.view(prompts, kinds, draws, sharing * tokens, width).transpose(1, 2)
    found = found.reshape(rows, heads, tokens, width) + (on_own @ value).view(rows, heads, tokens, width)
    return found.transpose(1, 2), None


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
