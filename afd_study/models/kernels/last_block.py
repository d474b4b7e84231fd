"""A GPT-2's final hidden states at a few positions, without the rest of its last block.

A reward reads only the state at the response's last token, and SFT only those that predict a response's
tokens. In the last block every other position counts only as something to attend to: its query, its output
and its MLP are never read.

For rewards even keys and values are spared. Let a be the attention weights over the states x behind the
block's first norm, and W_k and W_v the projections of a head. Then

    q . (W_k x_j + b_k) = (W_k^T q) . x_j + const,    sum_j a_j (W_v x_j + b_v) = W_v (sum_j a_j x_j) + b_v,

and the softmax does not see the constant. So the last block costs for a whole row about what it would cost
for one token.

Values and gradients are those of the whole pass up to rounding. `supports` says for which models; for all
others `scoring` takes the whole pass. Rows may share what stands before them: two responses that fork off one
prompt (`forked_states`, for training), or many responses behind prompts read before (`states_behind`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import GPT2Model, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP, GPT2Attention, GPT2Block
from transformers.pytorch_utils import Conv1D

from afd_study.models.batches import Batch, Forks
from afd_study.models.kernels import switch
from afd_study.models.kernels.fused_mlp import FusedMLP
from afd_study.models.kernels.shared_prefix import SharedPrefix

_BLOCK_PARTS = (GPT2Block, GPT2Attention, GPT2MLP, FusedMLP, Conv1D, nn.LayerNorm)
_PARTS = (GPT2Model, nn.ModuleList, nn.Embedding, *_BLOCK_PARTS)


class _Context(NamedTuple):
    """What rows attend to: `states` (groups, length, width), and which of them are `barred` to each row.

    Each group is read by equally many rows, in order. `barred` is (rows, length).
    """

    states: Tensor
    barred: Tensor


def supports(backbone: nn.Module) -> TypeGuard[GPT2Model]:
    """Tell whether this module has the model's own values: for a plain float32 GPT-2 with no dropout at work.

    It has not with adapters, hooks, half precision, gradient checkpointing or attention other than `sdpa`;
    and never where kernels are switched off.
    """
    if not switch.enabled() or type(backbone) is not GPT2Model:
        return False
    if backbone.config._attn_implementation != "sdpa":
        return False
    if torch.is_autocast_enabled(backbone.device.type) or backbone.dtype != torch.float32:
        return False
    return not backbone.gradient_checkpointing and all(map(_plain, backbone.modules()))


def _plain(part: nn.Module) -> bool:
    """Tell whether a module does what its class says, and draws nothing."""
    if part._forward_hooks or part._forward_pre_hooks:
        return False
    if isinstance(part, nn.Dropout):
        return part.p == 0 or not part.training
    return type(part) in _PARTS or next(part.parameters(), None) is None  # activations have no weights


def last_states(backbone: GPT2Model, ids: Tensor, last: Tensor) -> Tensor:
    """Return final hidden states (batch, width) at the positions `last`, (batch,), of right-padded `ids`."""
    places = torch.arange(ids.shape[1], device=ids.device)
    hidden = earlier_blocks(backbone, ids, places[None], None)
    rows = torch.arange(len(ids), device=ids.device)
    return _last_block(backbone, hidden[rows, last], [_Context(hidden, places > last[:, None])])


def forked_states(backbone: GPT2Model, forks: Forks) -> Tensor:
    """Return final hidden states (rows x branches, width) at the end of each branch, row by row."""
    bias = torch.zeros_like(forks.barred, dtype=backbone.dtype).masked_fill(forks.barred, -torch.inf)
    hidden = earlier_blocks(backbone, forks.ids, forks.places, None, attention_mask=bias[:, None])
    rows = torch.arange(len(forks.ids), device=forks.ids.device)[:, None]
    barred = forks.barred[rows, forks.ends].flatten(0, 1)
    return _last_block(backbone, hidden[rows, forks.ends].flatten(0, 1), [_Context(hidden, barred)])


def response_states(backbone: GPT2Model, batch: Batch, predicts: Tensor) -> Tensor:
    """Return final hidden states (tokens, width) where a response's token is predicted, row by row.

    `predicts` (batch, length) is true from the token before the response to the last but one. In the last
    block prompts and padding are only attended to: they need neither query nor MLP.
    """
    places = torch.arange(batch.ids.shape[1], device=batch.ids.device)
    hidden = earlier_blocks(backbone, batch.ids, places[None], None)
    block, sizes = _last(backbone), (batch.lengths - batch.starts)[:, None]
    number = torch.arange(int(sizes.max()), device=places.device)  # of a response's token
    barred = places > (number + batch.starts[:, None] - 1)[..., None]
    bias = torch.zeros_like(barred, dtype=hidden.dtype).masked_fill(barred, -torch.inf)[:, None]
    attended = _attend_from_responses(block.attn, block.ln_1(hidden), predicts, number < sizes, bias)
    own = hidden[predicts] + block.attn.c_proj(attended)
    return backbone.ln_f(own + block.mlp(block.ln_2(own)))


def _attend_from_responses(
    attention: GPT2Attention, states: Tensor, predicts: Tensor, real: Tensor, bias: Tensor
) -> Tensor:
    """Return (tokens, width) that the states at `predicts` (batch, length) attend to in their own row.

    For attention they are laid out anew as (batch, longest response), where `real` says which entries exist:
    as many as in `predicts`, row by row. `bias` is (batch, 1, longest response, length).
    """
    width, by_head = states.shape[-1], (attention.num_heads, attention.head_dim)
    weight, offset = attention.c_attn.weight, attention.c_attn.bias
    query = states.new_zeros(*real.shape, width)
    query[real] = torch.addmm(offset[:width], states[predicts], weight[:, :width])
    key, value = (states @ weight[:, width:] + offset[width:]).split(width, -1)
    query, key, value = (each.unflatten(-1, by_head).transpose(1, 2) for each in (query, key, value))
    output = scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=attention.scaling)
    return output.transpose(1, 2).flatten(2)[real]


def states_behind(backbone: GPT2Model, prefix: SharedPrefix, ids: Tensor, last: Tensor) -> Tensor:
    """Return final hidden states (rows, width) at the positions `last` of `ids`, which stand behind prompts.

    `prefix` holds what `earlier_blocks` made of these prompts; `ids` (rows, tokens) are appended to its rows.
    """
    hidden = prefix.read(backbone, ids)
    rows = torch.arange(len(ids), device=ids.device)
    later = torch.arange(ids.shape[1], device=ids.device) > last[:, None]
    padding = torch.arange(prefix.states.shape[1], device=ids.device) >= prefix.lengths[:, None]
    padding = padding.repeat_interleave(len(ids) // len(padding), 0)
    return _last_block(
        backbone, hidden[rows, last], [_Context(prefix.states, padding), _Context(hidden, later)]
    )


def earlier_blocks(
    backbone: PreTrainedModel, ids: Tensor, places: Tensor, cache: Cache | None, **kwargs: Any
) -> Tensor:
    """Take `ids` through all blocks of a GPT-2 but the last; return hidden states (batch, length, width)."""
    assert isinstance(backbone, GPT2Model)
    hidden = backbone.wte(ids) + backbone.wpe(places)
    for block in backbone.h[:-1]:
        hidden = block(hidden, cache, **kwargs)
    return hidden


def _last(backbone: GPT2Model) -> GPT2Block:
    return cast(GPT2Block, backbone.h[-1])


def _last_block(backbone: GPT2Model, own: Tensor, contexts: Sequence[_Context]) -> Tensor:
    """Take states `own` (rows, width) through the last block and norm; they attend to all `contexts`."""
    block = _last(backbone)
    normed = [_Context(block.ln_1(states), barred) for states, barred in contexts]
    own = own + block.attn.c_proj(_attend(block.attn, block.ln_1(own), normed))
    return backbone.ln_f(own + block.mlp(block.ln_2(own)))


def _attend(attention: GPT2Attention, own: Tensor, contexts: Sequence[_Context]) -> Tensor:
    """Return what `own` (rows, width) attends to, with one softmax over all contexts."""
    by_head = (-1, attention.num_heads, attention.head_dim)
    weights = attention.c_attn.weight.split(attention.split_size, dim=-1)
    biases = attention.c_attn.bias.split(attention.split_size, dim=-1)
    query_weight, key_weight, value_weight = (each.view(by_head) for each in weights)
    query_bias, _, value_bias = (each.view(by_head) for each in biases)
    query = torch.einsum("bw,whd->bhd", own, query_weight) + query_bias
    pulled_back = torch.einsum("bhd,whd->bhw", query, key_weight) * attention.scaling  # W_k^T q
    logits = [
        (_by_group(pulled_back, states) @ states.transpose(1, 2))
        .view(*pulled_back.shape[:2], -1)
        .masked_fill(barred[:, None], -torch.inf)
        for states, barred in contexts
    ]
    shares = torch.cat(logits, -1).softmax(-1).split([states.shape[1] for states, _ in contexts], -1)
    mixed = sum(
        (_by_group(share, states) @ states).view(pulled_back.shape)
        for share, (states, _) in zip(shares, contexts, strict=True)
    )
    return (torch.einsum("bhw,whd->bhd", mixed, value_weight) + value_bias).flatten(1)


def _by_group(rows: Tensor, states: Tensor) -> Tensor:
    """Lay (rows, heads, anything) out by the groups of `states`: (groups, rows of one x heads, anything)."""
    return rows.reshape(len(states), -1, rows.shape[-1])
