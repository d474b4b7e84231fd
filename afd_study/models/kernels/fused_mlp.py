"""GPT-2's MLP where nothing is trained: its first product, bias and activation in one pass of oneDNN.

The activation alone takes a sixth of the time of scoring on a CPU, since it reads and writes the largest
tensor of all. PyTorch's compiler makes the same call. oneDNN gets the weight transposed, as it lies in
memory; with a large weight that costs more than the single pass saves.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP
from transformers.pytorch_utils import Conv1D

from afd_study.models.kernels import switch

LARGEST = 2**19  # entries of the weight; at 2.4 million this product takes twice as long (book/log.md)


class FusedMLP(GPT2MLP):
    """The same module, for GELU's tanh form; `install_kernels` makes it of the model's own MLP."""

    def forward(self, hidden_states: Any) -> Tensor:  # a tensor, which transformers calls a tuple
        """Return the MLP's output, (..., width), for states of that shape."""
        if not is_faster(self.c_fc, hidden_states):
            return super().forward(hidden_states)
        weight, bias = self.c_fc.weight.t(), self.c_fc.bias
        inner = torch.ops.mkldnn._linear_pointwise(hidden_states, weight, bias, "gelu", [], "tanh")
        return self.dropout(self.c_proj(inner))


def is_faster(layer: nn.Module, states: Tensor) -> bool:
    """Tell whether the pass can be fused and is then faster: float32 on a CPU, no gradients, no adapters."""
    if not switch.enabled() or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    if type(layer) is not Conv1D:  # an adapter stands in its place
        return False
    if states.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    small = 0 < layer.weight.numel() <= LARGEST and states.numel() > 0
    return small and states.dtype == layer.weight.dtype == torch.float32
