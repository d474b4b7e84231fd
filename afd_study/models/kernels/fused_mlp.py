"""GPT-2's MLP where nothing is trained: its first product, bias and activation in one pass of oneDNN.

By itself the activation is a sixth of scoring's time on a CPU: what it reads and writes is the largest tensor
of all. PyTorch's compiler makes the same call. The product takes its weight as it lies, transposed, which
costs more than the pass is worth where the weight is large.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP
from transformers.pytorch_utils import Conv1D

LARGEST = 2**19  # entries of the weight; at 2.4 million this product takes twice as long (book/log.md)


class FusedMLP(GPT2MLP):
    """The same module with GELU's tanh form, up to rounding; `quicken` makes it of the model's own."""

    def forward(self, hidden_states: Any) -> Tensor:
        """Return the MLP's output, (..., width)."""
        if not _fuses(self.c_fc, hidden_states):
            return super().forward(hidden_states)
        weight, bias = self.c_fc.weight.t(), self.c_fc.bias
        inner = torch.ops.mkldnn._linear_pointwise(hidden_states, weight, bias, "gelu", [], "tanh")
        return self.dropout(self.c_proj(inner))


def _fuses(layer: Any, states: Tensor) -> bool:
    """Tell whether the pass can be fused, and pays: float32 on a CPU, no gradients, no adapters."""
    if type(layer) is not Conv1D or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    if states.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    small = 0 < layer.weight.numel() <= LARGEST and states.numel() > 0
    return small and states.dtype == layer.weight.dtype == torch.float32
