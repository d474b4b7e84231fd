"""Many responses to one prompt: its keys and values are held once, however many responses read them.

A KV cache whose rows are prompts x draws, prompt by prompt. Each layer of `SharedPrefix` holds the keys and
values of the prompts once, and those of each row's own tokens in memory that is set aside for them. `attend`,
registered with transformers under NAME, lets a row attend to both at once. So any model whose config names
its attention reads through this cache unchanged. With a copy of the prompt in each row, as transformers' own
cache has it, every copy would have to be moved through memory at every token.

A softmax over two sets of keys is put together from the attention to each set. Let these be o1 and o2, and
let s1 and s2 be the logarithms of their sums of exponentials. Attention to both is then
o1 sigmoid(s1 - s2) + o2 sigmoid(s2 - s1).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from afd_study.models.kernels import switch

NAME = "afd_shared_prefix"
NAMES = ("sdpa", "eager")  # plain attention, which `attend` can stand in for
# model, ids (rows, tokens), their positions, the cache of what stands before them -> hidden states
Pass = Callable[[PreTrainedModel, Tensor, Tensor, Cache], Tensor]
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
        """Append keys and values to the rows' own; return all of the rows' own."""
        first, self.filled = self.filled, self.filled + key_states.shape[2]
        self.own_keys[:, :, first : self.filled] = key_states
        self.own_values[:, :, first : self.filled] = value_states
        return self.own_keys[:, :, : self.filled], self.own_values[:, :, : self.filled]

    def get_seq_length(self) -> int:
        """Return the tokens of the longest row."""
        return self.keys.shape[2] + self.filled

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return length and offset, which transformers asks for; no mask is made from them."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """Return that there is no bound but the memory set aside."""
        return -1

    def keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Keep only these prompts and these rows."""
        if len(prompts) < len(self.keys):
            self.keys, self.values = self.keys[prompts], self.values[prompts]
        for name in ("own_keys", "own_values"):
            old = getattr(self, name)
            fresh = old.new_empty((len(rows), *old.shape[1:]))
            fresh[:, :, : self.filled] = old[:, :, : self.filled][rows]
            setattr(self, name, fresh)


class SharedPrefix(Cache):
    """Prompts, read once, with memory for `draws` responses of up to `room` tokens to each.

    `states` (prompts, longest, width) are the hidden states of the prompts, and `last` (prompts, width) those
    at the end of each: final ones, or what `through` returns.
    """

    def __init__(
        self,
        lm: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        *,
        draws: int = 1,
        room: int = 0,
        through: Pass | None = None,
    ) -> None:
        """Read the prompts by `through`, or by the whole model if None."""
        lengths = [len(ids) for ids in prompts]
        longest = max(lengths)
        ids = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in prompts], device=lm.device)
        cache = DynamicCache(config=lm.config)
        self.through = through or _whole_pass
        self.states = self.through(lm, ids, torch.arange(longest, device=lm.device)[None], cache)
        self.prompt_layers = list(map(_prompt_layer, filter(_was_read, cache.layers)))
        # under its own name too: transformers types its layers more loosely
        super().__init__(layers=list(self.prompt_layers))
        self.begin(draws, room)
        self.lengths = torch.tensor(lengths, device=lm.device)
        self.last = self.states[torch.arange(len(prompts), device=lm.device), self.lengths - 1]
        self.padding_bias: Tensor | None = None  # (prompts, 1, 1, longest): -inf behind a shorter prompt
        if min(lengths) < longest:
            padding = torch.arange(longest, device=lm.device) >= self.lengths[:, None]
            bias = torch.zeros_like(padding, dtype=self.states.dtype).masked_fill(padding, -torch.inf)
            self.padding_bias = bias[:, None, None]

    def begin(self, draws: int, room: int) -> None:
        """Forget the rows, and set memory aside for `draws` fresh ones a prompt, of up to `room` tokens."""
        self.filled = 0
        for layer in self.prompt_layers:
            layer.begin(draws, room)

    def keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Keep only these prompts and these rows: as many rows for each prompt, prompt by prompt."""
        for layer in self.prompt_layers:
            layer.keep(prompts, rows)
        self.lengths = self.lengths[prompts]
        self.padding_bias = None if self.padding_bias is None else self.padding_bias[prompts]

    def read(self, lm: PreTrainedModel, ids: Tensor) -> Tensor:
        """Append `ids` (rows, tokens) to the rows; return final hidden states (rows, tokens, width)."""
        draws = len(ids) // len(self.lengths)
        first = self.lengths.repeat_interleave(draws) + self.filled
        positions = first[:, None] + torch.arange(ids.shape[1], device=ids.device)
        self.filled += ids.shape[1]
        with _attending(lm, self):
            return self.through(lm, ids, positions, self)


def _was_read(layer: object) -> TypeGuard[CacheLayerMixin]:
    """Tell whether a layer of transformers' cache holds anything; `through` may leave the last one out."""
    return isinstance(layer, CacheLayerMixin) and layer.is_initialized


def _prompt_layer(layer: CacheLayerMixin) -> _Layer:
    """Return the layer that starts with what transformers' own has read."""
    assert layer.keys is not None and layer.values is not None
    return _Layer(layer.keys, layer.values)


def _whole_pass(lm: PreTrainedModel, ids: Tensor, positions: Tensor, cache: Cache) -> Tensor:
    """Take `ids` through all of the model; return final hidden states."""
    return lm.base_model(
        input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True
    ).last_hidden_state


def supports(lm: PreTrainedModel) -> bool:
    """Tell whether a model can read through `attend`: plain causal attention that its config can name.

    Never where kernels are switched off.
    """
    config = lm.config.get_text_config()
    special = ("sliding_window", "attn_logit_softcapping", "attention_chunk_size")
    plain = not any(getattr(config, name, None) for name in special)
    can_be_named = lm._can_set_attn_implementation() and config._attn_implementation in NAMES
    scaled_by_layer = getattr(config, "scale_attn_by_inverse_layer_idx", False)
    return switch.enabled() and plain and can_be_named and not scaled_by_layer


@contextmanager
def attention(config: PretrainedConfig, name: str) -> Iterator[None]:
    """Let a model's attention be the registered one of that name for a while."""
    usual, config._attn_implementation = config._attn_implementation, name
    try:
        yield
    finally:
        config._attn_implementation = usual


@contextmanager
def _attending(lm: PreTrainedModel, cache: SharedPrefix) -> Iterator[None]:
    """Let the model's attention be `attend` for a while, to `cache`."""
    body = lm.base_model
    assert isinstance(body, PreTrainedModel)
    token = _reading.set(cache)
    try:
        with attention(body.config, NAME):
            yield
    finally:
        _reading.reset(token)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend to a row's prompt and to its own tokens, as one softmax over both would.

    `query` (rows, heads, tokens, width), `key` and `value` (rows, key heads, own, width), of which the last
    `tokens` are the query's own. Returns (rows, tokens, heads, width), as transformers expects.
    """
    cache = _reading.get()
    layer = cache.prompt_layers[cast(int, module.layer_idx)]
    rows, heads, tokens, width = query.shape
    prompts, key_heads = layer.keys.shape[:2]
    draws, queries = rows // prompts, heads // key_heads * tokens  # queries: of one row to one key head
    scale = width**-0.5 if scaling is None else scaling
    # the queries of all draws of a prompt, and of all heads that share a key, stand side by side
    by_row = query.reshape(rows, key_heads, queries, width)
    by_prompt = by_row.view(prompts, draws, key_heads, queries, width).transpose(1, 2).flatten(2, 3)
    on_prompt, prompt_logsum = _attention_and_logsum(
        by_prompt, layer.keys, layer.values, cache.padding_bias, scale, tokens
    )
    on_prompt, prompt_logsum = (
        each.unflatten(2, (draws, queries)).transpose(1, 2).flatten(0, 1)
        for each in (on_prompt, prompt_logsum)
    )
    # where nothing was read before, the fused kernel's own causal order is the right one
    causal = tokens == key.shape[2] and heads == key_heads
    bias = (
        _causal_bias(tokens, key.shape[2], heads // key_heads, query) if tokens > 1 and not causal else None
    )
    on_own, own_logsum = _attention_and_logsum(by_row, key, value, bias, scale, tokens, causal=causal)
    prompt_share = (prompt_logsum - own_logsum).sigmoid()[..., None]  # of the softmax over both
    output = torch.lerp(on_own, on_prompt, prompt_share)
    return output.view(rows, heads, tokens, width).transpose(1, 2), None


def _causal_bias(tokens: int, own: int, sharing: int, like: Tensor) -> Tensor:
    """Return the bias that bars later tokens: (1, 1, heads that share a key x tokens, own), 0 or -inf."""
    bias = torch.full((tokens, own), -torch.inf, dtype=like.dtype, device=like.device)
    return bias.triu(own - tokens + 1).repeat(sharing, 1)[None, None]


def _attention_and_logsum(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    scale: float,
    tokens: int,
    *,
    causal: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return attention's output, and the logarithm of the sum of exponentials that its softmax divides by.

    `causal` is for as many queries as keys. For a single token a row, PyTorch's fused kernel for CPUs is
    slower than the plain formula below.
    """
    if tokens > 1 and query.device.type == "cpu" and query.dtype == torch.float32:
        if bias is not None:
            bias = bias.expand(len(query), -1, query.shape[2], -1)
        output, logsum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, causal, attn_mask=bias, scale=scale
        )
        return output, logsum
    logits = (query @ key.transpose(-1, -2)).mul_(scale)
    if causal:
        bias = _causal_bias(query.shape[2], key.shape[2], 1, query)
    if bias is not None:
        logits += bias
    highest = logits.amax(-1, keepdim=True)
    weights = logits.sub_(highest).exp_()
    total = weights.sum(-1, keepdim=True)
    return (weights @ value).div_(total), (highest + total.log())[..., 0]


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
