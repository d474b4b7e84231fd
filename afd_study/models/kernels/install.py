"""Which of a model's own modules are replaced: those that a faster one computes the same with."""

from typing import TypeVar

from torch import nn
from transformers.activations import GELUTanh
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

from afd_study.models.kernels import switch
from afd_study.models.kernels.fused_mlp import FusedMLP

Model = TypeVar("Model", bound=nn.Module)


def install_kernels(model: Model) -> Model:
    """Make a FusedMLP of each GPT-2 MLP with GELU's tanh form, and return the model."""
    if switch.enabled():
        for module in model.modules():
            if type(module) is GPT2MLP and type(module.act) is GELUTanh:
                module.__class__ = FusedMLP  # a subclass with the same parts
    return model
