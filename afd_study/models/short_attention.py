"""Attention over short texts in training on a CPU: matrix products and a softmax, whose results are kept.

PyTorch's fused kernel keeps no weights and makes them again on the way back. For texts of a few dozen tokens
memory is no concern and that work is: here the way back takes half the time. Everything else, and all that
is not trained, goes to the fused kernel as before. `quicken` names this attention in a model's config.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "afd_short"
LONGEST = 160  # tokens; from about 200 on the fused kernel is faster (book/log.md)


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    dropout: float = 0.0, scaling: float | None = None, **kwargs: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attend causally, or as an additive `attention_mask` (batch, 1, tokens, tokens) says.

    `query`, `key` and `value` are (batch, heads, tokens, width). Returns (batch, tokens, heads, width).
    """
    if not _pays(query, key, dropout):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    batch, heads, tokens, width = query.shape
    if attention_mask is None:
        bias = _causal(tokens).expand(batch * heads, tokens, tokens)
    else:
        bias = attention_mask.expand(batch, heads, tokens, tokens).flatten(0, 1)
    queries, keys, values = (each.reshape(batch * heads, tokens, width) for each in (query, key, value))
    scale = width**-0.5 if scaling is None else scaling
    found = torch.baddbmm(bias, queries, keys.transpose(1, 2), alpha=scale).softmax(-1) @ values
    return found.view(batch, heads, tokens, width).transpose(1, 2), None


def _pays(query: Tensor, key: Tensor, dropout: float) -> bool:
    """Tell whether this is training of short texts by the plain formula in float32 on a CPU."""
    trains = query.requires_grad and torch.is_grad_enabled()
    plain = query.device.type == "cpu" and query.dtype == torch.float32 and dropout == 0
    return trains and plain and query.shape == key.shape and query.shape[2] <= LONGEST


@lru_cache(maxsize=LONGEST)
def _causal(tokens: int) -> Tensor:
    return torch.full((tokens, tokens), -torch.inf).triu(1)


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
