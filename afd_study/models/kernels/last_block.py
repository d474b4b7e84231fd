"""A GPT-2's last hidden states where they are asked for, without the rest of its last block.

A reward reads nothing but the state at the response's last token. In the last block the other positions count
only as what that token attends to: their queries, outputs and MLP are never read. Nor are their keys and
values needed one by one. With attention weights a over states x (behind the block's first norm), and a head's
W_k and W_v,

    q . (W_k x_j + b_k) = (W_k^T q) . x_j + const,    sum_j a_j (W_v x_j + b_v) = W_v (sum_j a_j x_j) + b_v,

where the constant leaves the softmax as it is. The last block so costs a row about what it cost a token.
Values and gradients are those of the whole pass up to rounding; `applies` says where, and elsewhere
`scoring.last_hidden` takes the whole pass. Rows may share what stands before them: two responses that fork
off one prompt (`forked_states`, for training), or many behind prompts read before (`states_behind`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import GPT2Model
from transformers.cache_utils import Cache
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP, GPT2Attention, GPT2Block
from transformers.pytorch_utils import Conv1D

from afd_study.models.batches import Batch, Forks
from afd_study.models.kernels import short_attention
from afd_study.models.kernels.fused_mlp import FusedMLP
from afd_study.models.kernels.shared_prefix import SharedPrefix

ATTENTIONS = ("sdpa", short_attention.NAME)
_PARTS = (
    GPT2Model, nn.ModuleList, GPT2Block, GPT2Attention, GPT2MLP, FusedMLP, Conv1D, nn.LayerNorm, nn.Embedding
)  # fmt: skip


def applies(backbone: nn.Module) -> bool:
    """Tell whether `last_states` is this model's own law: a plain float32 GPT-2, with no dropout at work.

    Adapters, hooks, half precision, gradient checkpointing and other attention than `sdpa` are not.
    """
    if type(backbone) is not GPT2Model or backbone.config._attn_implementation not in ATTENTIONS:
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


def last_states(backbone: Any, ids: Tensor, last: Tensor) -> Tensor:
    """Return final hidden states (batch, width) at the positions `last`, (batch,), of right-padded `ids`."""
    places = torch.arange(ids.shape[1], device=ids.device)
    hidden = earlier(backbone, ids, places[None], None)
    rows = torch.arange(len(ids), device=ids.device)
    return _last_block(backbone, hidden[rows, last], [(hidden, places > last[:, None])])


def forked_states(backbone: Any, forks: Forks) -> Tensor:
    """Return final hidden states (rows x branches, width) at the end of each branch, row by row."""
    mask = torch.zeros_like(forks.barred, dtype=backbone.dtype).masked_fill(forks.barred, -torch.inf)
    hidden = earlier(backbone, forks.ids, forks.places, None, attention_mask=mask[:, None])
    rows = torch.arange(len(forks.ids), device=forks.ids.device)[:, None]
    barred = forks.barred[rows, forks.ends].flatten(0, 1)
    return _last_block(backbone, hidden[rows, forks.ends].flatten(0, 1), [(hidden, barred)])


def response_states(backbone: Any, batch: Batch, chosen: Tensor) -> Tensor:
    """Return final hidden states (tokens, width) where a response's tokens are `chosen`, row by row.

    `chosen` (batch, length) is true from the token before the response to the last but one. In the last block
    prompts and padding are attended to and no more: they need neither query nor MLP.
    """
    places = torch.arange(batch.ids.shape[1], device=batch.ids.device)
    hidden = earlier(backbone, batch.ids, places[None], None)
    block, sizes = backbone.h[-1], (batch.lengths - batch.starts)[:, None]
    answered = torch.arange(int(sizes.max()), device=places.device)
    barred = places > (answered + batch.starts[:, None] - 1)[..., None]
    bias = torch.zeros_like(barred, dtype=hidden.dtype).masked_fill(barred, -torch.inf)[:, None]
    attended = _responses_attended(block.attn, block.ln_1(hidden), chosen, answered < sizes, bias)
    own = hidden[chosen] + block.attn.c_proj(attended)
    return backbone.ln_f(own + block.mlp(block.ln_2(own)))


def _responses_attended(attention: Any, states: Tensor, chosen: Tensor, real: Tensor, bias: Tensor) -> Tensor:
    """Return (tokens, width) that the states `chosen` attend to in their own row.

    `chosen` (batch, length) are as many as are `real` (batch, longest response), row by row; `bias` (batch,
    1, longest response, length).
    """
    width, by_head = states.shape[-1], (attention.num_heads, attention.head_dim)
    weight, offset = attention.c_attn.weight, attention.c_attn.bias
    query = states.new_zeros(*real.shape, width)
    query[real] = torch.addmm(offset[:width], states[chosen], weight[:, :width])
    key, value = (states @ weight[:, width:] + offset[width:]).split(width, -1)
    query, key, value = (each.unflatten(-1, by_head).transpose(1, 2) for each in (query, key, value))
    if short_attention.pays(query, key):
        found = short_attention.plainly(query, key, value, bias, attention.scaling)
    else:
        found = scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=attention.scaling)
    return found.transpose(1, 2).flatten(2)[real]


def states_behind(backbone: Any, prefix: SharedPrefix, ids: Tensor, last: Tensor) -> Tensor:
    """Return final hidden states (rows, width) at the positions `last` of `ids`, which stand behind prompts.

    `prefix` holds what `earlier` made of these prompts; `ids` (rows, tokens) are appended to its rows.
    """
    hidden = prefix.read(backbone, ids)
    rows = torch.arange(len(ids), device=ids.device)
    later = torch.arange(ids.shape[1], device=ids.device) > last[:, None]
    padding = torch.arange(prefix.states.shape[1], device=ids.device) >= prefix.lengths[:, None]
    padding = padding.repeat_interleave(len(ids) // len(padding), 0)
    return _last_block(backbone, hidden[rows, last], [(prefix.states, padding), (hidden, later)])


def earlier(backbone: Any, ids: Tensor, places: Tensor, cache: Cache | None, **kwargs: Any) -> Tensor:
    """Take `ids` through all blocks but the last; return hidden states (batch, length, width)."""
    hidden = backbone.wte(ids) + backbone.wpe(places)
    for block in backbone.h[:-1]:
        hidden = block(hidden, cache, **kwargs)
    return hidden


def _last_block(backbone: Any, own: Tensor, read: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Take states `own` (rows, width) through the last block and norm; they attend to what they `read`.

    That is sets of states (groups, length, width), each group read by as many rows, in order, and what of
    them is barred to each row, (rows, length).
    """
    block = backbone.h[-1]
    normed = [(block.ln_1(states), barred) for states, barred in read]
    own = own + block.attn.c_proj(_attended(block.attn, block.ln_1(own), normed))
    return backbone.ln_f(own + block.mlp(block.ln_2(own)))


def _attended(attention: Any, own: Tensor, read: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return what `own` (rows, width) attends to in the sets that it reads: one softmax over all."""
    by_head = (-1, attention.num_heads, attention.head_dim)
    query, key, value = (weight.view(by_head) for weight in _split(attention, attention.c_attn.weight))
    query_bias, _, value_bias = (bias.view(by_head) for bias in _split(attention, attention.c_attn.bias))
    asked = torch.einsum("bw,whd->bhd", own, query) + query_bias
    asked = torch.einsum("bhd,whd->bhw", asked, key) * attention.scaling
    logits = [
        (_by_group(asked, states) @ states.transpose(1, 2))
        .view(*asked.shape[:2], -1)
        .masked_fill(barred[:, None], -torch.inf)
        for states, barred in read
    ]
    shares = torch.cat(logits, -1).softmax(-1).split([states.shape[1] for states, _ in read], -1)
    mixed = sum(
        (_by_group(share, states) @ states).view(asked.shape)
        for share, (states, _) in zip(shares, read, strict=True)
    )
    return (torch.einsum("bhw,whd->bhd", mixed, value) + value_bias).flatten(1)


def _by_group(each: Tensor, states: Tensor) -> Tensor:
    """Lay (rows, heads, anything) out by the groups of `states`: (groups, rows of one x heads, anything)."""
    return each.reshape(len(states), -1, each.shape[-1])


def _split(attention: Any, joint: Tensor) -> tuple[Tensor, ...]:
    """Return the parts for queries, keys and values of the joint projection's weight or bias."""
    return joint.split(attention.split_size, dim=-1)
