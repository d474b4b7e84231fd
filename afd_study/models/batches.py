"""What goes through a model at once: examples as ids, padded batches, and which examples each step takes."""

from collections.abc import Callable, Sequence, Sized
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from afd_study.errors import DataError

WINDOW = 16  # batches within which examples are sorted by length


class Example(NamedTuple):
    """A prompt and its response as one id sequence; the response begins at index `start` >= 1."""

    ids: tuple[int, ...]
    start: int

    @property
    def prompt(self) -> tuple[int, ...]:
        """The ids before the response."""
        return self.ids[: self.start]


class Pair(NamedTuple):
    """Two responses to one prompt, of which the first is to score higher."""

    high: Example
    low: Example

    @property
    def forked(self) -> int:
        """Tokens of the row that `fork` makes of it: the prompt once, and both responses."""
        return len(self.high.ids) + len(self.low.ids) - self.low.start


class Batch(NamedTuple):
    """Right-padded examples: `ids` (batch, length), `starts` and `lengths` (batch,). Padding is never read.

    Which positions count follows from `starts` and `lengths` alone, never from a token's id. So padding may
    have any id, and the last end mark is never mistaken for padding.
    """

    ids: Tensor
    starts: Tensor
    lengths: Tensor

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on another device."""
        return Batch(*(part.to(device, non_blocking=True) for part in self))

    def rows(self, places: Tensor) -> "Batch":
        """Return the rows at `places`, cut to the longest of them."""
        lengths = self.lengths[places]
        return Batch(self.ids[places, : int(lengths.max())], self.starts[places], lengths)


class Forks(NamedTuple):
    """Prompts, each with two responses that fork off it, side by side in one row of right-padded `ids`.

    `ids` and `places` (a token's place in its own text) are (pairs, length), `barred` (pairs, length,
    length) says what each token must not attend to, `ends` (pairs, 2) where the responses end.
    """

    ids: Tensor
    places: Tensor
    barred: Tensor
    ends: Tensor

    def to(self, device: torch.device | str) -> "Forks":
        """Return the forks on another device."""
        return Forks(*(part.to(device, non_blocking=True) for part in self))


def join(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    *,
    eos_id: int | None,
    context: int,
    first_row: int = 0,
) -> list[Example]:
    """Join prompts and responses as ids; `eos_id` ends each response (None: it already ends as it should).

    The ids are joined, never the strings: a tokenizer would merge across the boundary. An example longer than
    `context` tokens is refused, not cut in silence.

    Raises DataError naming the row, counted from `first_row`, and its length.
    """
    examples = []
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True), first_row):
        ids = (*prompt, *response) if eos_id is None else (*prompt, *response, eos_id)
        if not prompt:
            raise DataError(f"row {row} has an empty prompt: a response needs at least one token before it")
        if len(ids) > context:
            raise DataError(
                f"row {row} has {len(ids)} tokens and the model's context holds {context}: "
                "cut it (max_prompt_tokens, max_new_tokens) or use a model with a longer context"
            )
        examples.append(Example(ids, len(prompt)))
    return examples


def refuse_empty(**parts: Sized) -> None:
    """Raise DataError that names the first part of the data that holds nothing."""
    for name, items in parts.items():
        if not len(items):
            raise DataError(
                f"there are no {name.replace('_', ' ')}: give more data, or other shares of the splits"
            )


def collate(examples: Sequence[Example], padding_id: int = 0) -> Batch:
    """Pad examples on the right to the longest of them."""
    lengths = [len(example.ids) for example in examples]
    ids = np.full((len(examples), max(lengths)), padding_id, dtype=np.int64)
    for row, example in enumerate(examples):
        ids[row, : lengths[row]] = example.ids
    starts = torch.tensor([example.start for example in examples])
    return Batch(torch.from_numpy(ids), starts, torch.tensor(lengths))


def fork(pairs: Sequence[Pair], padding_id: int = 0) -> Forks:
    """Lay pairs out as prompt, high, low: a prompt that both share is there once."""
    starts = np.array([pair.high.start for pair in pairs])[:, None]
    middles = np.array([len(pair.high.ids) for pair in pairs])[:, None]
    ends = np.array([pair.forked for pair in pairs])[:, None]
    ids = np.full((len(pairs), ends.max()), padding_id, dtype=np.int64)
    for row, (high, low) in enumerate(pairs):
        ids[row, : ends[row, 0]] = high.ids + low.ids[low.start :]
    index = np.arange(ids.shape[1])
    second = index >= middles
    branch = (index >= starts).astype(np.int8) + second  # 0: the prompt; 1, 2: responses; padding is last
    own = (branch[:, None] == 0) | (branch[:, None] == branch[:, :, None])
    barred = ~own | np.triu(np.ones((len(index), len(index)), dtype=bool), 1)
    places = np.where(second, np.minimum(index, ends - 1) - middles + starts, index)  # padding stands last
    return Forks(*map(torch.from_numpy, (ids, places, barred, np.concatenate([middles, ends], 1) - 1)))


def step_indices(
    lengths: Sequence[int], *, batch_size: int, steps: int, seed: int, window: int = WINDOW
) -> list[np.ndarray]:
    """Choose the examples of every step: shuffled epochs, cut into batches of similar length.

    Within windows of `window` batches examples are sorted by length, then the batches are shuffled. Examples
    that fill no batch are left out of an epoch before the sorting: later they would always be the longest.
    The choice depends on the arguments alone, so that a resumed run goes on like an uninterrupted one.

    Raises DataError where there are fewer examples than a batch holds.
    """
    size = np.asarray(lengths)
    if len(size) < batch_size:
        raise DataError(
            f"{len(size)} examples do not fill a batch of {batch_size}: "
            "give more data or set a smaller batch_size"
        )
    rng = np.random.default_rng([seed, 7])
    indices: list[np.ndarray] = []
    while len(indices) < steps:
        order = rng.permutation(len(size))[: len(size) // batch_size * batch_size]
        batches = []
        for first in range(0, len(order), window * batch_size):
            part = order[first : first + window * batch_size]
            part = part[np.argsort(size[part], kind="stable")]
            batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
        indices += [batches[i] for i in rng.permutation(len(batches))]
    return indices[:steps]


def in_batches(
    examples: Sequence[Example],
    run: Callable[[Batch], Tensor],
    *,
    max_tokens: int,
    device: torch.device | str,
) -> np.ndarray:
    """Apply `run` (batch -> a number or row each) to examples, longest first; keep their order.

    A batch holds at most `max_tokens` tokens with padding, or one example. Returns (examples, ...).
    """
    order = sorted(range(len(examples)), key=lambda i: (-len(examples[i].ids), i))
    values, first = np.zeros(len(examples)), 0
    while first < len(order):
        count = max(1, max_tokens // len(examples[order[first]].ids))
        rows = order[first : first + count]
        numbers = run(collate([examples[i] for i in rows]).to(device)).double().cpu().numpy()
        values = values if first else np.zeros((len(examples), *numbers.shape[1:]))
        values[rows] = numbers
        first += count
    return values
