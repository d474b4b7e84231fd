"""Attention over short texts in training on a CPU: matrix products and a softmax, whose results are kept.

PyTorch's fused kernel keeps no weights and makes them again on the way back. For texts of a few dozen tokens
memory is no concern and that work is: here the way back takes half the time. Everything else, and all that
is not trained, goes to the fused kernel as before; and so does all where PyTorch has AVX-512, with which that
kernel is the faster one. `quicken` names this attention in a model's config.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from afd_study.models.kernels import switch
from afd_study.models.kernels.cpu import has_avx512

NAME = "afd_short"
LONGEST = 160  # tokens; from about 200 on the fused kernel is faster (book/log.md)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend causally, or as an additive `attention_mask` (batch, 1, tokens, tokens) says.

    `query`, `key` and `value` are (batch, heads, tokens, width). Returns (batch, tokens, heads, width).
    """
    if dropout > 0 or query.shape != key.shape or not is_faster(query, key):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    bias = _causal(query.shape[2]) if attention_mask is None else attention_mask
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    return plain_attention(query, key, value, bias, scale).transpose(1, 2), None


def plain_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, scale: float) -> Tensor:
    """Return softmax(scale query key^T + bias) value: (batch, heads, queries, width).

    `bias` spreads to (batch, heads, queries, keys).
    """
    logits = (query * scale) @ key.transpose(2, 3)
    logits += bias  # in place: the largest tensor of all
    return logits.softmax(-1) @ value


def is_faster(query: Tensor, key: Tensor) -> bool:
    """Tell whether this is training on short texts, in float32 on a CPU with the slower fused kernel."""
    trains = query.requires_grad and torch.is_grad_enabled() and not has_avx512() and switch.enabled()
    return trains and query.device.type == "cpu" and query.dtype == torch.float32 and key.shape[2] <= LONGEST


@lru_cache(maxsize=LONGEST)
def _causal(tokens: int) -> Tensor:
    return torch.full((tokens, tokens), -torch.inf).triu(1)


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
