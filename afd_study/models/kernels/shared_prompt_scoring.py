"""Scores of many responses to a prompt: the prompt goes through the model once for all of them.

Prompts are held in tables (`PromptTable`, read by `SharedPrefix`). The responses to each prompt stand in
order of length, and a table is read in slices of its columns, so that responses read together are about as
long.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import Tensor
from transformers import PreTrainedModel

from afd_study.models.batches import Batch, Example, collate
from afd_study.models.kernels.shared_prefix import Pass, SharedPrefix, supports
from afd_study.models.prompt_tables import PromptTable, places_by_prompt, prompt_table

FEWEST = 4  # responses a prompt, on average, from which reading prompts once is faster (book/log.md)
_PADDING = Example((0,), 0)  # in place of a response that a prompt of the table lacks


def is_faster(lm: PreTrainedModel, examples: Sequence[Example]) -> bool:
    """Tell whether to use `behind_prompts`: the model can be read so, and prompts have many responses."""
    return supports(lm) and len(examples) >= FEWEST * len({each.prompt for each in examples})


def behind_prompts(
    lm: PreTrainedModel,
    examples: Sequence[Example],
    run: Callable[[SharedPrefix, Batch], Tensor],
    *,
    max_tokens: int,
    through: Pass | None = None,
) -> np.ndarray:
    """Apply `run` (prompts and a batch of responses behind them -> a row each) to all examples.

    The batch's rows are the prompts' responses, equally many for each. Its ids are those of the responses
    alone, and its `starts` are 0. `through` is how `lm` reads, see `SharedPrefix`. At most `max_tokens`
    tokens of responses, with padding, are read at once. Returns (examples, ...): `run` gives (rows, ...).
    """
    values = np.zeros(0)
    for table in _tables(examples, max_tokens):
        prefix = SharedPrefix(lm, table.prompts, through=through)
        for columns in _slices(table, examples, max_tokens):
            rows = columns.flatten()
            batch = collate([_response(examples[i]) if i >= 0 else _PADDING for i in rows]).to(lm.device)
            prefix.begin(columns.shape[1], batch.ids.shape[1])
            numbers = run(prefix, batch).double().cpu().numpy()
            values = values if len(values) else np.zeros((len(examples), *numbers.shape[1:]))
            values[rows[rows >= 0]] = numbers[rows >= 0]
    return values


def _response(example: Example) -> Example:
    return Example(example.ids[example.start :], 0)


def _tables(examples: Sequence[Example], max_tokens: int) -> Iterator[PromptTable]:
    """Yield tables that hold all examples: prompts of similar length with similarly many responses together.

    Prompts and padding of a table are at most `max_tokens` tokens.
    """
    places = places_by_prompt([each.prompt for each in examples])
    order = sorted(places, key=lambda ids: (-len(places[ids]), -len(ids)))
    first = 0
    while first < len(order):
        most, longest = len(places[order[first]]), len(order[first])
        chunk = order[first : first + max(1, max_tokens // longest)]
        members = [ids for ids in chunk if 2 * len(places[ids]) > most]
        by_length = {
            ids: sorted(places[ids], key=lambda i: len(examples[i].ids), reverse=True) for ids in members
        }
        yield prompt_table(list(by_length.items()))
        first += len(members)


def _slices(table: PromptTable, examples: Sequence[Example], max_tokens: int) -> Iterator[np.ndarray]:
    """Cut a table into runs of columns that hold at most `max_tokens` tokens, and at least one column."""

    def tokens(place: int) -> int:
        return len(examples[place].ids) - examples[place].start if place >= 0 else 0

    longest = [max(map(tokens, column)) for column in table.rows.T]  # falls from column to column
    first = 0
    while first < len(longest):
        count = max(1, max_tokens // max(1, longest[first] * len(table.rows)))
        yield table.rows[:, first : first + count]
        first += count
