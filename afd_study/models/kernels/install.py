"""Parts that compute what a model's own do up to rounding, and faster on a CPU."""

from typing import Any

from transformers.activations import GELUTanh
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

from afd_study.models.kernels import short_attention, switch
from afd_study.models.kernels.fused_mlp import FusedMLP
from afd_study.models.kernels.gelu import FastGelu


def install_kernels(model: Any) -> Any:
    """Put FastGelu and FusedMLP where the model has GELU's tanh form, `short_attention` where it has `sdpa`.

    Returns the model.
    """
    if not switch.enabled():
        return model
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is GELUTanh:
                setattr(module, name, FastGelu())
        if type(module) is GPT2MLP and type(module.act) is FastGelu:
            module.__class__ = FusedMLP  # which has the same parts
    config = model.base_model.config
    if config._attn_implementation == "sdpa" and model._can_set_attn_implementation():
        config._attn_implementation = short_attention.NAME
    return model
