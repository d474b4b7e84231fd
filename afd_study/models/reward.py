"""Reward models: a backbone of any causal architecture with a scalar head on the response's last token."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from afd_study.models import distributed
from afd_study.models.batches import Batch, Example, Forks, in_batches
from afd_study.models.kernels.install import install_kernels
from afd_study.models.kernels.last_block import applies, earlier, states_behind
from afd_study.models.kernels.shared_prompt_scoring import behind_prompts, pays
from afd_study.models.scoring import last_hidden


class RewardModel(nn.Module):
    """A scalar reward (the discriminator's logit, high = demonstration) of a prompt with its response."""

    def __init__(self, backbone: PreTrainedModel) -> None:
        """Put a linear head, started at zero, on `backbone` (a model without its language head)."""
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch | Forks) -> Tensor:
        """Return rewards, shape (batch,), in float32: of forks both of a pair, pair by pair."""
        hidden = last_hidden(self.backbone, batch)
        return self.reward(hidden)

    def reward(self, hidden: Tensor) -> Tensor:
        """Return the rewards (rows,) of final hidden states (rows, width), in float32."""
        return self.head(hidden.to(self.head.weight.dtype))[:, 0].float()


def on_backbone(lm: PreTrainedModel, reader: PreTrainedTokenizerBase) -> RewardModel:
    """Start a reward model from a causal model's body, its embedding grown to the reader's vocabulary.

    The new rows (marks, which the policy never sees) start at the mean of the old ones, so that every mark
    starts out alike and nothing is drawn at random.
    """
    backbone: Any = lm.base_model
    old = backbone.get_input_embeddings().weight.shape[0]
    if len(reader) > old:
        backbone.resize_token_embeddings(len(reader), mean_resizing=False)
        with torch.no_grad():
            weight = backbone.get_input_embeddings().weight
            weight[old:] = weight[:old].mean(0)
    return RewardModel(backbone)


def save_reward_model(model: RewardModel, folder: Path) -> None:
    """Write backbone config, weights (safetensors) and nothing else; the main process alone does."""
    if not distributed.is_main():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = model.backbone.config.to_dict()
    config.pop("_name_or_path", None)  # where its body was read from: a path of this machine
    (folder / "config.json").write_text(json.dumps(config, indent=1, default=str))
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "reward_model.safetensors")


def load_reward_model(folder: Path, device: torch.device | str = "cpu") -> RewardModel:
    """Read what `save_reward_model` wrote, in evaluation mode."""
    model = RewardModel(AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True)))
    model.load_state_dict(load_file(folder / "reward_model.safetensors"))
    install_kernels(model.backbone)
    return model.eval().to(device)


@torch.no_grad()
def rewards(model: RewardModel, examples: Sequence[Example], *, max_tokens: int = 4096) -> np.ndarray:
    """Return the reward of each example, shape (examples,); independent of batch and padding."""
    backbone: Any = model.eval().backbone
    if applies(backbone) and pays(backbone, examples):
        return behind_prompts(
            backbone, examples,
            lambda prefix, batch: model.reward(states_behind(backbone, prefix, batch.ids, batch.lengths - 1)),
            max_tokens=max_tokens, through=earlier,
        )  # fmt: skip
    return in_batches(examples, model, max_tokens=max_tokens, device=next(model.parameters()).device)
