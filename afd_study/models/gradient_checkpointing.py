"""Memory of training: a layer's states are kept for the backward pass, or computed again in it."""

import warnings

from torch import nn
from transformers import PreTrainedModel


def set_gradient_checkpointing(module: nn.Module, enable: bool) -> None:
    """Let every transformers model in a module compute its layers' states anew in the backward pass, or not.

    Gradients are the same, also where the weights below a layer are frozen, as under LoRA.
    """
    for part in module.modules():
        if isinstance(part, PreTrainedModel) and part.supports_gradient_checkpointing:
            on = any(getattr(each, "gradient_checkpointing", False) for each in part.modules())
            with warnings.catch_warnings():
                # all versions 5 of transformers have these names; later ones recommend newer names
                warnings.simplefilter("ignore", FutureWarning)
                if enable:
                    # reentrant checkpointing needs inputs with gradients, and frozen embeddings have none
                    part.gradient_checkpointing_enable({"use_reentrant": False})
                elif on:
                    part.gradient_checkpointing_disable()
