"""Many responses to one prompt in transformers' own KV cache, which holds a copy of the prompt for each."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel


class CopiedPrefix:
    """Prompts of equal length, read once, with `draws` rows to each: prompts x draws, prompt by prompt.

    `last` (prompts, width) holds the final hidden states at the end of each prompt.
    """

    def __init__(
        self, lm: PreTrainedModel, prompts: Sequence[Sequence[int]], *, draws: int, room: int
    ) -> None:
        """Read the prompts and copy them to every row. `room` is unused: this cache grows by itself."""
        self.cache = DynamicCache(config=lm.config)
        self.last = self.read(lm, torch.tensor(prompts, device=lm.device))[:, -1]
        self.cache.batch_repeat_interleave(draws)

    def keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Keep these rows; each has its prompt with it."""
        self.cache.batch_select_indices(rows)

    def read(self, lm: PreTrainedModel, ids: Tensor) -> Tensor:
        """Append `ids` (rows, tokens) to the rows; return final hidden states (rows, tokens, width)."""
        return lm.base_model(input_ids=ids, past_key_values=self.cache, use_cache=True).last_hidden_state
