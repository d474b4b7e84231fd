"""Texts end to end in one row, without padding: only attention knows where one ends and the next begins.

What a layer does token by token then wastes nothing, and attention needs a kernel that keeps texts apart.
KERNELS holds three: PyTorch's FlexAttention (compiled, under a mask of blocks), its FlashAttention for
sequences of any length, and a call a text, which runs everywhere and is what the others are checked against.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from afd_study.models.batches import Example
from afd_study.models.kernels.shared_prefix import attention

NAME = "afd_packed"


class Packed(NamedTuple):
    """Texts end to end: `ids`, their `places` in their own text and the `text` they belong to, (tokens,).

    `bounds` (texts + 1,) holds where texts begin and end, `longest` the tokens of the longest.
    """

    ids: Tensor
    places: Tensor
    text: Tensor
    bounds: Tensor
    longest: int


Kernel = Callable[[Tensor, Tensor, Tensor, float, Packed, BlockMask | None], Tensor]


def pack(examples: Sequence[Example], device: torch.device) -> Packed:
    """Lay examples end to end, in their order."""
    lengths = torch.tensor([len(each.ids) for each in examples])
    ids = torch.tensor([token for each in examples for token in each.ids])
    places = torch.cat([torch.arange(length) for length in lengths.tolist()])
    text = torch.arange(len(lengths)).repeat_interleave(lengths)
    bounds = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).int()
    return Packed(ids.to(device), places.to(device), text.to(device), bounds.to(device), int(lengths.max()))


def states(backbone: PreTrainedModel, packed: Packed, kernel: str) -> Tensor:
    """Return final hidden states, (tokens, width), by one of KERNELS."""
    blocks = _blocks(packed) if kernel == "flex" else None
    with attention(backbone.config, NAME):
        return backbone(
            input_ids=packed.ids[None],
            position_ids=packed.places[None],
            use_cache=False,
            packed=packed,
            kernel=KERNELS[kernel],
            blocks=blocks,
        ).last_hidden_state[0]


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: Packed,
    kernel: Kernel,
    blocks: BlockMask | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within each text; (1, heads, tokens, width) -> (1, tokens, heads, width)."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return kernel(query, key, value, scale, packed, blocks), None


def _one_by_one(
    query: Tensor, key: Tensor, value: Tensor, scale: float, packed: Packed, blocks: BlockMask | None
) -> Tensor:
    sizes = packed.bounds.diff().tolist()
    grouped = query.shape[1] != key.shape[1]
    outputs = [
        scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=grouped)
        for q, k, v in zip(query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True)
    ]
    return torch.cat(outputs, 2).transpose(1, 2)


def _flex(
    query: Tensor, key: Tensor, value: Tensor, scale: float, packed: Packed, blocks: BlockMask | None
) -> Tensor:
    grouped = query.shape[1] != key.shape[1]
    output = _compiled_flex(query, key, value, block_mask=blocks, scale=scale, enable_gqa=grouped)
    assert isinstance(output, Tensor)
    return output.transpose(1, 2)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, scale: float, packed: Packed, blocks: BlockMask | None
) -> Tensor:
    query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))
    output = varlen_attn(
        query,
        key,
        value,
        packed.bounds,
        packed.bounds,
        packed.longest,
        packed.longest,
        scale=scale,
        window_size=(-1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(output, Tensor)  # a tuple where more is asked for
    return output[None]


def _blocks(packed: Packed) -> BlockMask:
    """Return the mask of FlexAttention: which blocks hold anything that may be attended to."""

    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (packed.text[query] == packed.text[key]) & (query >= key)

    tokens, device = len(packed.ids), packed.ids.device.type
    make = create_block_mask if device == "cpu" else _compiled_mask  # a batch has a mask of its own each
    return make(seen, None, None, tokens, tokens, device=device)


_compiled_mask = torch.compile(create_block_mask)
_compiled_flex = torch.compile(flex_attention, dynamic=True)
KERNELS: dict[str, Kernel] = {"one by one": _one_by_one, "flex": _flex, "varlen": _varlen}
ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
