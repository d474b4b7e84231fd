"""GPT-2's activation, on CPUs without AVX-512 faster than the kernel that carries its name.

With u = 2 sqrt(2 / pi) (x + 0.044715 x^3) the tanh form of GELU is x sigmoid(u), and its slope is
sigmoid(u) + x u' sigmoid(u) sigmoid(-u). The sigmoid is kept for the way back. What counts is how often the
tensors pass through memory: four times there and five times back.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from afd_study.models.kernels import switch
from afd_study.models.kernels.cpu import has_avx512

_LINEAR = torch.tensor(2 * math.sqrt(2 / math.pi))
_CUBIC = float(_LINEAR) * 0.044715


class _GeluTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        share = torch.addcmul(_LINEAR, x, x, value=_CUBIC).mul_(x).sigmoid_()
        if not ctx.needs_input_grad[0]:
            return share.mul_(x)
        ctx.save_for_backward(x, share)
        return x * share

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x, share = ctx.saved_tensors
        slope = torch.addcmul(_LINEAR, x, x, value=3 * _CUBIC).mul_(x)
        torch.ops.aten.sigmoid_backward.grad_input(slope, share, grad_input=slope)
        return slope.add_(share).mul_(gradient)


class FastGelu(nn.Module):
    """The same function as transformers' `gelu_pytorch_tanh`, up to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of each element; the library's kernel where there is a good one."""
        if x.device.type != "cpu" or x.dtype != torch.float32 or has_avx512() or not switch.enabled():
            return nn.functional.gelu(x, approximate="tanh")
        return _GeluTanh.apply(x)
