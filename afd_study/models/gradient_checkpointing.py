"""Memory of training: a layer's states are kept for the way back, or computed again on it."""

import warnings

from torch import nn
from transformers import PreTrainedModel


def set_gradient_checkpointing(module: nn.Module, wanted: bool) -> None:
    """Let every transformers model in a module compute its layers' states again backwards, or keep them.

    Gradients are the same, also where the weights below a layer are frozen, as under LoRA.
    """
    for part in module.modules():
        if isinstance(part, PreTrainedModel) and part.supports_gradient_checkpointing:
            on = any(getattr(each, "gradient_checkpointing", False) for each in part.modules())
            with warnings.catch_warnings():
                # every transformers 5 has these names; later ones ask for others that the first lack
                warnings.simplefilter("ignore", FutureWarning)
                if wanted:
                    # the other kind needs inputs with gradients, which frozen embeddings do not give
                    part.gradient_checkpointing_enable({"use_reentrant": False})
                elif on:
                    part.gradient_checkpointing_disable()
