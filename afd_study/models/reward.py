"""Reward models: a backbone of any causal architecture with a scalar head on the response's last token."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from afd_study.errors import StoreError
from afd_study.models import distributed
from afd_study.models.batches import Batch, Example, Forks, in_batches
from afd_study.models.kernels import last_block, shared_prompt_scoring
from afd_study.models.kernels.install import install_kernels
from afd_study.models.kernels.shared_prefix import SharedPrefix
from afd_study.models.pretrained_folders import refuse_infinite_weights
from afd_study.models.scoring import backbone_of, input_embedding, last_hidden


class RewardModel(nn.Module):
    """A scalar reward (the discriminator's logit, high = demonstration) of a prompt with its response."""

    def __init__(self, backbone: PreTrainedModel) -> None:
        """Put a linear head, started at zero, on `backbone` (a model without its language head)."""
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def train(self, mode: bool = True) -> "RewardModel":
        """Switch between training and evaluation; a frozen backbone has no dropout in either."""
        super().train(mode)
        if not any(weight.requires_grad for weight in self.backbone.parameters()):
            self.backbone.eval()
        return self

    def forward(self, batch: Batch | Forks) -> Tensor:
        """Return rewards, shape (batch,), in float32; of forks both rewards of a pair, pair by pair."""
        return self.reward(last_hidden(self.backbone, batch))

    def reward(self, hidden: Tensor) -> Tensor:
        """Return the rewards (rows,) of final hidden states (rows, width), in float32."""
        return self.head(hidden.to(self.head.weight.dtype))[:, 0].float()


def on_backbone(lm: PreTrainedModel, reader: PreTrainedTokenizerBase) -> RewardModel:
    """Start a reward model from a causal model's body, with rows for the reader's further tokens.

    These are the marks, which the policy never sees. Their embeddings start at the mean of the others, so
    that all marks start alike and nothing is drawn at random.
    """
    return RewardModel(reading_backbone(lm, reader))


def reading_backbone(lm: PreTrainedModel, reader: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Return a causal model's body, with rows for the reader's further tokens (see `on_backbone`)."""
    backbone = backbone_of(lm)
    old = len(input_embedding(backbone).weight)
    if len(reader) > old:
        backbone.resize_token_embeddings(len(reader), mean_resizing=False)
        with torch.no_grad():
            weight = input_embedding(backbone).weight
            weight[old:] = weight[:old].mean(0)
    return backbone


def save_reward_model(model: RewardModel, folder: Path) -> None:
    """Write backbone config, weights (safetensors) and nothing else; the main process alone does."""
    if not distributed.is_main():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = model.backbone.config.to_dict()
    config.pop("_name_or_path", None)  # the path on this machine that its body was read from
    (folder / "config.json").write_text(json.dumps(config, indent=1, default=str))
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "reward_model.safetensors")


def load_reward_model(folder: Path, device: torch.device | str = "cpu") -> RewardModel:
    """Read what `save_reward_model` wrote, in evaluation mode.

    Raises StoreError where a file is missing, cut or does not fit, and DataError for weights that are not
    finite.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = RewardModel(AutoModel.from_config(config))
        model.load_state_dict(load_file(folder / "reward_model.safetensors"))
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as fault:
        reason = [*str(fault).strip().splitlines(), type(fault).__name__][0]
        raise StoreError(
            f"the reward model in {folder} is damaged or incomplete ({reason}): delete it to make it anew"
        ) from fault
    refuse_infinite_weights(model, folder)
    install_kernels(model.backbone)
    return model.eval().to(device)


@torch.no_grad()
def rewards(model: RewardModel, examples: Sequence[Example], *, max_tokens: int = 4096) -> np.ndarray:
    """Return the reward of each example, shape (examples,); independent of batch and padding."""
    backbone = model.eval().backbone
    if not (last_block.supports(backbone) and shared_prompt_scoring.is_faster(backbone, examples)):
        return in_batches(examples, model, max_tokens=max_tokens, device=backbone.device)

    def run(prefix: SharedPrefix, batch: Batch) -> Tensor:
        return model.reward(last_block.states_behind(backbone, prefix, batch.ids, batch.lengths - 1))

    return shared_prompt_scoring.behind_prompts(
        backbone, examples, run, max_tokens=max_tokens, through=last_block.earlier_blocks
    )
