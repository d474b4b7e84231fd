"""A GPT-2's last hidden state at one position a row, without the rest of its last block.

A reward reads nothing but the state at the response's last token. In the last block the other positions count
only as what that token attends to: their queries, outputs and MLP are never read. Nor are their keys and
values needed one by one. With attention weights a over states x (behind the block's first norm), and a head's
W_k and W_v,

    q . (W_k x_j + b_k) = (W_k^T q) . x_j + const,    sum_j a_j (W_v x_j + b_v) = W_v (sum_j a_j x_j) + b_v,

where the constant leaves the softmax as it is. The last block so costs a row about what it cost a token.
Values and gradients are those of the whole pass up to rounding; `applies` says where, and elsewhere
`scoring.last_hidden` takes the whole pass.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import GPT2Model
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP, GPT2Attention, GPT2Block
from transformers.pytorch_utils import Conv1D

_PARTS = (GPT2Model, nn.ModuleList, GPT2Block, GPT2Attention, GPT2MLP, Conv1D, nn.LayerNorm, nn.Embedding)


def applies(backbone: nn.Module) -> bool:
    """Tell whether `last_states` is this model's own law: a plain float32 GPT-2, with no dropout at work.

    Adapters, hooks, half precision, gradient checkpointing and other attention than `sdpa` are not.
    """
    if type(backbone) is not GPT2Model or backbone.config._attn_implementation != "sdpa":
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
    *earlier, block = backbone.h
    hidden = backbone.wte(ids) + backbone.wpe(torch.arange(ids.shape[1], device=ids.device))
    for each in earlier:
        hidden = each(hidden)
    rows = torch.arange(len(ids), device=ids.device)
    state = hidden[rows, last]
    state = state + block.attn.c_proj(_attended(block.attn, block.ln_1(hidden), block.ln_1(state), last))
    return backbone.ln_f(state + block.mlp(block.ln_2(state)))


def _attended(attention: Any, states: Tensor, own: Tensor, last: Tensor) -> Tensor:
    """Return what `own` (batch, width) attends to among `states` (batch, length, width), up to `last`."""
    by_head = (-1, attention.num_heads, attention.head_dim)
    query, key, value = (weight.view(by_head) for weight in _split(attention, attention.c_attn.weight))
    query_bias, _, value_bias = (bias.view(by_head) for bias in _split(attention, attention.c_attn.bias))
    asked = torch.einsum("bw,whd->bhd", own, query) + query_bias
    asked = torch.einsum("bhd,whd->bhw", asked, key) * attention.scaling
    later = torch.arange(states.shape[1], device=last.device) > last[:, None]
    weights = (asked @ states.transpose(1, 2)).masked_fill(later[:, None], -torch.inf).softmax(-1)
    return (torch.einsum("bhw,whd->bhd", weights @ states, value) + value_bias).flatten(1)


def _split(attention: Any, joint: Tensor) -> tuple[Tensor, ...]:
    """Return the parts for queries, keys and values of the joint projection's weight or bias."""
    return joint.split(attention.split_size, dim=-1)
