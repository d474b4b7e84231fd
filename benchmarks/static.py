"""Drawing whose every token is the same work on the same memory, so that a GPU can replay it as one graph.

`models/decoding.py` drops rows as they end and attends to what has been written so far: each token is another
shape, and launched kernel by kernel. Here all rows stay, keys are attended to in all the room there is (with
what is not written yet barred), and a token's place is a number in memory. That is more arithmetic for fewer
launches: which is faster depends on the device, and on how many rows end early.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from afd_study.errors import SpecError
from afd_study.models.kernels.shared_prefix import SharedPrefix, attention
from afd_study.models.scoring import backbone_of, output_logits
from afd_study.models.token_sampling import draw

NAME = "afd_static"
WARM_UPS = 3  # before capture: libraries allocate what they need at first use
LOOK_EVERY = 8  # tokens after which to look whether all have ended


class Table:
    """Prompts x draws rows, prompt by prompt, and all that a token's step reads and writes.

    `noise` (rows, room) are the uniform numbers to draw with. After `run`, `tokens` (rows, room) holds the
    responses, of `lengths` (rows,) tokens, and `logprobs` (rows,) their sums (nats, float64).
    """

    def __init__(
        self, lm: PreTrainedModel, prompts: Sequence[Sequence[int]], noise: Tensor, eos_id: int
    ) -> None:
        """Read the prompts and set memory aside."""
        self.lm, self.eos_id, self.noise = lm, eos_id, noise.clone()
        rows, self.room = noise.shape
        self.draws = rows // len(prompts)
        self.prefix = _Static(lm, prompts, draws=self.draws, room=self.room)
        self.tokens = torch.zeros_like(noise, dtype=torch.int64)
        self.lengths = torch.zeros(rows, dtype=torch.int64, device=noise.device)
        self.logprobs = torch.zeros(rows, dtype=torch.float64, device=noise.device)
        self.ended = torch.zeros(rows, dtype=torch.bool, device=noise.device)

    def read(self, prompts: Sequence[Sequence[int]], noise: Tensor) -> None:
        """Read other prompts and numbers into the same memory.

        Raises SpecError unless the prompts are as many, and each as long.
        """
        fresh = SharedPrefix(self.lm, prompts)
        if not fresh.lengths.equal(self.prefix.lengths):
            raise SpecError(
                "other prompts than those of a table must be as many and each as long: make a new one"
            )
        for old, new in zip(self.prefix.prompt_layers, fresh.prompt_layers, strict=True):
            old.keys.copy_(new.keys)
            old.values.copy_(new.values)
        self.prefix.last.copy_(fresh.last)
        self.noise.copy_(noise)

    def begin(self) -> None:
        """Forget all responses, and draw the first token of each from its prompt."""
        for each in (self.tokens, self.lengths, self.logprobs, self.ended, self.prefix.at):
            each.zero_()
        self._draw(self.prefix.last.repeat_interleave(self.draws, 0))

    def step(self) -> None:
        """Read the token at the current place and draw the next: no shape or number of it is Python's."""
        token = self.tokens.index_select(1, self.prefix.at)
        places = (self.prefix.lengths.repeat_interleave(self.draws) + self.prefix.at)[:, None]
        with attention(backbone_of(self.lm).config, NAME):
            hidden = self.lm.base_model(
                input_ids=token,
                position_ids=places,
                past_key_values=self.prefix,
                use_cache=True,
                static=self.prefix,
            ).last_hidden_state[:, -1]
        self.prefix.at.add_(1)
        self._draw(hidden)

    def _draw(self, hidden: Tensor) -> None:
        noise = self.noise.index_select(1, self.prefix.at)[:, 0]
        token, logprob = draw(output_logits(self.lm, hidden), noise, 1.0)
        live = ~self.ended
        self.tokens.index_copy_(1, self.prefix.at, torch.where(live, token, 0)[:, None])
        self.logprobs += torch.where(live, logprob, 0.0)
        self.lengths += live
        self.ended |= token == self.eos_id

    def run(self, step: Callable[[], object]) -> None:
        """Draw all responses, token by token by `step`: `self.step`, or what replays it."""
        self.begin()
        for written in range(1, self.room):
            if written % LOOK_EVERY == 0 and bool(self.ended.all()):
                break
            step()


@torch.no_grad()
def captured(table: Table) -> Callable[[], None]:
    """Return a table's step as a CUDA graph to replay."""
    table.begin()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            table.step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        table.step()
    return graph.replay


class _Static(SharedPrefix):
    """Shared prompts whose rows have a place, `at` (1,), for all of them; keys beyond it are barred."""

    def __init__(
        self, lm: PreTrainedModel, prompts: Sequence[Sequence[int]], *, draws: int, room: int
    ) -> None:
        super().__init__(lm, prompts, draws=draws, room=room)
        self.at = torch.zeros(1, dtype=torch.int64, device=lm.device)
        self.slots = torch.arange(room, device=lm.device)
        for layer in self.prompt_layers:
            layer.own_keys.zero_()
            layer.own_values.zero_()

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write a token's keys and values at the current place, and return all the room."""
        layer = self.prompt_layers[layer_idx]
        layer.own_keys.index_copy_(2, self.at, key_states)
        layer.own_values.index_copy_(2, self.at, value_states)
        return layer.own_keys, layer.own_values


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    static: _Static,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend to a row's prompt and its own tokens so far, in one softmax; a token a row.

    `query` (rows, heads, 1, width), `key` and `value` (rows, key heads, room, width).
    """
    layer = static.prompt_layers[cast(int, module.layer_idx)]
    rows, heads, _, width = query.shape
    prompts, kinds, longest = layer.keys.shape[:3]
    scale = width**-0.5 if scaling is None else scaling
    own = query.reshape(rows, kinds, heads // kinds, width) * scale
    shared = own.unflatten(0, (prompts, -1)).transpose(1, 2).flatten(2, 3)
    on_prompt = shared @ layer.keys.transpose(-1, -2)
    if static.padding_bias is not None:
        on_prompt = on_prompt + static.padding_bias
    on_prompt = on_prompt.unflatten(2, (-1, heads // kinds)).transpose(1, 2).flatten(0, 1)
    on_own = (own @ key.transpose(-1, -2)).masked_fill(static.slots > static.at, -torch.inf)
    shares = torch.cat([on_prompt, on_own], -1).softmax(-1, dtype=torch.float32).to(value.dtype)
    of_prompt = shares[..., :longest].unflatten(0, (prompts, -1)).transpose(1, 2).flatten(2, 3)
    from_prompt = (of_prompt @ layer.values).unflatten(2, (-1, heads // kinds)).transpose(1, 2)
    output = from_prompt.flatten(0, 1) + shares[..., longest:] @ value
    return output.reshape(rows, heads, 1, width).transpose(1, 2), None


ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
